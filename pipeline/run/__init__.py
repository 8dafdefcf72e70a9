"""One run of a plan."""
