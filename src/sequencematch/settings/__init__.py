"""Every setting: its name, type, bounds and meaning, and the registries that settings choose from."""
