"""Import every module of packages, and print the side effects as JSON; a test runs it as a script.

usage: watch_imports.py PACKAGE ...

What counts is a file that is opened for writing, a change of the file system, a process, a connection, a signal
handler, and a look at the environment by a module of the packages.
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
"""Modules that stand between who asks and what is asked for."""
WATCHED = (
    *("socket.", "urllib.", "sqlite3.connect", "subprocess.", "signal."),
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.putenv", "os.unsetenv"),
    *("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.chdir", "os.chmod", "os.link", "os.symlink"),
    *("shutil.", "tempfile."),
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
done: list[str] = []


def package_of(frame: FrameType) -> str:
    """Return the top-level package that a frame's code is of."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """Note what changes something; an audit hook."""
    if event == "open":
        flags = arguments[2]
        if isinstance(flags, int) and flags & WRITING and arguments[0] != os.devnull:
            done.append(f"{event} {arguments}")
    elif event.startswith(WATCHED) and not by_urllib3():
        done.append(f"{event} {arguments}")


def asker(depth: int) -> FrameType | None:
    """Return the frame that asks for something of the standard library, `depth` frames up or more."""
    frame: FrameType | None = sys._getframe(depth + 1)  # noqa: SLF001 - the one way to see who calls
    while frame is not None and package_of(frame) in BETWEEN:
        frame = frame.f_back
    return frame


def by_urllib3() -> bool:
    """Whether it is urllib3 that asks: it binds a socket to see whether there is IPv6 here."""
    frame = asker(2)
    return frame is not None and package_of(frame) == "urllib3"


class Environment(UserDict[str, str]):
    """Notes which module of the packages looks at it."""

    def __getitem__(self, key: str) -> str:
        self._look()
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._look()
        return super().__contains__(key)

    def __iter__(self):  # type: ignore[no-untyped-def]  # noqa: ANN204 - as the base class has it
        self._look()
        return super().__iter__()

    def copy(self):  # type: ignore[no-untyped-def]  # noqa: ANN201 - as the base class has it
        """Return the variables."""
        self._look()
        return super().copy()

    def _look(self) -> None:
        frame = asker(2)
        if frame is not None and package_of(frame) in OWN:
            done.append(f"{frame.f_globals['__name__']} reads the environment")


def main() -> None:
    """Import everything, and tell."""
    names: list[str] = []
    for top in sorted(OWN):
        package = importlib.import_module(top)
        names += [top, *(module.name for module in pkgutil.walk_packages(package.__path__, f"{top}."))]
    here = Path.cwd()
    os.environ = Environment(os.environ)  # type: ignore[assignment]  # noqa: B003 - seen by all that is imported from here on
    sys.addaudithook(watch)
    for name in names:
        importlib.import_module(name)
    if Path.cwd() != here:
        done.append("the current directory is another one")
    print(json.dumps({"names": names, "done": done}))  # noqa: T201 - a script's answer


main()
