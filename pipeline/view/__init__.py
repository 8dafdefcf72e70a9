"""A run as people look at it."""
