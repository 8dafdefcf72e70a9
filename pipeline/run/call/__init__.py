"""A call, checked and resolved before anything runs."""
