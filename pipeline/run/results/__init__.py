"""What the tasks of a run result in: commits, branches, start points of others, and the cache."""
