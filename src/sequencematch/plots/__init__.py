"""The report's figures, as SVG whose colours follow the page they stand in. matplotlib is imported on use."""
