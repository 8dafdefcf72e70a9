"""Enter namespaces of tasks, and mount in them: a program without other modules of this package.

A process with threads cannot enter a user namespace (setns(2)), and to start programs for each task takes
several times as long. So this one is started once for a run, and forks for each request. It ends with the
process that started it.

A task's file system is made with open_tree(2), move_mount(2) and mount_setattr(2) of Linux 5.12: the mounts are
copied before anything covers their sources, and are moved to their places afterwards.
"""

import ctypes
import gc
import marshal
import os
import signal
import socket
import stat
import sys

CLONE_NEWNS = 0x20000
_MS_READ_ONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REC, _MS_PRIVATE, _MS_SHARED = 1 << 14, 1 << 18, 1 << 20
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_OPENAT2, _MOUNT_SETATTR = 437, 442
"""Numbers of the system calls; they are the same on all machines."""
_HERE, _EMPTY_PATH, _RECURSIVE = -100, 0x1000, 0x8000
_READ_ONLY, _NO_SET_USER_ID, _NO_DEVICES = 1, 2, 4
_FROM_DESCRIPTOR, _TO_LINKED, _TO_DESCRIPTOR = 0x04, 0x10, 0x40
_NO_MOUNTS, _NO_LINKS = 0x01, 0x04
_NO_MORE_NAMESPACES = "/proc/sys/user/max_user_namespaces"
"""https://man7.org/linux/man-pages/man7/namespaces.7.html: the limit of the namespace of the writer."""
_TRIED = ("--bind-try", "--ro-bind-try")
_BOUND = (*_TRIED, "--bind", "--ro-bind")
_READ_ONLY_KINDS = ("--ro-bind", "--ro-bind-try")
_HIDDEN, _CLOSED = "--hidden", "--closed"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
PROCESSES = "/dev/.proc"
"""Where the `/proc` of a task is, from which bubblewrap takes it."""
_NOTHING = "/dev/.nothing"
"""An empty file system, which is shown in place of directories that are closed."""
_STREAMS = {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}
_MODE = 0o755
_libc = ctypes.CDLL(None, use_errno=True)
_long = ctypes.c_long
_syscall = _libc.syscall
_syscall.argtypes = [_long]


def _checked(done: int, path: str = "") -> int:
    if done < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return done


def _call(number: int, *arguments: int | bytes) -> int:
    return int(_syscall(number, *[_long(value) if isinstance(value, int) else value for value in arguments]))


def _enter(descriptor: int) -> None:
    _checked(_libc.setns(descriptor, 0))


def _mount(source: bytes, place: str, kind: bytes | None, flags: int, data: bytes | None = None) -> None:
    _checked(_libc.mount(source, os.fsencode(place), kind, ctypes.c_ulong(flags), data), place)


def _copy(path: str) -> int:
    """Return a descriptor of a copy of the mounts at a path, which is not mounted yet."""
    flags = 1 | os.O_CLOEXEC | _RECURSIVE
    return _checked(_call(_OPEN_TREE, _HERE, os.fsencode(path), flags), path)


def _restrict(descriptor: int, path: bytes, attributes: int) -> None:
    """Set attributes of the mounts at a path, and of all below it."""
    structure = b"".join(value.to_bytes(8, sys.byteorder) for value in (attributes, 0, 0, 0))
    flags = _RECURSIVE | (0 if path else _EMPTY_PATH)
    _checked(_call(_MOUNT_SETATTR, descriptor, path, flags, structure, len(structure)), os.fsdecode(path))


def _make_place(path: str, *, is_directory: bool) -> None:
    if is_directory:
        os.makedirs(path, _MODE, exist_ok=True)  # noqa: PTH103 - pathlib takes long to load
    elif not os.path.exists(path):  # noqa: PTH110 - likewise
        os.makedirs(os.path.dirname(path), _MODE, exist_ok=True)  # noqa: PTH103, PTH120 - likewise
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))


def _move(copied: int, place: str) -> None:
    flags = _FROM_DESCRIPTOR | _TO_LINKED
    _checked(_call(_MOVE_MOUNT, copied, b"", _HERE, os.fsencode(place), flags), place)
    os.close(copied)


def _bind(copied: int, place: str) -> None:
    _make_place(place, is_directory=stat.S_ISDIR(os.fstat(copied).st_mode))
    _move(copied, place)


def _hold_way(place: str, points: set[str]) -> None:
    """Mount the directories on the way to a place on themselves, so that the task cannot move them.

    What is mounted on can neither be renamed nor removed (rename(2): EBUSY).

    Args:
        place: Where something is to be mounted.
        points: Where something is mounted already. The task changes nothing outside of these.
    """
    way = []
    while (place := os.path.dirname(place)) not in points:  # noqa: PTH120 - pathlib takes long to load
        if place == "/":
            return
        way.append(place)
    for directory in reversed(way):
        if os.path.islink(directory):  # noqa: PTH114 - likewise; the user's
            return
        _make_place(directory, is_directory=True)
        _bind(_copy(directory), directory)
        points.add(directory)


def _copied(options: list[list[str]]) -> dict[int, int]:
    """Return copies of the mounts that options name as their sources, by the number of the option."""
    copies: dict[int, int] = {}
    for number, option in enumerate(options):
        if option[0] in _BOUND and (option[0] not in _TRIED or os.path.exists(option[1])):  # noqa: PTH110
            kind = _READ_ONLY if option[0] in _READ_ONLY_KINDS else 0
            copies[number] = _restricted(_copy(option[1]), kind)
        elif option[0] in {_HIDDEN, _CLOSED} and _type(option[1]) not in {0, stat.S_IFDIR}:
            copies[number] = _restricted(_copy("/dev/null"), _READ_ONLY)
    return copies


def _restricted(copied: int, attributes: int = 0) -> int:
    """Return a copy of mounts, without programs that change the user, and devices."""
    _restrict(copied, b"", attributes | _NO_SET_USER_ID | _NO_DEVICES)
    return copied


def _type(path: str) -> int:
    """Return the type of a file as in its mode; 0 without one."""
    try:
        return stat.S_IFMT(os.lstat(path).st_mode)
    except OSError:
        return 0


def _directories(options: list[list[str]]) -> dict[int, bool]:
    """Return which options mount an empty directory, by their numbers, and whether files can be made in it."""
    found, places = dict[int, bool](), [option[-1] for option in options]
    for number, (kind, *_, place) in enumerate(options):
        if kind == "--tmpfs" or (kind in {_HIDDEN, _CLOSED} and _type(place) == stat.S_IFDIR):
            found[number] = kind != _CLOSED or any(other.startswith(f"{place}/") for other in places)
    return found


def _arrange(options: list[list[str]], copies: dict[int, int], directories: dict[int, bool]) -> None:
    """Mount what options of bubblewrap say, in a file system that is read-only otherwise."""
    if not all(directories.values()):
        os.mkdir(_NOTHING, _MODE)  # noqa: PTH102 - pathlib takes long to load
        _mount(b"tmpfs", _NOTHING, b"tmpfs", _MS_READ_ONLY | _MS_NOSUID | _MS_NODEV, b"mode=0755")
    points = set[str]()
    for number, option in enumerate(options):
        place = option[-1]
        if number in copies or number in directories:
            _hold_way(place, points)
            points.add(place)
            if number in copies:
                _bind(copies[number], place)
            elif not directories[number]:
                _bind(_restricted(_copy(_NOTHING), _READ_ONLY), place)
            else:
                _make_place(place, is_directory=True)
                _mount_empty(place)
        elif option[0] == "--dir":
            _make_place(place, is_directory=True)
        elif option[0] == "--symlink" and not os.path.lexists(place):
            os.symlink(option[1], place)  # noqa: PTH211 - pathlib takes long to load


def _mount_empty(place: str) -> None:
    _mount(b"tmpfs", place, b"tmpfs", _MS_NOSUID | _MS_NODEV, b"mode=0755")


def _mount_devices(copies: dict[str, int]) -> None:
    """Mount devices that every program may use, and terminals of the task's own."""
    _mount_empty("/dev")
    for path, copied in copies.items():
        _restrict(copied, b"", _NO_SET_USER_ID)
        _bind(copied, path)
    for name, end in _STREAMS.items():
        os.symlink(f"/proc/self/fd{end}", f"/dev/{name}")  # noqa: PTH211 - pathlib takes long to load
    for name in ("pts", "shm"):
        os.mkdir(f"/dev/{name}", _MODE)  # noqa: PTH102 - likewise
    _mount(b"devpts", "/dev/pts", b"devpts", _MS_NOSUID | _MS_NOEXEC, b"newinstance,ptmxmode=0666,mode=620")
    os.symlink("pts/ptmx", "/dev/ptmx")  # noqa: PTH211 - likewise


def _mount_processes(processes: int, settings: list[str]) -> None:
    """Mount `/proc` of a PID namespace beside that of this one, which bubblewrap needs while it starts a step.

    Only a process in the namespace can do so. What in it changes the system is read-only.
    """
    os.mkdir(PROCESSES, _MODE)  # noqa: PTH102 - pathlib takes long to load
    if os.fstat(os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)).st_ino == os.fstat(processes).st_ino:
        _mount_own_processes(settings)
        return
    _enter(processes)
    child = os.fork()
    if child == 0:
        try:
            _mount_own_processes(settings)
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    if status := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise OSError(status, os.strerror(abs(status)), "/proc")


def _mount_own_processes(settings: list[str]) -> None:
    _mount(b"proc", PROCESSES, b"proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    for name in settings:
        path = f"{PROCESSES}/{name}"
        if os.path.exists(path):  # noqa: PTH110 - pathlib takes long to load
            copied = _copy(path)
            _restrict(copied, b"", _READ_ONLY)
            _move(copied, path)


def _mask(hidden: list[tuple[str, int, list[str]]]) -> None:
    """Hide files in directories: the kernel takes a device with the number 0 for a file that was removed."""
    for directory, mode, names in hidden:
        place = f"mask/{directory}"
        if directory:
            os.mkdir(place)  # noqa: PTH102 - pathlib takes long to load
        os.chmod(place, mode | stat.S_IRWXU)  # noqa: PTH101 - likewise
        for name in names:
            os.mknod(f"{place}/{name}", stat.S_IFCHR)


def _layer(room: str, lower: str, hidden: list[tuple[str, int, list[str]]]) -> int | None:
    """Return a copy of a mounted layer; `None` where the kernel cannot mount one."""
    found = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in (lower, f"{room}/upper", f"{room}/work")]
    lower, upper, work = (f"/proc/self/fd/{number}" for number in found)  # commas and colons had a meaning
    _mount_empty(room)  # files on a disk take longer
    os.chdir(room)
    for name in ("mask", "merged"):
        os.mkdir(name, _MODE)  # noqa: PTH102 - pathlib takes long to load
    _mask(hidden)
    data = f"lowerdir=mask:{lower},upperdir={upper},workdir={work},userxattr"
    # With `volatile`, the kernel does not write all of the disk's files out at the end of each task. It refuses
    # that after an error of the disk which no program has seen.
    for options in (f"{data},volatile", data):
        try:
            _mount(b"overlay", "merged", b"overlay", 0, options.encode())
        except OSError:
            continue
        return _restricted(_copy("merged"))
    return None


def make_file_system(
    processes: int,
    options: list[list[str]],
    settings: list[str],
    room: str,
    hidden: list[tuple[str, int, list[str]]],
) -> tuple[int, int] | None:
    """Make the file system of a task in a mount namespace of its own; return descriptors of that and its root.

    `None` is returned where the kernel cannot mount a layer. The arguments are those of `FileSystem`.
    """
    limit = os.open(_NO_MORE_NAMESPACES, os.O_WRONLY | os.O_CLOEXEC)
    os.write(limit, b"0")
    os.close(limit)
    _checked(_libc.unshare(CLONE_NEWNS))
    _mount(b"none", "/", None, _MS_REC | _MS_PRIVATE)  # what the user mounts meanwhile is not seen
    namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    devices = {f"/dev/{name}": _copy(f"/dev/{name}") for name in _DEVICES}
    copies, directories = _copied(options), _directories(options)
    for number, option in enumerate(options):
        if option[0] == "--layer":  # after the copies, whose sources may be in the room
            if (layer := _layer(room, option[-1], hidden)) is None:
                return None
            copies[number] = layer
    _restrict(_HERE, b"/", _READ_ONLY | _NO_SET_USER_ID | _NO_DEVICES)
    _mount_devices(devices)
    _arrange(options, copies, directories)
    if settings:
        _mount_processes(processes, settings)
    _mount(b"none", "/", None, _MS_REC | _MS_SHARED)  # steps see what is hidden later
    return namespace, os.open("/", os.O_PATH | os.O_CLOEXEC)


def hide(namespace: int, paths: list[str]) -> None:
    """Hide files and directories of a task that exists, of which none is reached through a link.

    Args:
        namespace: The mount namespace of the task.
        paths: Absolute paths. What is not there, or is reached through a link, is left.
    """
    _enter(namespace)
    for path in paths:
        *way, name = path.strip("/").split("/")
        directory = os.open("/", os.O_PATH | os.O_CLOEXEC)
        for part in way:
            if directory >= 0:
                directory = _held(directory, part)
        place = _opened(directory, name, _NO_LINKS) if directory >= 0 else -1
        if place < 0:
            continue
        hiding = _empty() if stat.S_ISDIR(os.fstat(place).st_mode) else _copy("/dev/null")
        _restricted(hiding, _READ_ONLY)
        flags = _FROM_DESCRIPTOR | _TO_DESCRIPTOR
        _checked(_call(_MOVE_MOUNT, hiding, b"", place, b"", flags), path)


def _opened(directory: int, name: str, without: int) -> int:
    """Return a descriptor of a file in a directory; a negative number without it."""
    how = b"".join(value.to_bytes(8, sys.byteorder) for value in (os.O_PATH | os.O_CLOEXEC, 0, without))
    return _call(_OPENAT2, directory, os.fsencode(name), how, len(how))


def _held(directory: int, name: str) -> int:
    """Mount a directory on itself where the task could move it; return a descriptor of it as `_opened` does."""
    found = _opened(directory, name, _NO_LINKS | _NO_MOUNTS)
    if found >= 0 and stat.S_ISDIR(os.fstat(found).st_mode) and not os.fstatvfs(found).f_flag & os.ST_RDONLY:
        copied = _checked(_call(_OPEN_TREE, found, b"", 1 | os.O_CLOEXEC | _RECURSIVE | _EMPTY_PATH), name)
        _checked(_call(_MOVE_MOUNT, copied, b"", found, b"", _FROM_DESCRIPTOR | _TO_DESCRIPTOR), name)
    return _opened(directory, name, _NO_LINKS)


def _empty() -> int:
    """Return a file system that is not mounted yet."""
    opened = _checked(_call(_FSOPEN, b"tmpfs", 1))
    _checked(_call(_FSCONFIG, opened, 6, 0, 0, 0))  # FSCONFIG_CMD_CREATE
    return _checked(_call(_FSMOUNT, opened, 1, 0))


def listen(network: int) -> int:
    """Return a socket that listens on the loopback interface of a network namespace."""
    _enter(network)
    return socket.create_server(("127.0.0.1", 0), backlog=128).detach()


def _answer(connection: socket.socket) -> None:
    """Do what a request asks for. It begins with a user namespace, whose rights everything is done with."""
    text, (users, *others), _, _ = socket.recv_fds(connection, 1 << 16, 2)
    while more := connection.recv(1 << 16):
        text += more
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        request = marshal.loads(text)  # noqa: S302 - of the process that started this one
        _enter(users)
        made: list[int] = []
        if request["action"] == "make":
            made += make_file_system(others[0], **request["file_system"]) or ()
        elif request["action"] == "hide":
            hide(others[0], request["paths"])
        else:
            made.append(listen(others[0]))
        socket.send_fds(connection, [marshal.dumps("")], made)
    except OSError as error:
        path = f"{error.filename}: " if error.filename else ""
        connection.sendall(marshal.dumps(f"{path}{error.strerror}"))


def _serve(control: socket.socket) -> None:
    """Fork for each connection that is handed over, until the other end is closed.

    With a PID namespace beside it, the new process is in that one where root may do so.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that the kernel removes those that ended
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    gc.freeze()
    while True:
        content, (*descriptors,), _, _ = socket.recv_fds(control, 1, 2)
        if not content:
            return
        has_entered = len(descriptors) > 1 and _libc.setns(descriptors[1], 0) == 0
        try:
            child = os.fork()
        except OSError:  # there are too many processes, or those of the task are being killed
            child = -1
        if child == 0:
            control.close()
            try:
                _answer(socket.socket(fileno=descriptors[0]))
            finally:
                os._exit(0)
        if has_entered:
            _enter(own)
        for descriptor in descriptors:
            os.close(descriptor)


if __name__ == "__main__":
    gc.disable()
    _serve(socket.socket(fileno=int(sys.argv[1])))
