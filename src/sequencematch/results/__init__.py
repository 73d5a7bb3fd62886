"""What runs scored and what steps cost: read, compared, and shown as tables, figures and pages."""
