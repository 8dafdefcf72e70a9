"""Why a worktree cannot be used, or has no patch."""

from containers.git.command import GitError
from tasks.errors import PatchyardError


class BrokenWorktreeError(GitError):
    """A worktree cannot be reset; it has to be removed and added again."""


class UnusableWorktreeError(GitError):
    """A worktree can neither be reset nor removed, as with files of another user in it."""


class TooDeepError(GitError):
    """Directories are nested so deep that neither git nor anything else can name what is in them."""


class SecretFoundError(PatchyardError):
    """A patch contains the value of a secret. The message names the secret and the file, never the value."""
