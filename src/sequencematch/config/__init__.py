"""The configuration of an experiment: reading it, checking it, and what each job is told of it."""
