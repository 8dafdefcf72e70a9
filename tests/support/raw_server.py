"""A server on loopback that answers requests with given bytes, valid or not, and notices cut connections."""

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


@dataclass
class RawServer:
    """A context manager; `answer` returns the bytes of an answer, given a body, or `None` for no answer."""

    answer: Callable[[bytes], bytes | None]
    closes: bool = False
    """Whether it closes a connection after an answer."""
    heads: list[str] = field(default_factory=list)
    """The heads of the requests."""
    connections: int = 0
    cut: threading.Event = field(default_factory=threading.Event)
    """Set when a client closes a connection."""
    asked: threading.Event = field(default_factory=threading.Event)
    """Set when a request has arrived."""

    def __enter__(self) -> Self:
        """Start the server."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server."""
        self._listener.shutdown(socket.SHUT_RDWR)  # `accept` keeps it open otherwise
        self._listener.close()

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return int(self._listener.getsockname()[1])

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as file:
            while file.peek(1):
                head = b"".join(iter(file.readline, b"\r\n")).decode()
                length = next(
                    int(line[15:]) for line in head.splitlines() if line.startswith("Content-Length:")
                )
                body = file.read(length)
                self.heads.append(head)
                self.asked.set()
                if (answer := self.answer(body)) is not None:
                    connection.sendall(answer)
                    if self.closes:
                        return
        self.cut.set()
