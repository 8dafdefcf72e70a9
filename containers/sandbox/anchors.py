"""Keep the places of a task's mounts from being moved by the task.

Each step has a mount namespace of its own, which bubblewrap fills while processes of earlier steps run. It
follows links on the way to a place, also into the system outside, which is at `/oldroot` for it. So where a
place is below a directory that the task can write to, every directory on the way is a mount, too: what is
mounted on can neither be renamed nor removed (rename(2): EBUSY). A task has no namespace without these mounts,
since it cannot make a user namespace.
"""

import os
from collections.abc import Iterable
from pathlib import Path

_MADE = frozenset({"--dir", "--symlink"})
_TRIED = frozenset({"--bind-try", "--ro-bind-try"})
_WRITABLE = frozenset({"--bind", "--bind-try"})
_MOUNTED = _TRIED | _WRITABLE | {"--ro-bind", "--tmpfs", "--dev", "--proc"}
Option = tuple[str, ...]
"""An option of bubblewrap with its arguments."""


class Anchors:
    """The places of the mounts of one task."""

    def __init__(self) -> None:
        self._first: set[str] | None = None

    def arrange(self, options: Iterable[Option]) -> list[str]:
        """Return the arguments of a step, with mounts on the way to each place that the task could move.

        Which places it has below directories that it can write to is decided at the first step, before it can
        make links. Blocking.

        Raises:
            OSError: A directory on the way cannot be made.
        """
        points: dict[Path, Path | None] = {}
        arranged: list[Option] = []
        seen = set[str]()
        for option in filter(None, options):
            kind, place = option[0], Path(option[-1])
            way = self._way(place, points) if kind in _MADE | _MOUNTED else None
            if way is not None:
                if not self._is_made_now(option):
                    continue
                seen.add(option[-1])
                arranged += way
            if kind in _MOUNTED:
                points[place] = Path(option[1]) if kind in _WRITABLE else None
            arranged.append(option)
        if self._first is None:
            self._first = seen
        return [part for option in arranged for part in option]

    def _way(self, place: Path, points: dict[Path, Path | None]) -> list[Option] | None:
        """Return what mounts the directories on the way; `None` if the task can move no part of it."""
        above = next((parent for parent in place.parents if parent in points), None)
        source = points[above] if above else None
        if above is None or source is None:
            return None
        way: list[Option] = []
        for parent in reversed(place.relative_to(above).parents[:-1]):
            if (above / parent).is_symlink():  # the user's
                break
            points[above / parent] = source / parent
            if self._first is None:
                (source / parent).mkdir(exist_ok=True)
            way.append(("--bind", str(source / parent), str(above / parent)))
        return way

    def _is_made_now(self, option: Option) -> bool:
        if self._first is None:
            return option[0] not in _TRIED or os.path.lexists(option[1])
        return option[0] in _MOUNTED and option[-1] in self._first
