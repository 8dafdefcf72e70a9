"""The worktree pool."""
