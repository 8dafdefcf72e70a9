"""Build the file system of a task: bubblewrap's arguments, from what is there on this machine."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import field
from pathlib import Path

from containers.filesystem import is_directory, read_regular
from containers.sandbox.policy import (
    AGENT_HOMES,
    CACHES,
    HISTORIES,
    LEFT_OUT_OF_COPIES,
    SECRET,
    WRITABLE,
    AgentHome,
    expand,
)
from containers.sandbox.system import closed_to_others, homes_of_others, kernel_settings
from containers.temporary import write_atomically
from tasks.lazy.dataclasses import dataclass

RUN = Path("/run")
RESOLVERS = (Path("/etc/resolv.conf"), Path("/etc/hosts"))
"""Files that may be links into `/run`, without which no name is found."""
ALTERNATES = 8
"""How many alternates of alternates are followed; git has a limit of 5."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a task's own files are, and what belongs to others.

    Args:
        worktree: The task's worktree.
        worktrees: The directory of all worktrees.
        checkout: The user's checkout.
        common: The common git directory of the user's repository.
        room: A new directory for the task's home directory and temporary files.
        home: The user's home directory; `None` without one.
        readable: More that the task may read, such as the directory of its prompt.
        write: Directories and files that it changes for good.
        hidden: Files and directories that are secret, wherever they are.
        agent: The program of its agent, such as `claude`, if it is a known one.
    """

    worktree: Path
    worktrees: Path
    checkout: Path
    common: Path
    room: Path
    home: Path | None
    readable: Sequence[Path] = ()
    write: Sequence[str] = ()
    hidden: Sequence[Path] = ()
    agent: str | None = None

    @property
    def agent_home(self) -> AgentHome:
        """What its agent has in the home directory."""
        return AGENT_HOMES.get(self.agent or "", AgentHome())


@dataclass(slots=True)
class Mounts:
    """Arguments of bubblewrap, in the order in which it mounts."""

    _made: list[tuple[str, ...] | Path] = field(default_factory=list)

    def add(self, option: str, *paths: Path | str) -> None:
        """Add an option with its paths."""
        self._made.append((option, *map(str, paths)))

    def hide(self, path: Path) -> None:
        """Show an empty directory, or a file that cannot be opened, in place of what is there then."""
        self._made.append(path)

    def arguments(self) -> list[str]:
        """Return the arguments for one step. Blocking."""
        return [part for made in self._made for part in (_hidden(made) if isinstance(made, Path) else made)]

    def read(self, path: Path) -> None:
        """Show a file or a directory, read-only, if it exists."""
        self.add("--ro-bind-try", path, path)


def _hidden(path: Path) -> tuple[str, ...]:
    """Return the arguments that hide a path: where nothing is to be mounted on, bubblewrap fails."""
    if is_directory(path):
        return "--tmpfs", str(path)
    return ("--ro-bind", os.devnull, str(path)) if os.path.lexists(path) else ()


_OF_AGENTS = frozenset(path for agent in AGENT_HOMES.values() for path in (*agent.config, *agent.login))


def why_not(checkout: Path, common: Path, home: Path | None) -> str | None:
    """Return why the user's files cannot be hidden without the rest of the system; `None` if they can."""
    for what, path in (("checkout", checkout), ("git directory", common)):
        if path == Path("/") or (home is not None and home.is_relative_to(path)):
            return f"the {what} {path} has the home directory in it, so it cannot be hidden from tasks"
    return None


def system_mounts() -> Mounts:
    """Return the mounts of a system that is read-only, with its own devices and processes."""
    mounts = Mounts()
    mounts.add("--ro-bind", "/", "/")
    mounts.add("--dev", "/dev")
    mounts.add("--proc", "/proc")
    return mounts


def task_mounts(places: Places) -> Mounts:
    """Return the mounts of the file system of a task, and create the directories of its own. Blocking.

    Raises:
        OSError: A directory cannot be created, or an agent's files cannot be copied.
    """
    mounts = system_mounts()
    mounts.add("--tmpfs", RUN)
    for path in RESOLVERS:
        if (real := path.resolve()).is_relative_to(RUN):
            mounts.read(real)
    for name in ("/tmp", "/var/tmp"):  # noqa: S108 - those of the sandbox
        if is_directory(Path(name)):
            mounts.add("--bind", _own(places.room, name), name)
    if os.geteuid() == 0:
        _take_from_root(mounts, places.home)
    if places.home is not None:
        _mount_home(mounts, places, places.home)
    for path in (*places.hidden, *_others(places)):
        mounts.hide(path)
    for path in (*_object_directories(places.common / "objects"), *places.readable):
        mounts.read(path)
    for path in (expand(name, places.home or Path("/")) for name in places.write):
        mounts.add("--bind-try", path, path)
    mounts.add("--bind", places.worktree, places.worktree)
    mounts.add("--chdir", places.worktree)
    return mounts


def _take_from_root(mounts: Mounts, home: Path | None) -> None:
    """Leave root what any user has."""
    for path in kernel_settings():
        mounts.read(path)
    for path in (*closed_to_others(), *homes_of_others(home)):
        mounts.hide(path)


def _own(room: Path, name: str) -> Path:
    path = room / name.strip("/").replace("/", "-")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _others(places: Places) -> Iterator[Path]:
    """Yield the directories that are not the task's, those around others first."""
    found = {places.checkout, places.common, places.worktrees}
    yield from sorted((path for path in found if is_directory(path)), key=lambda path: len(path.parts))


def _object_directories(directory: Path, depth: int = ALTERNATES) -> Iterator[Path]:
    """Yield an object directory of git, and those that it borrows from (gitrepository-layout(5))."""
    yield directory
    content = read_regular(directory / "info" / "alternates", limit=1 << 20) or b""
    for line in content.splitlines() if depth else ():
        if line and not line.startswith(b"#"):
            yield from _object_directories(directory / os.fsdecode(line), depth - 1)


def _mount_home(mounts: Mounts, places: Places, home: Path) -> None:
    """Give the task a home directory of its own, in which the user's files are read-only."""
    own = _own(places.room, "home")
    mounts.add("--bind", own, home)
    copied = _copy_agent_files(places, home, own)
    _show(mounts, home, "", copied)


def _show(mounts: Mounts, home: Path, relative: str, copied: frozenset[str]) -> None:
    """Show what is in a directory of the home directory, without what is secret or a cache."""
    try:
        entries = sorted((home / relative).iterdir())
    except OSError:
        return
    for full in entries:
        path = full.relative_to(home).as_posix()
        if path in copied or _is_left_out(path):
            continue
        if full.is_symlink():
            mounts.add("--symlink", full.readlink(), full)
        elif path in WRITABLE and full.is_dir():
            mounts.add("--dir", full)
            _show(mounts, home, path, copied)
        elif _is_readable(full):
            mounts.read(full)


def _is_readable(path: Path) -> bool:
    """Whether a path is a file or a directory: sockets, pipes and devices are the user's session."""
    with suppress(OSError):
        return path.is_file() or path.is_dir()
    return False


def _is_left_out(path: str) -> bool:
    """Whether a path of the home directory is secret, a cache, a history, or an agent's."""
    return path in SECRET or path in CACHES or path in HISTORIES or path in _OF_AGENTS


def _copy_agent_files(places: Places, home: Path, own: Path) -> frozenset[str]:
    """Copy the files of the task's agent into its home directory; return their paths."""
    agent = places.agent_home
    for name in (*agent.config, *agent.login):
        source, target = home / name, own / name
        if not source.exists() or target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=_ignore(home), ignore_dangling_symlinks=True)
        else:
            shutil.copy2(source, target)
    return frozenset((*agent.config, *agent.login))


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


def return_logins(places: Places) -> None:
    """Copy the log-in files that the agent renewed back to the user's home directory. Blocking.

    Only a file that the user has too is replaced, at once, and with the same permissions.
    """
    if places.home is None:
        return
    for name in places.agent_home.login:
        renewed, users = places.room / "home" / name, places.home / name
        content, before = read_regular(renewed, limit=1 << 20), read_regular(users, limit=1 << 20)
        if content and before is not None and content != before:
            with suppress(OSError):
                _replace(users, content)


def _replace(path: Path, content: bytes) -> None:
    write_atomically(path, content, mode=path.stat().st_mode & 0o777)
