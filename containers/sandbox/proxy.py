"""A forward proxy: the only way out of a sandbox whose network is a list of hosts.

It passes on what it is given for a permitted host, by CONNECT or as plain HTTP (RFC 9110, 9.3.6 and 7.6), and
reads nothing of an encrypted connection. It looks names up itself, so that a task needs no name server.
"""

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from containers.sandbox.network import USUAL_PORTS, Host, Network
from tasks.refusals import count_refusal
from tasks.text import without_unprintable

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
"""Variables that name the proxy, also in lower case."""
LOCAL = ("localhost", "127.0.0.1", "::1")
"""Hosts that are reached without the proxy, the task's own loopback interface, unless those of this machine are
permitted."""
FOR_PROXIES = frozenset({"connection", "keep-alive", "proxy-connection", "proxy-authorization"})
"""Headers that are not passed on."""
CONNECT_TIME, IDLE_TIME = 30.0, 600.0
"""Seconds for a connection to a host, and for one that nothing is sent through."""
MOST_CONNECTIONS = 256
LONGEST_NAME = 253
"""Characters of a host's name (RFC 1035, 2.3.4)."""
BLOCK = 1 << 16


class Proxy:
    """A proxy that accepts connections of one task.

    Args:
        listener: A listening socket in the task's network.
        network: What the task reaches.
        refused: Counts what was refused, by host, with its port unless it is a usual one.
    """

    def __init__(self, listener: socket.socket, network: Network, refused: Counter[str]) -> None:
        self._listener = listener
        self.network = network
        self.refused = refused
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)

    @property
    def address(self) -> str:
        """Its URL in the task's network."""
        host, port = self._listener.getsockname()[:2]
        return f"http://{host}:{port}"

    @property
    def variables(self) -> dict[str, str]:
        """The variables by which programs find it."""
        permitted = {host.name for host in self.network.hosts}
        direct = ",".join(name for name in LOCAL if name not in permitted)
        named = dict.fromkeys(PROXY_VARIABLES, self.address) | {"NO_PROXY": direct}
        lower = {name.lower(): value for name, value in named.items()}
        return {**named, **lower, "NODE_USE_ENV_PROXY": "1"}

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Accept connections while in the context. Blocking."""
        self._thread.start()
        try:
            yield
        finally:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
            self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if not self._free.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._handle, args=(connection,), name="proxied", daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        try:
            with connection, suppress(OSError):
                connection.settimeout(IDLE_TIME)
                _Request(connection, ("task", 0), self)  # type: ignore[arg-type]  # it only passes `server` on
        finally:
            self._free.release()


class _Request(BaseHTTPRequestHandler):
    """One request of a task; its connection ends with it."""

    server: Proxy  # type: ignore[assignment]  # not a server of the library's

    def do_CONNECT(self) -> None:
        """Open a tunnel."""
        host, colon, port = self.path.rpartition(":")
        if not (colon and port.isdecimal()):
            self._answer(400, "expected HOST:PORT")
        elif upstream := self._open(host, int(port)):
            with upstream:
                self.connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self._pass_on(upstream)

    def _forward(self) -> None:
        """Pass a plain request on."""
        url = urlsplit(self.path)
        if url.scheme != "http" or not url.hostname:
            self._answer(400, "this is a proxy: expected an http URL, or CONNECT")
        elif upstream := self._open(url.hostname, url.port or 80):
            with upstream:
                target = urlunsplit(("", "", url.path or "/", url.query, ""))
                kept = [
                    (name, value)
                    for name, value in self.headers.items()
                    if name.lower()
                    not in {"connection", "keep-alive", "proxy-connection", "proxy-authorization"}
                ]
                lines = [f"{self.command} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in kept)]
                upstream.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode("iso-8859-1"))
                self._pass_on(upstream)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the library looks for `do_GET` and the like
        """Return the handler of any other method."""
        if name.startswith("do_"):
            return self._forward
        raise AttributeError(name)

    def _open(self, host: str, port: int) -> socket.socket | None:
        """Return a connection to a permitted host; otherwise answer why there is none."""
        if not self.server.network.permits(host, port):
            name = Host(host.strip("[]").lower()[:LONGEST_NAME], None if port in USUAL_PORTS else port)
            count_refusal(self.server.refused, without_unprintable(str(name)))
            self._answer(403, f"the sandbox does not permit {host}:{port}; see sandbox_network")
            return None
        try:
            upstream = socket.create_connection((host.strip("[]"), port), CONNECT_TIME)
        except OSError as error:
            self._answer(502, f"{host}:{port} cannot be reached: {error}")
            return None
        upstream.settimeout(IDLE_TIME)
        return upstream

    def _answer(self, status: int, text: str) -> None:
        body = f"{text}\n".encode()
        head = f"HTTP/1.1 {status} {self.responses.get(status, ('',))[0]}\r\nContent-Type: text/plain\r\n"
        self.connection.sendall(
            f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
        )

    def _pass_on(self, upstream: socket.socket) -> None:
        """Pass bytes on in both directions until both ends are closed."""
        back = threading.Thread(
            target=_copy, args=(upstream.recv, self.connection), name="proxied", daemon=True
        )
        back.start()
        _copy(self.rfile.read1, upstream)
        back.join()

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002, ANN401 - the library's signature
        """Log nothing: requests may have secrets."""


def _copy(read: Any, to: socket.socket) -> None:  # noqa: ANN401 - `recv` or `read1`
    """Pass bytes on until there are no more, and say so to the other end."""
    with suppress(OSError, ValueError):
        while block := read(BLOCK):
            to.sendall(block)
    with suppress(OSError):
        to.shutdown(socket.SHUT_WR)
