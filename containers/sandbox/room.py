"""The sandbox of one task: its namespaces, which live as long as the task, and the command of each step."""

import fcntl
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from containers.git.given_settings import with_pairs
from containers.process_marks import ProcessMark
from containers.processes import find_program
from containers.sandbox.holder import held_namespaces
from containers.sandbox.landlock import restrict_thread
from containers.sandbox.mounter import PROCESSES, Mounter, SandboxError
from containers.sandbox.mounts import Mounts, Places, task_mounts
from containers.sandbox.network import Reach
from containers.sandbox.policy import SOCKET_VARIABLES, UNSIGNED, Policy, for_linker
from containers.sandbox.seccomp import call_filter, filter_thread

if TYPE_CHECKING:
    from containers.sandbox.proxy import Proxy

NS_GET_USERNS = 0xB701
"""https://man7.org/linux/man-pages/man2/ioctl_ns.2.html: the user namespace that owns a namespace."""
_SYSTEM = "/usr/bin:/bin:/usr/sbin:/sbin"
Result = TypeVar("Result")


class Room:
    """The sandbox of one task. A context manager, which ends all its processes. Methods block.

    Args:
        program: The path of bubblewrap.
        policy: What the user permits.
        mounts: Its file system.
        mark: The mark of the task's processes.
        mounter: Makes the file system.

    Raises:
        SandboxError: From any method, when its namespaces cannot be made.
    """

    def __init__(
        self, program: str, policy: Policy, mounts: Mounts, mark: ProcessMark, mounter: Mounter
    ) -> None:
        self._program = program
        self._policy = policy
        self._mounts = mounts
        self._mark = mark
        self._mounter = mounter
        self._lasting = ExitStack()
        self._namespaces = ExitStack()
        self._users = self._inner = self._mounted = self._root = -1
        self._is_reopened = False
        self._seccomp: int | None = None
        self._joining: tuple[str, ...] = ()
        self._proxy: Proxy | None = None
        self._starter: ThreadPoolExecutor | None = None
        self._refused: Counter[str] = Counter()
        self.descriptors: tuple[int, ...] = ()
        """The descriptors that a step's process inherits."""

    def __enter__(self) -> Self:
        """Make its namespaces."""
        with self._lasting:
            self._open()
            self._lasting = self._lasting.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End its processes."""
        with self._lasting:
            self.end_processes()

    def end_processes(self) -> None:
        """Kill every process in the sandbox. Steps may run in it afterwards."""
        self._namespaces.close()
        self.descriptors, self._joining, self._proxy, self._starter = (), (), None, None

    def command(self, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """Return the argument vector that runs a command in the sandbox; `descriptors` are for that one.

        Args:
            argv: The command.
            environment: The variables of the step.
        """
        if not self._joining:
            self._open()
        if appeared := self._mounts.find_seen(self._root):
            self._mounter.hide(self._users, self._mounted, appeared)
        # As root, too, no capability is left, with which it could take the mounts away.
        added = ["--cap-drop", "ALL", "--dev-bind", "/", "/"]
        added += self._processes()
        for name, value in for_linker(environment or {}).items():
            added += ["--setenv", name, value]
        if self._mounts.directory:
            added += ["--chdir", str(self._mounts.directory)]
        return (*self._joining, *self._filter(), *added, "--", *argv)

    def _processes(self) -> list[str]:
        """Return the options for `/proc`; that of the file system is of the first PID namespace."""
        settings = self._mounts.settings
        if settings and not self._is_reopened:
            return ["--bind", PROCESSES, "/proc"]
        return [
            "--proc",
            "/proc",
            *(part for path in settings for part in ("--ro-bind-try", str(path), str(path))),
        ]

    def start(self, start: Callable[[], Result]) -> Result:
        """Call a function that starts a command of `command`; after `command`. Return its result.

        It is called in the thread that the kernel restricts for the task.
        """
        if self._starter is None:
            return start()
        return self._starter.submit(start).result()

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that start a command of `command`, which sets the others; after that."""
        left_out = SOCKET_VARIABLES | for_linker(environment).keys()
        kept = {name: value for name, value in environment.items() if name not in left_out}
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
            is_filtered = starter.submit(filter_thread, self._program).result()
            options = ["--unshare-net"] if own_network else []
            is_new = self._users < 0
            self._is_reopened = not is_new
            options += ["--unshare-user"] if is_new else ["--userns", str(self._users)]
            inherited = () if is_new else (self._users,)
            held = held_namespaces(starter, self._program, self._mark, options, inherited)
            first = stack.enter_context(held)
            processes = _opened(stack, f"/proc/{first}/ns/pid")
            if is_new:
                self._keep_namespaces(first, processes)
            users, joined = self._users, {"mount": self._mounted}
            for kind in ("ipc", "uts", *(("net",) if own_network else ())):
                joined[kind] = _opened(stack, f"/proc/{first}/ns/{kind}")
            if self._policy.network.reach is Reach.HOSTS:
                self._proxy = self._served_proxy(stack, joined["net"])
            self.descriptors = (users, processes, *joined.values())
            self._joining = (*_inside(users, joined), self._program, "--pidns", str(processes))
            if os.fstat(users).st_ino != os.fstat(self._inner).st_ino:  # where this process is not root's
                self._joining += ("--userns2", str(self._inner))
                self.descriptors += (self._inner,)
            if not is_filtered:
                self._add_filter(stack)
            starter.submit(restrict_thread, self._program).result()
            self._starter = starter
            self._namespaces = stack.pop_all()

    def _keep_namespaces(self, first: int, processes: int) -> None:
        """Keep the user namespaces, and make the file system, for all steps: before the task can make links."""
        self._inner = _opened(self._lasting, f"/proc/{first}/ns/user")
        self._users = fcntl.ioctl(processes, NS_GET_USERNS)
        self._lasting.callback(os.close, self._users)
        if home := self._mounts.home:
            self._lasting.callback(home.layer.remove_work)
        for is_layered in (True, False) if self._mounts.home else (False,):
            wanted = self._mounts.file_system(is_layered=is_layered)
            if made := self._mounter.make_file_system(self._users, processes, wanted):
                self._mounted, self._root = made
                break
        for descriptor in (self._mounted, self._root):
            self._lasting.callback(os.close, descriptor)

    def _served_proxy(self, stack: ExitStack, network: int) -> "Proxy":
        """Start the proxy: it listens in the task's network, and connects from this process's own."""
        from containers.sandbox.proxy import Proxy  # noqa: PLC0415 - slow

        listener = stack.enter_context(self._mounter.listen(self._users, network))
        proxy = Proxy(listener, self._policy.network, self._refused)
        stack.enter_context(proxy.serving())
        return proxy

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
def open_room(
    program: str, policy: Policy, places: Places, mark: ProcessMark, mounter: Mounter
) -> Iterator[Room]:
    """Make the sandbox of a task; renewed log-ins of its agent are kept at the end. Blocking.

    Args:
        program: The path of bubblewrap.
        policy: What the user permits.
        places: Where the task's files are.
        mark: The mark of the task's processes.
        mounter: Makes the file system.

    Raises:
        SandboxError: It cannot be made.
    """
    try:
        mounts = task_mounts(places)
    except OSError as error:
        raise SandboxError(f"the sandbox cannot be made: {error.filename}: {error.strerror}") from None
    with Room(program, policy, mounts, mark, mounter) as room:
        yield room
    if mounts.agent_files:
        mounts.agent_files.return_logins()


def _inside(users: int, others: Mapping[str, int]) -> tuple[str, ...]:
    """Return the beginning of a command that runs in a user namespace, and in others by kind (nsenter(1))."""
    names = (f"--{kind}=/proc/self/fd/{descriptor}" for kind, descriptor in {"user": users, **others}.items())
    return (_nsenter(), "--preserve-credentials", *names, "--")


@cache
def _nsenter() -> str:
    """Return the path of nsenter(1), that of the system before one on PATH. Blocking."""
    return find_program("nsenter", f"{_SYSTEM}{os.pathsep}{os.environ.get('PATH', '')}") or "/usr/bin/nsenter"


def _opened(stack: ExitStack, path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor
