"""A layer over a directory: what a task writes there is kept apart, and removed with it.

The kernel mounts it (https://docs.kernel.org/filesystems/overlayfs.html) in a mount namespace of the task's
own, which user namespaces may do since Linux 5.11. Where it cannot, because the disk of the layer or the system
does not support it, the layer is not used.
"""

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from containers.filesystem import is_directory
from tasks.lazy.dataclasses import dataclass

_MISSING = 0


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer over a directory.

    Args:
        lower: The directory, whose files are not changed.
        room: A directory of the task's, for the files of the layer.
    """

    lower: Path
    room: Path

    @property
    def upper(self) -> Path:
        """The directory with what the task wrote."""
        return self.room / "upper"

    def create(self) -> None:
        """Make its directories. Blocking.

        Raises:
            OSError: They cannot be made.
        """
        for path in (self.upper, self.room / "work"):
            path.mkdir(mode=0o700)
        self.upper.chmod(stat.S_IMODE(self.lower.stat().st_mode))

    def mask(self, names: Iterable[str]) -> list[tuple[str, int, list[str]]]:
        """Return what hides files, also such that are made later, even with their directories. Blocking.

        Args:
            names: Their paths, relative to the directory.

        Returns:
            Directories with their permission bits, each after those around it, and the names in them.
        """
        modes = {"": stat.S_IFDIR | self.lower.stat().st_mode}
        found: dict[str, set[str]] = {}
        for name in set(names):
            directory, rest = "", name
            while "/" in rest:
                first, _, remaining = rest.partition("/")
                path = f"{directory}/{first}".lstrip("/")
                mode = self._mode(path, modes)
                if not stat.S_ISDIR(mode):
                    rest = first if mode == _MISSING else ""  # nothing is seen through what is missing
                    break
                directory, rest = path, remaining
            if rest:
                found.setdefault(directory, set()).add(rest)
        ways = sorted(name for name, mode in modes.items() if stat.S_ISDIR(mode))
        return [(way, stat.S_IMODE(modes[way]), sorted(found.get(way, ()))) for way in ways]

    def _mode(self, name: str, modes: dict[str, int]) -> int:
        """Return the mode of a file, which is noted in `modes`; `_MISSING` without one."""
        if name not in modes:
            try:
                modes[name] = (self.lower / name).lstat().st_mode
            except FileNotFoundError:
                modes[name] = _MISSING
            except OSError:
                modes[name] = stat.S_IFLNK  # it is not entered
        return modes[name]

    def own(self, name: str) -> Path | None:
        """Return the place of a file of the layer, whose parents are made; `None` if they are links or files.

        Args:
            name: Its path, relative to the directory.

        Raises:
            OSError: They cannot be made.
        """
        *parents, last = Path(name).parts
        lower, upper = self.lower, self.upper
        for part in parents:
            lower, upper = lower / part, upper / part
            if os.path.lexists(lower) and not is_directory(lower):
                return None
            if not is_directory(upper):
                upper.mkdir()
                if is_directory(lower):
                    upper.chmod(stat.S_IMODE(lower.stat().st_mode) | stat.S_IRWXU)
        return upper / last

    def remove_work(self) -> None:
        """Remove the kernel's directories, which their owner may not read."""
        ways = [f"{self.room}/work/work{name}" for name in ("", "/incompat", "/incompat/volatile")]
        with suppress(OSError):
            for path in ways:
                os.chmod(path, stat.S_IRWXU)  # noqa: PTH101 - as texts: paths take longer, for each task
            os.unlink(f"{ways[-1]}/dirty")  # noqa: PTH108 - likewise
            for path in reversed(ways):
                os.rmdir(path)  # noqa: PTH106 - likewise
