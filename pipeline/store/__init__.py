"""What is kept of runs, in a database."""
