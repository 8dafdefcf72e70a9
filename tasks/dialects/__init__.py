"""Plans as other tools write them, a module per dialect, read to the same `Plan`."""
