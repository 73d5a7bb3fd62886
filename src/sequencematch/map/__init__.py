"""The map: one condition varied at a time, and what each method gains there."""
