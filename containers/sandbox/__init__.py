"""A sandbox of the operating system for tasks that run as processes on this machine."""
