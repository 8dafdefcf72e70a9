"""Plans as other tools write them, read to the same `Plan`."""
