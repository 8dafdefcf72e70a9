"""Server-sent events: the format of a message and the response that sends a stream of them.

The format is that of https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from time import monotonic

import anyio
from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pipeline.store.records import StoredEvent
from tasks.errors import PatchyardError
from tasks.lazy.dataclasses import dataclass

KEEP_ALIVE = 15.0
"""Seconds of silence after which a comment is sent, so that proxies do not close the connection."""
SEND_TIME = 60.0
"""Seconds that a client has to accept a message before its stream ends."""
HELLO = b"retry: 1000\n\n"
"""The first message: a client that was disconnected waits one second before it reconnects."""
COMMENT = b": keep-alive\n\n"


@dataclass(frozen=True, slots=True)
class EncodedEvent:
    """A stored event with its message as it is sent."""

    sequence: int
    name: str
    message: bytes

    @classmethod
    def of(cls, event: StoredEvent) -> "EncodedEvent":
        """Encode an event."""
        name = str(event.record.get("event", "message"))
        return cls(event.sequence, name, format_message(event.sequence, name, event.record))


def format_message(number: int, name: str, data: object) -> bytes:
    """Return a server-sent event; its data is one line of JSON, in ASCII."""
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode("ascii")


# Not sse-starlette's EventSourceResponse (3.x), which
# - replaces uvicorn's exit handler on import, also in programs that only import this package,
# - sends a ping per interval even while events are sent,
# - raises on a send timeout, which the server reports as an error of its own, and
# - cancels streams when the server shuts down, before the last events of the stopped runs are sent.
class EventStream(Response):
    """A response of server-sent events.

    It ends with its source, when the client disconnects, or when the client accepts nothing for `SEND_TIME`.

    Args:
        source: Yields messages; empty bytes only give the stream a chance to send a keep-alive comment.
        connection: Held open while the stream is sent.
    """

    media_type = "text/event-stream"

    def __init__(self, source: AsyncIterator[bytes], connection: AbstractContextManager[None]) -> None:
        self.status_code = 200
        self.background: BackgroundTask | None = None
        self._source = source
        self._connection = connection
        self.init_headers(
            {
                "cache-control": "no-store",
                "x-accel-buffering": "no",  # otherwise nginx buffers events
            }
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send the messages of the source."""
        with self._connection:
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(_cancel_on_disconnect, receive, group.cancel_scope)
                    await self._send(send)
                    group.cancel_scope.cancel()
            finally:
                with anyio.CancelScope(shield=True):
                    await self._source.aclose()  # type: ignore[attr-defined]  # it is an asynchronous generator

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        sent_at = monotonic()
        data = HELLO
        with anyio.CancelScope() as send_timeout:
            try:
                while True:
                    if not data and monotonic() - sent_at > KEEP_ALIVE:
                        data = COMMENT
                    if data:
                        send_timeout.deadline = anyio.current_time() + SEND_TIME
                        await send({"type": "http.response.body", "body": data, "more_body": True})
                        send_timeout.deadline = float("inf")
                        sent_at = monotonic()
                    data = await anext(self._source)
            except (StopAsyncIteration, PatchyardError):
                pass
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _cancel_on_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
