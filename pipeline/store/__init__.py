"""Storage of runs in a database."""
