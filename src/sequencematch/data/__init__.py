"""From sources of text to examples of token ids, and noise in them."""
