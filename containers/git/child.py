"""A git process, started by posix_spawn(3): `subprocess` takes three times as long to start one. Blocking."""

import os
import select
import signal
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import cache
from io import BufferedReader, FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

_CHUNK = 1 << 16
_LAST_STANDARD = 2


class Child:
    """A process in a session of its own, whose standard output is read.

    Ctrl-C does not reach it, and its child processes can be killed with it. A context manager, which waits for
    its end, and kills it first after an error.

    Args:
        argv: The path of the program, and its arguments.
        environ: Its environment.
        stdin: What it reads: bytes, which `communicate` writes, or an open file. Nothing by default.
        stderr: An open file for its standard error, which `communicate` returns by default.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(
        self,
        argv: list[str],
        environ: Mapping[str, str],
        stdin: bytes | int | None = None,
        stderr: int | None = None,
    ) -> None:
        _prepare_descriptors()
        self._code: int | None = None
        self._content = memoryview(stdin if isinstance(stdin, bytes) else b"")
        self._stdin: FileIO | None = None
        self._stderr: BufferedReader | None = None
        with ExitStack() as own, ExitStack() as given:
            if self._content:
                reading, writing = os.pipe()
                given.callback(os.close, reading)
                self._stdin = own.enter_context(FileIO(writing, "wb"))
                os.set_blocking(writing, False)
            elif isinstance(stdin, int):
                reading = stdin
            else:
                reading = os.open(os.devnull, os.O_RDONLY)
                given.callback(os.close, reading)
            self.stdout, output = _open_pipe(own, given)
            if stderr is None:
                self._stderr, stderr = _open_pipe(own, given)
            actions = [(os.POSIX_SPAWN_DUP2, *pair) for pair in ((reading, 0), (output, 1), (stderr, 2))]
            # The interpreter ignores these, and a program would inherit that.
            restored = [signal.SIGPIPE, signal.SIGXFSZ]
            self._id = os.posix_spawn(
                argv[0], argv, environ, file_actions=actions, setsid=True, setsigdef=restored
            )
            self._files = own.pop_all()

    def communicate(self) -> tuple[bytes, bytes]:
        """Write standard input; return standard output and error when both are closed, and it has ended."""
        found: dict[int, list[bytes]] = {}
        poll = select.poll()
        for file in filter(None, (self.stdout, self._stderr)):
            found[file.fileno()] = []
            poll.register(file, select.POLLIN)
        if self._stdin:
            poll.register(self._stdin, select.POLLOUT)
        left = len(found)
        while left:
            for descriptor, _ in poll.poll():
                if descriptor not in found:
                    self._write(poll)
                elif data := os.read(descriptor, _CHUNK):
                    found[descriptor].append(data)
                else:
                    poll.unregister(descriptor)
                    left -= 1
        self.wait()
        output, *errors = (b"".join(parts) for parts in found.values())
        return output, b"".join(errors)

    def _write(self, poll: "select.poll") -> None:
        """Write what fits of standard input; close it after the last part, or if nobody reads it."""
        if self._stdin is None:
            return
        try:
            self._content = self._content[os.write(self._stdin.fileno(), self._content[:_CHUNK]) :]
        except BrokenPipeError:
            self._content = self._content[:0]
        if not self._content:
            poll.unregister(self._stdin)
            self._stdin.close()

    def kill(self) -> None:
        """Kill it with its child processes. Does not block."""
        with suppress(ProcessLookupError):
            os.killpg(self._id, signal.SIGKILL)

    def wait(self) -> int:
        """Return its exit code when it has ended; the negative number of a signal that ended it."""
        if self._code is None:
            try:
                self._code = os.waitstatus_to_exitcode(os.waitpid(self._id, 0)[1])
            except ChildProcessError:  # this program was started with SIGCHLD ignored
                self._code = 0
        return self._code

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its files, and wait until it has ended."""
        if kind is not None and self._code is None:
            self.kill()
        self._files.close()
        self.wait()


def _open_pipe(own: ExitStack, given: ExitStack) -> tuple[BufferedReader, int]:
    """Return the end of a pipe that is read here, and the descriptor of the other one."""
    reading, writing = os.pipe()
    given.callback(os.close, writing)
    return own.enter_context(BufferedReader(FileIO(reading, "rb"))), writing


@cache
def _prepare_descriptors() -> None:
    """Keep what this process inherited from git processes, as `subprocess` does for each of them.

    Descriptors that Python makes are not inherited anyway. The standard ones have to be open, so that no other
    file has their numbers.
    """
    for name in Path("/dev/fd").iterdir():
        number = int(name.name)
        if number > _LAST_STANDARD:
            with suppress(OSError):  # that of the listing itself
                os.set_inheritable(number, False)  # noqa: FBT003 - it takes no name
    while (number := os.open(os.devnull, os.O_RDWR)) <= _LAST_STANDARD:
        pass
    os.close(number)
