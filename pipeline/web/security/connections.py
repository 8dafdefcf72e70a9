"""Which connections are kept: half-sent requests end in time, and there are fewer connections than descriptors.

Without a bound, clients that send half a request and wait hold every descriptor of the server, which then
accepts nobody: https://www.cloudflare.com/learning/ddos/ddos-attack-tools/slowloris/
"""

import asyncio
import logging
import resource
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 2048
"""Connections that are kept at a time, however many descriptors there are."""
_ACCEPT_FAILED = "socket.accept() out of system resource"
"""The message of asyncio: https://github.com/python/cpython/blob/main/Lib/asyncio/selector_events.py"""
_logger = logging.getLogger("uvicorn.error")


def connection_limit() -> int:
    """Return how many connections are kept at a time: half of the descriptors; the runs need the others."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(8, min(soft // 2, MOST_CONNECTIONS))


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 with a time limit for receiving a request, and a limit for connections.

    A new connection takes the place of the one that has been waiting for a request for longest. If all are
    busy, it is closed.
    """

    head_seconds: ClassVar[float] = 10.0
    """Seconds for a request's head, from the connection or the head's first byte."""
    body_seconds: ClassVar[float] = 60.0
    """Seconds for a request's body."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - those of uvicorn
        super().__init__(*arguments, **options)
        self._limit = connection_limit()
        self._awaited: object = None  # the state of the client that a time limit runs for
        self._deadline: asyncio.TimerHandle | None = None
        self.since = self.loop.time()  # when it began to wait for a request

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Make room for the connection, or close it."""
        super().connection_made(transport)
        if len(self.connections) > self._limit:
            waiting = [one for one in self.connections if isinstance(one, BoundedProtocol) and one.is_waiting]
            oldest = min(waiting, key=lambda one: one.since, default=self)
            oldest.end()
        self._watch()

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for the head of a request."""
        return bool(self.conn.their_state is h11.IDLE)

    def end(self) -> None:
        """Close the connection without an answer."""
        self.connections.discard(self)
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Receive a part of a request."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self.since = self.loop.time()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the time limit."""
        self._stop_watching()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Start the time limit of what the client has to send next, unless it runs already."""
        state = self.conn.their_state
        if state is self._awaited:
            return
        self._stop_watching()
        seconds = {h11.IDLE: self.head_seconds, h11.SEND_BODY: self.body_seconds}.get(state)
        if seconds is not None:
            self._awaited = state
            self._deadline = self.loop.call_later(seconds, self.end)

    def _stop_watching(self) -> None:
        self._awaited = None
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class QuietAcceptErrors:
    """Handles the errors of an event loop: of those that `accept` gives while they last, one line is logged."""

    def __init__(self) -> None:
        self._last = float("-inf")

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle an error, as `loop.set_exception_handler` has it."""
        if context.get("message") != _ACCEPT_FAILED:
            loop.default_exception_handler(context)
        elif loop.time() - self._last > 60:  # noqa: PLR2004 - a line a minute
            self._last = loop.time()
            _logger.error("connections cannot be accepted now: %s", context.get("exception"))
