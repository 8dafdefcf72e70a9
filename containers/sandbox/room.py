"""The sandbox of one task: its namespaces, which live as long as the task, and the command of each step."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from containers.git.given_settings import with_pairs
from containers.process_marks import ProcessMark
from containers.processes import open_pipe
from containers.sandbox.landlock import restrict_thread
from containers.sandbox.mounts import Mounts, Places, task_mounts
from containers.sandbox.network import Network, Reach
from containers.sandbox.policy import SOCKET_VARIABLES, UNSIGNED, Policy
from containers.sandbox.seccomp import call_filter
from tasks.errors import PatchyardError

if TYPE_CHECKING:
    from containers.sandbox.proxy import Proxy

NS_GET_USERNS = 0xB701
"""https://man7.org/linux/man-pages/man2/ioctl_ns.2.html: the user namespace that owns a namespace."""
_HOLDER = "echo ready; read -r _; kill -KILL -1"
"""Says that the namespaces are complete; at the end of patchyard, ends every process of the task."""
_NO_MORE_NAMESPACES = "echo 0 > /proc/sys/user/max_user_namespaces"
"""https://man7.org/linux/man-pages/man7/namespaces.7.html: the limit of the namespace of the writer."""
_LISTEN = (
    "import socket, sys\n"
    "listener = socket.create_server(('127.0.0.1', 0), backlog=128)\n"
    "socket.send_fds(socket.socket(fileno=int(sys.argv[1])), [b'.'], [listener.fileno()])\n"
)
"""Opens a listening socket, and hands it over: a socket stays in the network that it was opened in."""
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""What a shell needs. The holder sees nothing else: tasks may reach its files by `/proc/PID/root`."""
Result = TypeVar("Result")


class SandboxError(PatchyardError):
    """The sandbox cannot be made. The message says why, and what to do."""


class Room:
    """The sandbox of one task. A context manager, which ends all its processes. Methods block.

    Args:
        program: The path of bubblewrap.
        policy: What the user permits.
        mounts: Its file system.
        mark: The mark of the task's processes.

    Raises:
        SandboxError: From any method, when its namespaces cannot be made.
    """

    def __init__(self, program: str, policy: Policy, mounts: Mounts, mark: ProcessMark) -> None:
        self._program = program
        self._policy = policy
        self._mounts = mounts
        self._mark = mark
        self._namespaces = ExitStack()
        self._seccomp: int | None = None
        self._is_layered = False
        self._joining: tuple[str, ...] = ()
        self._proxy: Proxy | None = None
        self._starter: ThreadPoolExecutor | None = None
        self._refused: Counter[str] = Counter()
        self.descriptors: tuple[int, ...] = ()
        """The descriptors that a step's process inherits."""

    def __enter__(self) -> Self:
        """Make its namespaces."""
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End its processes."""
        self.end_processes()

    def end_processes(self) -> None:
        """Kill every process in the sandbox. Steps may run in it afterwards."""
        self._namespaces.close()
        self.descriptors, self._joining, self._proxy, self._starter = (), (), None, None

    def command(self, argv: Sequence[str]) -> tuple[str, ...]:
        """Return the argument vector that runs a command in the sandbox; `descriptors` are for that one."""
        if not self._joining:
            self._open()
        # As root, too, no capability is left, with which it could take the mounts away.
        mounts = self._mounts.arguments(is_layered=self._is_layered)
        added = ["--cap-drop", "ALL", "--unshare-ipc", "--unshare-uts", *mounts]
        return (*self._joining, *self._filter(), *added, "--", *argv)

    def start(self, start: Callable[[], Result]) -> Result:
        """Call a function that starts a command of `command`; after `command`. Return its result.

        It is called in the thread that the kernel restricts for the task.
        """
        if self._starter is None:
            return start()
        return self._starter.submit(start).result()

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that a step has in the sandbox; after `command`."""
        kept = {name: value for name, value in environment.items() if name not in SOCKET_VARIABLES}
        return with_pairs(kept, UNSIGNED) | (self._proxy.variables if self._proxy else {})

    @property
    def refused(self) -> Mapping[str, int]:
        """How often the sandbox refused a request, by host."""
        return self._refused

    def _open(self) -> None:
        with ExitStack() as stack:
            own_network = self._policy.network.reach is not Reach.ON
            # The kernel kills the holder when the thread that started it ends (PR_SET_PDEATHSIG(2const)).
            starter = stack.enter_context(ThreadPoolExecutor(1, "sandbox"))
            options = ("--unshare-net",) if own_network else ()
            held = _held_namespaces(starter, self._program, self._mark, *options)
            first = stack.enter_context(held)
            processes, inner = (_opened(stack, f"/proc/{first}/ns/{kind}") for kind in ("pid", "user"))
            users = fcntl.ioctl(processes, NS_GET_USERNS)
            stack.callback(os.close, users)
            self.descriptors = (users, processes)
            joined: dict[str, int] = {}  # bubblewrap cannot join these itself
            if own_network:
                joined["net"] = network = _opened(stack, f"/proc/{first}/ns/net")
                if self._policy.network.reach is Reach.HOSTS:
                    inside = _inside(users, joined)
                    self._proxy = _proxy(stack, inside, (users, network), self._policy.network, self._refused)
            if (mounted := self._mount_home(stack, users)) is not None:
                joined["mount"] = mounted
            self.descriptors += tuple(joined.values())
            own = (self._program, "--userns", str(users))
            entering = (*_inside(users, joined), self._program) if joined else own
            self._joining = (*entering, "--pidns", str(processes))
            if os.fstat(users).st_ino != os.fstat(inner).st_ino:  # it differs where this process is not root's
                self._joining += ("--userns2", str(inner))
                self.descriptors += (inner,)
            _refuse_user_namespaces(users)
            self._add_filter(stack)
            starter.submit(restrict_thread, self._program).result()
            self._starter = starter
            self._namespaces = stack.pop_all()

    def _mount_home(self, stack: ExitStack, users: int) -> int | None:
        """Mount the layer of the home directory; return its mount namespace, if that is possible."""
        home, mounted = self._mounts.home, None
        if home and home.hide_secrets():
            mounted = home.layer.mount(stack, _inside(users, {}), (users,), self._mounts.ways_in_home())
        self._is_layered = mounted is not None
        return mounted

    def _add_filter(self, stack: ExitStack) -> None:
        if program := call_filter():
            self._seccomp = os.memfd_create("filter", os.MFD_CLOEXEC)
            stack.callback(os.close, self._seccomp)
            os.write(self._seccomp, program)
            self.descriptors += (self._seccomp,)

    def _filter(self) -> tuple[str, ...]:
        if self._seccomp is None:
            return ()
        os.lseek(self._seccomp, 0, os.SEEK_SET)
        return "--seccomp", str(self._seccomp)


@contextmanager
def open_room(program: str, policy: Policy, places: Places, mark: ProcessMark) -> Iterator[Room]:
    """Make the sandbox of a task; renewed log-ins of its agent are kept at the end. Blocking.

    Args:
        program: The path of bubblewrap.
        policy: What the user permits.
        places: Where the task's files are.
        mark: The mark of the task's processes.

    Raises:
        SandboxError: It cannot be made.
    """
    try:
        mounts = task_mounts(places)
    except OSError as error:
        raise SandboxError(f"the sandbox cannot be made: {error.filename}: {error.strerror}") from None
    with Room(program, policy, mounts, mark) as room:
        yield room
    if mounts.agent_files:
        mounts.agent_files.return_logins()


@contextmanager
def _held_namespaces(
    starter: ThreadPoolExecutor, program: str, mark: ProcessMark, *options: str
) -> Iterator[int]:
    """Make new namespaces, and give the id of their first process, which is killed at the end. Blocking.

    If this process is killed, the kernel kills the holder, and with it every process in them. Where it is
    killed before the holder asked for that, its end of the pipe closes, and the holder ends.

    Raises:
        SandboxError: They cannot be made.
    """
    with open_pipe() as (held, lifeline), open_pipe() as (reports, reporting):
        with mark.inherited():  # not by chance that of another task
            process = starter.submit(
                _start_holder, program, options, held.fileno(), reporting.fileno()
            ).result()
        reporting.close()
        first = _first_process(process, reports)
        try:
            if first is None:
                lifeline.close()
                stderr = process.communicate()[1].decode(errors="replace").strip()
                raise SandboxError(f"bubblewrap cannot make a sandbox: {stderr or 'it ended at once'}")
            with _killed(first):
                yield first
        finally:
            lifeline.close()
            process.communicate()


def _start_holder(program: str, options: Sequence[str], held: int, reporting: int) -> "subprocess.Popen[bytes]":
    command = [program, "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", *options]
    command += ["--die-with-parent", "--info-fd", str(reporting), "--tmpfs", "/"]
    for path in map(Path, _SYSTEM):
        if path.is_symlink():
            command += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            command += ["--ro-bind", str(path), str(path)]
    # No `/proc`: tasks would reach its settings of the kernel. For `/dev`, bubblewrap makes a second user
    # namespace where this process is not root's. In the first it is root, as it must be to join it for a step.
    command += ["--dev", "/dev", "--", "/bin/sh", "-c", _HOLDER]
    try:
        return subprocess.Popen(
            command,
            stdin=held,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(reporting,),
            start_new_session=True,
            env={"PATH": "/usr/bin:/bin"},
        )
    except OSError as error:
        raise SandboxError(f"bubblewrap cannot be started: {error.strerror}") from None


@contextmanager
def _killed(first: int) -> Iterator[None]:
    """Kill the first process of a PID namespace at the end, and so all of them (pid_namespaces(7))."""
    descriptor = os.pidfd_open(first)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)


def _first_process(process: "subprocess.Popen[bytes]", reports: FileIO) -> int | None:
    """Return the id of the first process of the new namespaces; `None` if they could not be made.

    Bubblewrap reports it as JSON, before it has mapped users: only then can others join.
    """
    text = reports.readall() or b""
    if process.stdout is None or not process.stdout.readline():
        return None
    return int(json.loads(text)["child-pid"])


def _inside(users: int, others: Mapping[str, int]) -> tuple[str, ...]:
    """Return the beginning of a command that runs in a user namespace, and in others by kind (nsenter(1))."""
    names = (f"--{kind}=/proc/self/fd/{descriptor}" for kind, descriptor in {"user": users, **others}.items())
    return ("nsenter", "--preserve-credentials", *names, "--")


def _refuse_user_namespaces(users: int) -> None:
    """Let no process in a user namespace make others, from which it could move the places of mounts."""
    command = (*_inside(users, {}), "sh", "-c", _NO_MORE_NAMESPACES)
    done = subprocess.run(command, pass_fds=(users,), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SandboxError(f"user namespaces cannot be refused to tasks: {done.stderr.strip()}")


def _proxy(
    stack: ExitStack, inside: Sequence[str], descriptors: Sequence[int], network: Network, refused: Counter[str]
) -> "Proxy":
    """Start the proxy of a task: it listens in the task's network, and connects from this process's own."""
    from containers.sandbox.proxy import Proxy  # noqa: PLC0415 - slow

    own, other = socket.socketpair()
    with own, other:
        command = (*inside, sys.executable, "-IS", "-c", _LISTEN, str(other.fileno()))
        done = subprocess.run(
            command, pass_fds=(*descriptors, other.fileno()), capture_output=True, check=False
        )
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise SandboxError(f"the sandbox's network cannot be entered with nsenter: {reason}")
        (listening,) = socket.recv_fds(own, 1, 1)[1]
    listener = stack.enter_context(socket.socket(fileno=listening))
    proxy = Proxy(listener, network, refused)
    stack.enter_context(proxy.serving())
    return proxy


def _opened(stack: ExitStack, path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor
