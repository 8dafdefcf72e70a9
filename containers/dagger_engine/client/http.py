"""Requests to a server on this machine over HTTP/1.1, with connections that are kept for the next request."""

import select
from base64 import b64encode
from collections.abc import Mapping
from typing import NamedTuple

import anyio
import h11
from anyio.abc import SocketAttribute, SocketStream

from containers.dagger_engine.client.errors import TransportError

HOST = "127.0.0.1"
_CHUNK = 1 << 18
"""Maximum bytes of one read."""


class Response(NamedTuple):
    """An answer: status, its reason and the body."""

    status: int
    reason: str
    body: bytes


class HttpClient:
    """Sends requests to one port of this machine, each over a connection of its own.

    There is no time limit. A cancelled request closes its connection, which tells the server to stop.
    """

    def __init__(self, port: int, user: str) -> None:
        """Take the port, and the user name for basic authentication, whose password is empty (RFC 7617)."""
        self._port = port
        credentials = b64encode(f"{user}:".encode()).decode()
        self._headers = {"Host": f"{HOST}:{port}", "Authorization": f"Basic {credentials}", "Accept": "*/*"}
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._is_closed = False

    async def post(self, target: str, body: bytes, headers: Mapping[str, str]) -> Response:
        """Send a body, and return the answer.

        Raises:
            TransportError: There is no answer, or it is not valid.
        """
        connection = await self._connect()
        try:
            sent = {**self._headers, **headers, "Content-Length": str(len(body))}
            response = await connection.exchange(
                h11.Request(method="POST", target=target, headers=[*sent.items()]), body
            )
        except BaseException as error:
            await self._discard(connection)
            match error:
                case anyio.ClosedResourceError() if self._is_closed:
                    raise TransportError("the session has been closed") from error
                case OSError() | anyio.BrokenResourceError() | anyio.ClosedResourceError():
                    raise TransportError(f"the connection broke ({_reason(error)})") from error
                case h11.ProtocolError():
                    raise TransportError(f"it does not speak HTTP ({error})") from error
            raise
        if connection.is_kept and not self._is_closed:
            self._idle.append(connection)
        else:
            await self._discard(connection)
        return response

    async def aclose(self) -> None:
        """Close all connections; requests that run fail."""
        self._is_closed = True
        self._idle.clear()
        for connection in list(self._open):
            await self._discard(connection)

    async def _connect(self) -> "_Connection":
        """Return a connection that was kept, or a new one.

        Raises:
            TransportError: The port accepts none.
        """
        if self._is_closed:
            raise TransportError("the session has been closed")
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed_by_server:
                return connection
            await self._discard(connection)
        try:
            connection = _Connection(await anyio.connect_tcp(HOST, self._port))
        except OSError as error:
            raise TransportError(f"cannot connect ({_reason(error)})") from error
        self._open.add(connection)
        return connection

    async def _discard(self, connection: "_Connection") -> None:
        self._open.discard(connection)
        with anyio.CancelScope(shield=True):
            await connection.aclose()


def _reason(error: BaseException) -> str:
    """Return what an error of the system says, which may be the cause of one of the library."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__


class _Connection:
    """A connection, for one exchange after the other."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._protocol = h11.Connection(h11.CLIENT)

    @property
    def is_kept(self) -> bool:
        """Whether another exchange can follow."""
        return self._protocol.our_state is h11.IDLE

    @property
    def is_closed_by_server(self) -> bool:
        """Whether an idle connection has something to read, which can only be its end."""
        poll = select.poll()
        poll.register(self._stream.extra_attributes[SocketAttribute.raw_socket](), select.POLLIN)
        return bool(poll.poll(0))

    async def exchange(self, request: h11.Request, body: bytes) -> Response:
        """Send a request, and return the answer."""
        protocol = self._protocol
        head = protocol.send(request) or b""
        await self._stream.send(b"".join([head, protocol.send(h11.Data(data=body)) or b""]))
        protocol.send(h11.EndOfMessage())
        status, reason, parts = 0, "", []
        while not isinstance(event := protocol.next_event(), h11.EndOfMessage):
            match event:
                case h11.NEED_DATA:
                    protocol.receive_data(await self._receive())
                case h11.Response():
                    status, reason = event.status_code, event.reason.decode("latin-1")
                case h11.Data():
                    parts.append(bytes(event.data))
        if protocol.our_state is h11.DONE and protocol.their_state is h11.DONE:
            protocol.start_next_cycle()
        return Response(status, reason, b"".join(parts))

    async def _receive(self) -> bytes:
        """Return what arrives next, nothing at the end of an answer that lasts until the connection is closed.

        Raises:
            TransportError: The connection is closed before an answer.
        """
        try:
            return await self._stream.receive(_CHUNK)
        except anyio.EndOfStream:
            if self._protocol.their_state is h11.SEND_RESPONSE:
                raise TransportError("the connection was closed without an answer") from None
            return b""

    async def aclose(self) -> None:
        """Close the connection at once."""
        await anyio.aclose_forcefully(self._stream)
