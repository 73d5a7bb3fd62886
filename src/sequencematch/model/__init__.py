"""The network: attention over state trees, log-probabilities, caches, building, saving and loading."""
