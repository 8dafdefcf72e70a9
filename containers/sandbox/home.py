"""The home directory of a task: the user's, without what is secret, with a layer for what the task writes."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from containers.filesystem import is_directory, mount_points, read_regular
from containers.sandbox.overlay import Layer
from containers.sandbox.policy import (
    AGENT_HOMES,
    CACHES,
    HISTORIES,
    LEFT_OUT_OF_COPIES,
    SECRET,
    WRITABLE,
    AgentHome,
)
from containers.temporary import write_atomically

SMALL = 64 << 10
"""Bytes of the largest file that is copied where a layer is not possible."""
_OF_AGENTS = frozenset(path for agent in AGENT_HOMES.values() for path in (*agent.config, *agent.login))
_LEFT_OUT = SECRET | CACHES | HISTORIES | _OF_AGENTS
_TOPMOST = frozenset(path for path in _LEFT_OUT if _LEFT_OUT.isdisjoint(map(str, PurePosixPath(path).parents)))


class Home:
    """The home directory of one task. Methods block.

    Args:
        home: The user's.
        room: A directory of the task's, for the files of its own.
        agent: What its agent has there.

    Raises:
        OSError: The agent's files cannot be copied.
    """

    def __init__(self, home: Path, room: Path, agent: AgentHome) -> None:
        self._home = home
        self._agent = agent
        self._arguments: list[str] | None = None
        self._is_hidden: bool | None = None
        self.layer = Layer(home, room)
        self.layer.create()
        self._copied = self._copy_agent_files()

    def arguments(self, *, is_layered: bool) -> list[str]:
        """Return the arguments of bubblewrap.

        Args:
            is_layered: Whether the layer is mounted.
        """
        if self._arguments is None:
            found = self._layered() if is_layered else self._copies()
            self._arguments = [part for made in found for part in map(str, made)]
        return self._arguments

    def hide_secrets(self) -> bool:
        """Let nothing that is secret be seen through the layer; return whether that is possible.

        Only at the first call, before the task can make links in the layer.
        """
        if self._is_hidden is None:
            self._is_hidden = self._hide_secrets()
        return self._is_hidden

    def _hide_secrets(self) -> bool:
        try:
            for name in self._copied:
                if is_directory(self.layer.upper / name):
                    self.layer.replace(name)
            self.layer.hide(self._hidden())
        except OSError:
            return False
        return True

    def _hidden(self) -> Iterator[str]:
        yield from _TOPMOST - self._copied
        for directory in ("", *WRITABLE):
            with suppress(OSError), os.scandir(self._home / directory) as entries:
                for entry in entries:
                    if not (entry.is_symlink() or entry.is_file() or entry.is_dir()):
                        yield os.path.relpath(entry.path, self._home)

    def _layered(self) -> Iterator[tuple[str | Path, ...]]:
        yield "--bind", self.layer.merged, self._home
        for path in mount_points(self._home):  # a layer is of one file system
            name = path.relative_to(self._home)
            if name.parts and not any(parent.as_posix() in _LEFT_OUT for parent in (name, *name.parents)):
                yield "--ro-bind-try", path, path

    def _copies(self) -> Iterator[tuple[str | Path, ...]]:
        """Yield the mounts of a directory of the task's own, with copies of small files."""
        for name in self._hidden():
            self.layer.reveal(name)
        yield "--bind", self.layer.upper, self._home
        yield from self._shown("")

    def _shown(self, relative: str) -> Iterator[tuple[str | Path, ...]]:
        """Yield what is in a directory of the home directory, without what is left out."""
        try:
            entries = sorted((self._home / relative).iterdir())
        except OSError:
            return
        for full in entries:
            path = full.relative_to(self._home).as_posix()
            if path in _LEFT_OUT or path in self._copied:
                continue
            if full.is_symlink():
                yield "--symlink", full.readlink(), full
            elif path in WRITABLE and full.is_dir():
                yield "--dir", full
                yield from self._shown(path)
            elif _is_readable(full) and not self._is_copied(full, path):
                yield "--ro-bind-try", full, full

    def _is_copied(self, full: Path, path: str) -> bool:
        """Copy a small file, so that the task can write to it; return whether it is copied."""
        with suppress(OSError):
            if full.is_file() and full.stat().st_size <= SMALL and (own := self.layer.own(path)):
                shutil.copy2(full, own)
                return True
        return False

    def _copy_agent_files(self) -> frozenset[str]:
        """Copy the files of the task's agent into its home directory; return their paths."""
        names = (*self._agent.config, *self._agent.login)
        for name in names:
            source, target = self._home / name, self.layer.own(name)
            if target is None or not source.exists() or target.exists():
                continue
            if source.is_dir():
                ignored = _ignore(self._home)
                shutil.copytree(source, target, symlinks=True, ignore=ignored, ignore_dangling_symlinks=True)
            else:
                shutil.copy2(source, target)
        return frozenset(names)

    def return_logins(self) -> None:
        """Copy the log-in files that the agent renewed back to the user's home directory.

        Only a file that the user has too is replaced, at once, and with the same permissions.
        """
        for name in self._agent.login:
            renewed, users = self.layer.upper / name, self._home / name
            if renewed.parent.resolve() != renewed.parent:  # a link of the task's
                continue
            content, before = read_regular(renewed, limit=1 << 20), read_regular(users, limit=1 << 20)
            if content and before is not None and content != before:
                with suppress(OSError):
                    write_atomically(users, content, mode=users.stat().st_mode & 0o777)


def _is_readable(path: Path) -> bool:
    """Whether a path is a file or a directory: sockets, pipes and devices are the user's session."""
    with suppress(OSError):
        return path.is_file() or path.is_dir()
    return False


def _ignore(home: Path) -> Callable[[str, list[str]], list[str]]:
    """Return the callback of `shutil.copytree` that leaves out what no task needs of an agent's files."""

    def ignored(directory: str, names: list[str]) -> list[str]:
        relative = os.path.relpath(directory, home)
        return [
            name
            for name in names
            if f"{relative}/{name}" in LEFT_OUT_OF_COPIES or not _is_readable(Path(directory, name))
        ]

    return ignored
