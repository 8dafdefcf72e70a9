"""What the agent of a task has in the user's home directory, as copies; renewed log-ins are copied back."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from containers.filesystem import read_regular
from containers.sandbox.policy import LEFT_OUT_OF_COPIES, AgentHome
from containers.temporary import write_atomically

_LARGEST_LOGIN = 1 << 20
"""Bytes."""


class AgentFiles:
    """Copies of an agent's files. Methods block.

    Args:
        agent: What it has, as paths in the home directory.
    """

    def __init__(self, agent: AgentHome) -> None:
        self.names = frozenset((*agent.config, *agent.login))
        self._login = agent.login
        self._copies: dict[Path, Path] = {}

    def copy(self, name: str, source: Path, target: Path) -> None:
        """Copy a file or directory, unless there is none, or a copy already.

        Args:
            name: Its path in the home directory, where it usually is.
            source: Where it is.
            target: The copy.

        Raises:
            OSError: It cannot be copied.
        """
        if not source.exists() or target.exists():
            return
        if source.is_dir():
            ignored = _ignore(name, source)
            shutil.copytree(source, target, symlinks=True, ignore=ignored, ignore_dangling_symlinks=True)
        else:
            shutil.copy2(source, target)
        for login in self._login:
            if login == name or login.startswith(f"{name}/"):
                rest = login.removeprefix(name).strip("/")
                self._copies[target / rest] = source / rest

    def return_logins(self) -> None:
        """Copy the log-in files that the agent renewed back to where the user has them.

        Only a file that the user has too is replaced, at once, and with the same permissions.
        """
        for renewed, users in self._copies.items():
            if renewed.parent.resolve() != renewed.parent:  # a link of the task's
                continue
            content, before = (read_regular(path, _LARGEST_LOGIN) for path in (renewed, users))
            if content and before is not None and content != before:
                with suppress(OSError):
                    write_atomically(users, content, mode=users.stat().st_mode & 0o777)


def is_readable(path: Path) -> bool:
    """Whether a path is a file or a directory: sockets, pipes and devices are the user's session. Blocking."""
    with suppress(OSError):
        return path.is_file() or path.is_dir()
    return False


def _ignore(name: str, source: Path) -> Callable[[str, list[str]], list[str]]:
    """Return the callback of `shutil.copytree` that leaves out what no task needs of an agent's files."""

    def ignored(directory: str, entries: list[str]) -> list[str]:
        relative = os.path.normpath(os.path.join(name, os.path.relpath(directory, source)))  # noqa: PTH118 - a text
        return [
            entry
            for entry in entries
            if f"{relative}/{entry}" in LEFT_OUT_OF_COPIES or not is_readable(Path(directory, entry))
        ]

    return ignored
