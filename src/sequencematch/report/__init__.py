"""One page about a scale's results: gathered from its files, rendered without torch."""
