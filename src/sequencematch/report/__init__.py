"""The report page of a scale and its figures."""
