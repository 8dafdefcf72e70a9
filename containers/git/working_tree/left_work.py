"""What a task leaves in the repository of its worktree that its patch does not have. No git reads it."""

import os
import re
import stat
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from containers.filesystem import is_directory, read_regular
from containers.git.working_tree.task_files import GIT
from containers.git.working_tree.task_repository import GitDirectory
from tasks.lazy.patterns import regex

_HEADS = "refs/heads/"
_PARENT = regex(rb"^parent ([0-9a-f]{40,64})$", re.MULTILINE)
_LARGEST_COMMIT = 1 << 20
"""Bytes of a compressed commit that are read."""
_MOST_COMMITS = 10_000


def work_left(root: Path) -> list[str]:
    """Return what a task left, for people: a stash, and commits on other branches than the one it ended on.

    Branches that git has packed are not looked at: those are the user's, unless the task packed its own.
    Blocking.
    """
    repository = GitDirectory(root / GIT)
    if not (is_directory(repository.path) and is_directory(repository.path / "refs")):
        return []
    found = ["a stash"] if _has_stash(repository.path) else []
    heads = dict(_loose_heads(repository.path))
    if not heads:
        return found
    own = _own_history(repository, repository.head())
    return found + [
        f"commits on {name}" for name, commit in sorted(heads.items()) if _is_left(repository, commit, own)
    ]


def _has_stash(repository: Path) -> bool:
    if read_regular(repository / "refs" / "stash", limit=1 << 10):
        return True
    packed = read_regular(repository / "packed-refs", limit=1 << 24) or b""
    return b" refs/stash\n" in packed + b"\n"


def _loose_heads(repository: Path) -> Iterator[tuple[str, str]]:
    """Yield the branches that have a file, with their commits."""
    pending = [repository / _HEADS]
    while pending:
        with suppress(OSError):
            for path in pending.pop().iterdir():
                if stat.S_ISDIR(os.lstat(path).st_mode):
                    pending.append(path)
                elif content := read_regular(path, limit=1 << 10):
                    yield (
                        path.relative_to(repository / _HEADS).as_posix(),
                        content.decode("ascii", "replace").strip(),
                    )


def _is_left(repository: GitDirectory, commit: str, own: Mapping[str, bytes]) -> bool:
    """Whether a commit is one of the task's, and not in the history that it ended on."""
    return commit not in own and _content(repository, commit) is not None


def _own_history(repository: GitDirectory, head: str | None) -> Mapping[str, bytes]:
    """Return the commits of the task that its HEAD has."""
    found, pending = dict[str, bytes](), [head] if head else []
    while pending and len(found) < _MOST_COMMITS:
        commit = pending.pop()
        if commit not in found and (content := _content(repository, commit)) is not None:
            found[commit] = content
            pending += [parent.decode() for parent in _PARENT.findall(content.partition(b"\n\n")[0])]
    return found


def _content(repository: GitDirectory, commit: str) -> bytes | None:
    """Return a commit of the task; `None` for the user's, which is in another object directory."""
    if not re.fullmatch(r"[0-9a-f]{40,64}", commit):
        return None
    content = read_regular(repository.objects / commit[:2] / commit[2:], limit=_LARGEST_COMMIT)
    with suppress(zlib.error):
        if content and (text := zlib.decompressobj().decompress(content, _LARGEST_COMMIT)).startswith(
            b"commit "
        ):
            return text.partition(b"\0")[2]
    return None
