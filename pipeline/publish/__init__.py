"""Branches and pull requests of a run."""
