"""Remotes: addresses, fetches, pushes."""
