"""What a run writes to its store while it runs."""
