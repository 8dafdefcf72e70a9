"""Import every module of packages, and print the side effects as JSON; a test runs it as a script.

usage: watch_imports.py PACKAGE ...

Side effects are: opening a file for writing, changing the file system, starting a process, opening a
connection, setting a signal handler, and reading the environment in a module of the packages.
"""

import importlib
import json
import os
import pkgutil
import sys
from collections import UserDict
from pathlib import Path
from types import FrameType

OWN = frozenset(sys.argv[1:])
BETWEEN = frozenset({"collections", "_collections_abc", "os", "socket", "__main__"})
"""Modules between the caller and the watched function."""
WATCHED = (
    *("socket.", "urllib.", "sqlite3.connect", "subprocess.", "signal."),
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.putenv", "os.unsetenv"),
    *("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.chdir", "os.chmod", "os.link", "os.symlink"),
    *("shutil.", "tempfile."),
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
done: list[str] = []


def package_of(frame: FrameType) -> str:
    """Return the top-level package of a frame's code."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """Record side effects; an audit hook."""
    if event == "open":
        flags = arguments[2]
        if isinstance(flags, int) and flags & WRITING and arguments[0] != os.devnull:
            done.append(f"{event} {arguments}")
    elif event.startswith(WATCHED) and not by_urllib3():
        done.append(f"{event} {arguments}")


def calling_frame(depth: int) -> FrameType | None:
    """Return the frame that calls the standard library, at least `depth` frames up."""
    frame: FrameType | None = sys._getframe(depth + 1)  # noqa: SLF001 - the only way to find the caller
    while frame is not None and package_of(frame) in BETWEEN:
        frame = frame.f_back
    return frame


def by_urllib3() -> bool:
    """Return whether the caller is urllib3, which binds a socket to detect IPv6."""
    frame = calling_frame(2)
    return frame is not None and package_of(frame) == "urllib3"


class Environment(UserDict[str, str]):
    """Environment variables that record which module of the packages reads them."""

    def __getitem__(self, key: str) -> str:
        self._record_access()
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._record_access()
        return super().__contains__(key)

    def __iter__(self):  # type: ignore[no-untyped-def]  # noqa: ANN204 - the signature of the base class
        self._record_access()
        return super().__iter__()

    def copy(self):  # type: ignore[no-untyped-def]  # noqa: ANN201 - the signature of the base class
        """Return a copy of the variables."""
        self._record_access()
        return super().copy()

    def _record_access(self) -> None:
        frame = calling_frame(2)
        if frame is not None and package_of(frame) in OWN:
            done.append(f"{frame.f_globals['__name__']} reads the environment")


def main() -> None:
    """Import everything, and print the modules and their side effects."""
    names: list[str] = []
    for top in sorted(OWN):
        package = importlib.import_module(top)
        names += [top, *(module.name for module in pkgutil.walk_packages(package.__path__, f"{top}."))]
    here = Path.cwd()
    os.environ = Environment(os.environ)  # type: ignore[assignment]  # noqa: B003 - for everything that is imported from now on
    sys.addaudithook(watch)
    for name in names:
        importlib.import_module(name)
    if Path.cwd() != here:
        done.append("the current directory has changed")
    print(json.dumps({"names": names, "done": done}))  # noqa: T201 - the output of the script


main()
