"""A module a revision; each leads from the one before it."""
