"""Why a worktree cannot be used."""

from containers.git.command import GitError


class BrokenWorktreeError(GitError):
    """A worktree cannot be reset; it has to be removed and added again."""


class UnusableWorktreeError(GitError):
    """A worktree can neither be reset nor removed, as with files of another user in it."""
