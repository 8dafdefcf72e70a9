"""Limits of what the processes of a task may take."""
