"""What steps and sampling cost: measurements and their tables."""
