"""What a checkout of the user has that no commit has."""

from collections.abc import Collection

from containers.git.command import Git, GitError
from tasks.lazy.dataclasses import dataclass

TIMEOUT = 2.0
"""Seconds that `git status` may take in a large checkout: a run waits for it, and the answer is a remark."""
STATUS = ("--no-optional-locks", "status", "--porcelain=v1", "-z", "--untracked-files=normal")
"""The call of git that `uncommitted` makes."""


@dataclass(frozen=True, slots=True)
class Uncommitted:
    """Paths of a checkout that no commit has as they are: changed ones, and untracked ones.

    An untracked directory is one path.
    """

    changed: int = 0
    untracked: int = 0

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.changed or self.untracked)


def uncommitted(git: Git, leave_out: Collection[str] = ()) -> Uncommitted:
    """Count what is not committed in a checkout; nothing if git cannot say it. Blocking.

    Nothing is written, not even the index.

    Args:
        git: A git that runs at the top of the checkout.
        leave_out: Paths from there that are not counted.
    """
    try:
        output = git.run(*STATUS, timeout=TIMEOUT).stdout
    except GitError:
        return Uncommitted()
    changed = untracked = 0
    entries = iter(output.split(b"\0"))
    for entry in entries:
        state, path = entry[:2], entry[3:].decode(errors="surrogateescape")
        if b"R" in state or b"C" in state:
            next(entries, None)  # what it was renamed or copied from
        if not entry or path.rstrip("/") in leave_out:
            continue
        if state == b"??":
            untracked += 1
        else:
            changed += 1
    return Uncommitted(changed, untracked)
