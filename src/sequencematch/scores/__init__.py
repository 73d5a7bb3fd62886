"""Metrics of runs, differences between methods, and their intervals."""
