"""Where a task runs: git, the worktree pool, and the runners over it."""
