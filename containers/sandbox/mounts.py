"""Decide on the file system of a task: what is mounted where, from what is there on this machine."""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path

from containers.filesystem import is_directory, read_regular
from containers.sandbox.agent_files import AgentFiles
from containers.sandbox.home import Home, HomeMask, Option, is_left_out
from containers.sandbox.mounter import CLOSED, HIDDEN, FileSystem
from containers.sandbox.policy import AGENT_HOMES, AgentHome, expand
from containers.sandbox.system import RootFiles, bound_sockets, homes_of_others
from tasks.lazy.dataclasses import dataclass

RUN = Path("/run")
RESOLVERS = (Path("/etc/resolv.conf"), Path("/etc/hosts"))
"""Files that may be links into `/run`, without which no name is found."""
_OWN_DIRECTORIES = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - those of the sandbox
_NULL = os.makedev(1, 3)
"""The number of the null device (null(4))."""
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
        root_files: What is taken from a task of root; shared by the tasks of a run.
        home_mask: What hides secrets in the home directory; likewise.
        moved: Where agents' files are besides their usual places, by these.
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
    root_files: RootFiles = field(default_factory=RootFiles)
    home_mask: HomeMask = field(default_factory=HomeMask)
    moved: Mapping[str, Sequence[Path]] = field(default_factory=dict)

    @property
    def agent_home(self) -> AgentHome:
        """What its agent has in the home directory."""
        return AGENT_HOMES.get(self.agent or "", AgentHome())


@dataclass(slots=True)
class Mounts:
    """What is mounted for a task, in this order; what in `/proc` is read-only; and where its steps begin."""

    _made: list[Option | Home] = field(default_factory=list)
    settings: list[Path] = field(default_factory=list)
    directory: Path | None = None
    home: Home | None = None
    agent_files: AgentFiles | None = None

    def add(self, option: str, *paths: Path | str) -> None:
        """Add an option with its paths."""
        self._made.append((option, *map(str, paths)))

    def hide(self, path: Path) -> None:
        """Show an empty directory, or a file that cannot be opened, in place of what is there then.

        Of a link, that is what it leads to now.
        """
        self.add(HIDDEN, os.path.realpath(path))

    def close(self, path: str) -> None:
        """Hide a path that has no links on the way, so that nothing can be made in its place."""
        self.add(CLOSED, path)

    def show_home(self, home: Home) -> None:
        """Show the home directory of the task."""
        self.home = home
        self._made.append(home)

    def file_system(self, *, is_layered: bool) -> FileSystem:
        """Return what is mounted. Blocking; before the task can make links.

        Args:
            is_layered: Whether the home directory is a layer, or has copies.
        """
        options = list(self._options(is_layered=is_layered))
        layer = self.home if is_layered else None
        return FileSystem(
            options,
            [path.name for path in self.settings],
            str(layer.layer.room) if layer else "/",
            layer.mask() if layer else (),
        )

    def _options(self, *, is_layered: bool) -> Iterator[Option]:
        for made in self._made:
            if isinstance(made, Home):
                yield from made.options(is_layered=is_layered)
            else:
                yield made

    def find_seen(self, root: int) -> list[Path]:
        """Return what is to be hidden, and is seen by the task: it was made or replaced meanwhile. Blocking.

        Args:
            root: A descriptor of the root directory of the task.
        """
        paths = (made[1] for made in self._made if isinstance(made, tuple) and made[0] in {HIDDEN, CLOSED})
        return [Path(path) for path in paths if not _is_hidden(path, root)]

    def read(self, path: Path) -> None:
        """Show a file or a directory, read-only, if it exists."""
        self.add("--ro-bind-try", path, _without_links(path))


def _without_links(path: Path) -> str:
    """Return a path to the same file or link, without links on the way, which the task could replace."""
    directory, _, name = str(path).rpartition("/")
    return f"{os.path.realpath(directory or '/').rstrip('/')}/{name}"


def _is_hidden(path: str, root: int) -> bool:
    """Whether a task sees nothing at a path, or what hides it: the null device, another file system.

    Args:
        path: The absolute path, as a text: all of them are looked at before each step.
        root: A descriptor of the root directory of the task.
    """
    try:
        seen = os.stat(path[1:], dir_fd=root, follow_symlinks=False)
        if stat.S_ISCHR(seen.st_mode) and seen.st_rdev == _NULL:
            return True
        if stat.S_ISDIR(seen.st_mode):
            around = os.stat(path.rpartition("/")[0][1:] or ".", dir_fd=root, follow_symlinks=False)
            if seen.st_dev != around.st_dev:
                return True
        os.lstat(path)
    except OSError:
        return True
    return False


def why_not(checkout: Path, common: Path, home: Path | None) -> str | None:
    """Return why the user's files cannot be hidden without the rest of the system; `None` if they can."""
    for what, path in (("checkout", checkout), ("git directory", common)):
        if path == Path("/") or (home is not None and home.is_relative_to(path)):
            return f"the {what} {path} has the home directory in it, so it cannot be hidden from tasks"
    return None


def is_written(program: str, home: Path | None, write: Sequence[str]) -> bool:
    """Whether tasks can write where a program is, in files of their own or for good. Blocking.

    Args:
        program: Its path, without links.
        home: The user's home directory.
        write: What tasks change for good, as the setting has it.
    """
    opened = (expand(name, home or Path("/")).resolve() for name in write)
    places = (*_OWN_DIRECTORIES, *([home] if home else ()), *opened)
    return any(Path(program).is_relative_to(place) for place in places)


def task_mounts(places: Places) -> Mounts:
    """Return the mounts of the file system of a task, and create the directories of its own. Blocking.

    Raises:
        OSError: A directory cannot be created, or an agent's files cannot be copied.
    """
    mounts = Mounts()
    mounts.add("--tmpfs", RUN)
    for path in RESOLVERS:
        if (real := path.resolve()).is_relative_to(RUN):
            mounts.read(real)
    for path in _OWN_DIRECTORIES:
        if is_directory(path):
            mounts.add("--bind", _own(places.room, str(path)), path)
    if os.geteuid() == 0:
        _take_from_root(mounts, places)
    if places.home is not None:
        mounts.agent_files = AgentFiles(places.agent_home)
        mounts.show_home(Home(places.home, places.room, mounts.agent_files, places.home_mask))
        _mount_moved(mounts, places, mounts.agent_files)
    _hide_sockets(mounts, places)
    for path in (*places.hidden, *_others(places)):
        mounts.hide(path)
    for path in (*_object_directories(places.common / "objects"), *places.readable):
        mounts.read(path)
    _open_written(mounts, places)
    mounts.add("--bind", places.worktree, _without_links(places.worktree))
    mounts.directory = places.worktree
    return mounts


def _hide_sockets(mounts: Mounts, places: Places) -> None:
    for path in bound_sockets():
        if not _is_own(path, places):
            mounts.hide(path)


def _is_own(path: Path, places: Places) -> bool:
    """Whether a socket is in a directory that is the task's own, or hidden from it anyway."""
    if any(path.is_relative_to(one) for one in (places.common, places.worktrees)):
        return True
    if places.home and path.is_relative_to(places.home):
        return is_left_out(path.relative_to(places.home))
    return any(path.is_relative_to(one) for one in (RUN, Path("/var/run"), *_OWN_DIRECTORIES))


def _mount_moved(mounts: Mounts, places: Places, own: AgentFiles) -> None:
    """Show the task copies of what its agent has elsewhere, and nothing of other agents."""
    moved = [(name, path) for name, paths in sorted(places.moved.items()) for path in paths]
    for _, path in (one for one in moved if one[0] not in own.names):
        mounts.hide(path)
    for number, (name, path) in enumerate(one for one in moved if one[0] in own.names):
        copy = _own(places.room, "moved") / str(number)
        own.copy(name, path, copy)
        mounts.add("--bind", copy, _without_links(path))


def _take_from_root(mounts: Mounts, places: Places) -> None:
    """Leave root what any user has."""
    settings, closed = places.root_files.find()
    mounts.settings += settings
    for file in closed:
        mounts.close(file)
    for path in homes_of_others(places.home):
        mounts.hide(path)


def _own(room: Path, name: str) -> Path:
    path = room / name.strip("/").replace("/", "-")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _open_written(mounts: Mounts, places: Places) -> None:
    """Show what the task changes for good: where it is, and where the home directory left out a link to it.

    What is in another of these is there with that: a task could make a link in its place.
    """
    home = places.home or Path("/")
    named = sorted((path.resolve(), path) for path in {expand(name, home) for name in places.write})
    every = {real for real, _ in named}
    for real, path in named:
        if not every.isdisjoint(real.parents):
            continue
        mounts.add("--bind-try", real, real)
        if path != real and path.is_relative_to(home) and is_left_out(path.relative_to(home)):
            mounts.add("--bind-try", real, path)


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
