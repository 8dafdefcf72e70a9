"""The home directory of a task: the user's, without what is secret, with a layer for what the task writes."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from time import time_ns

from containers.filesystem import mount_points
from containers.sandbox.agent_files import AgentFiles, is_readable
from containers.sandbox.overlay import Layer
from containers.sandbox.policy import CACHES, HISTORIES, OF_AGENTS, SECRET, WRITABLE

Option = tuple[str, ...]
"""An option of bubblewrap with its arguments."""
SMALL = 64 << 10
"""Bytes of the largest file that is copied where a layer is not possible."""
_LEFT_OUT = SECRET | CACHES | HISTORIES | OF_AGENTS
_TOPMOST = frozenset(path for path in _LEFT_OUT if _LEFT_OUT.isdisjoint(map(str, PurePosixPath(path).parents)))


_RECENT = 100_000_000
"""Nanoseconds after a change of a directory in which another one may have the same time."""


class HomeMask:
    """What hides secrets in the user's home directory. Its method is called by any thread, and blocks.

    Looking takes more than a millisecond, so that the tasks of a run share what one of them found while no
    directory that was looked at has changed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: list[tuple[str, int, list[str]]] = []
        self._states: dict[str, tuple[int, ...]] = {}

    def find(self, layer: Layer) -> list[tuple[str, int, list[str]]]:
        """Return what lets nothing that is secret be seen through a layer; see `Layer.mask`."""
        with self._lock:
            if not self._states or any(_state(path) != state for path, state in self._states.items()):
                began = time_ns()
                found = layer.mask(_secrets(layer.lower))
                looked_at = {str(layer.lower / name) for name in (*(way for way, _, _ in found), *WRITABLE)}
                self._states = {path: _state(path) for path in sorted(looked_at)}
                if any(max(state[-2:], default=0) > began - _RECENT for state in self._states.values()):
                    self._states = {}
                self._found = found
            return self._found


def _secrets(home: Path) -> Iterator[str]:
    """Yield what is secret in a home directory, with what is neither a file nor a directory."""
    yield from _TOPMOST
    for directory in ("", *WRITABLE):
        with suppress(OSError), os.scandir(home / directory) as entries:
            for entry in entries:
                if not (entry.is_symlink() or entry.is_file() or entry.is_dir()):
                    yield os.path.relpath(entry.path, home)


def _state(path: str) -> tuple[int, ...]:
    """Return what differs after a change of a directory, its times last; nothing without one."""
    try:
        found = os.stat(path)  # noqa: PTH116 - as a text: there are dozens, for each task
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_mode, found.st_mtime_ns, found.st_ctime_ns


def is_left_out(path: Path) -> bool:
    """Whether a path, relative to the home directory, is secret or a cache, or in a directory that is."""
    return not _LEFT_OUT.isdisjoint(map(str, (path, *path.parents)))


class Home:
    """The home directory of one task. Methods block.

    Args:
        home: The user's.
        room: A directory of the task's, for the files of its own.
        agent: The files of its agent.
        mask: What hides secrets in it; shared by the tasks of a run.

    Raises:
        OSError: The agent's files cannot be copied.
    """

    def __init__(self, home: Path, room: Path, agent: AgentFiles, mask: HomeMask) -> None:
        self._home = home
        self._mask = mask
        self.layer = Layer(home, room)
        self.layer.create()
        self._copied = agent.names
        for name in sorted(agent.names):
            if (target := self.layer.own(name)) is not None:
                agent.copy(name, home / name, target)

    def options(self, *, is_layered: bool) -> list[Option]:
        """Return what is mounted, as options of bubblewrap; once, before the task can make links.

        Args:
            is_layered: Whether the layer is mounted.
        """
        return [tuple(map(str, made)) for made in (self._layered() if is_layered else self._copies())]

    def mask(self) -> list[tuple[str, int, list[str]]]:
        """Return what lets nothing that is secret be seen through the layer; see `Layer.mask`."""
        return self._mask.find(self.layer)

    def _layered(self) -> Iterator[tuple[str | Path, ...]]:
        yield "--layer", self._home
        for path in mount_points(self._home):  # a layer is of one file system
            if path != self._home and not is_left_out(path.relative_to(self._home)):
                yield "--ro-bind-try", path, path

    def _copies(self) -> Iterator[tuple[str | Path, ...]]:
        """Yield the mounts of a directory of the task's own, with copies of small files."""
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
            elif is_readable(full) and not self._is_copied(full, path):
                yield "--ro-bind-try", full, full

    def _is_copied(self, full: Path, path: str) -> bool:
        """Copy a small file, so that the task can write to it; return whether it is copied."""
        with suppress(OSError):
            if full.is_file() and full.stat().st_size <= SMALL and (own := self.layer.own(path)):
                shutil.copy2(full, own)
                return True
        return False
