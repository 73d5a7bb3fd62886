"""Folders that transformers loads without this library."""
