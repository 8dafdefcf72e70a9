"""The files of a worktree: reset to a commit, and read back as a patch."""
