"""Files and folders of results: written atomically, named by digests, with their provenance."""
