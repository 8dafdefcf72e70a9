"""Stored runs: their status, and how they are claimed, recovered, cancelled and removed."""
