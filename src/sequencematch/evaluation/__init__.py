"""Completions of test examples, repair of wrong tokens, and judging of text."""
