"""Server-sent events: the response, its keep-alive comments and its end."""

import json
from collections.abc import AsyncIterator, Callable, Sequence

import anyio
import pytest
from served import Sent, sent_events
from starlette.types import Message, Scope

from pipeline.web.streams import sse
from pipeline.web.streams.feeds import Subscribers, TooManyError
from pipeline.web.streams.sse import format_message

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("blockbuster")]


def events_of(chunks: Sequence[bytes]) -> list[Sent]:
    """Return the events of a stream."""
    return list(sent_events(iter(b"".join(chunks).decode().split("\n"))))


async def until(ready: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    with anyio.fail_after(60):
        while not ready():  # noqa: ASYNC110 - the condition has no event
            await anyio.sleep(0.01)


class Client:
    """A client that an event stream is sent to."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.gone = anyio.Event()
        self.stalled: anyio.Event | None = None

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.stalled is not None:
            await self.stalled.wait()
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def is_complete(self) -> bool:
        return bool(self.sent) and self.sent[-1].get("more_body") is False


SCOPE: Scope = {"type": "http"}


async def quiet(over: anyio.Event) -> AsyncIterator[bytes]:
    while not over.is_set():
        await anyio.sleep(0.01)
        yield b""


async def test_comments_are_sent_while_there_are_no_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "KEEP_ALIVE", 0.05)
    client, over = Client(), anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(Subscribers().stream(quiet(over)), SCOPE, client.receive, client.send)
        await until(lambda: client.body.count(sse.COMMENT) >= 3)
        over.set()
    assert client.is_complete
    assert events_of([client.body]) == []


async def test_disconnect_ends_the_stream() -> None:
    subscribers, client, closed = Subscribers(), Client(), anyio.Event()

    async def source() -> AsyncIterator[bytes]:
        try:
            async for chunk in quiet(anyio.Event()):
                yield chunk
        finally:
            closed.set()

    async with anyio.create_task_group() as group:
        group.start_soon(subscribers.stream(source()), SCOPE, client.receive, client.send)
        await until(lambda: client.sent)
        assert subscribers.count == 1
        client.gone.set()
    assert closed.is_set()
    assert subscribers.count == 0


async def test_client_that_accepts_nothing_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "SEND_TIME", 0.1)
    client, subscribers = Client(), Subscribers()
    client.stalled = anyio.Event()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body" and message["more_body"]:
            await anyio.sleep_forever()
        client.sent.append(message)

    with anyio.fail_after(30):
        await subscribers.stream(quiet(anyio.Event()))(SCOPE, client.receive, send)
    assert subscribers.count == 0


async def test_number_of_streams_is_limited() -> None:
    subscribers = Subscribers(limit=1)
    subscribers.check_limit()
    client, over = Client(), anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(subscribers.stream(quiet(over)), SCOPE, client.receive, client.send)
        await until(lambda: client.sent)
        with pytest.raises(TooManyError, match=r"limit 1\)"):
            subscribers.check_limit()
        over.set()
    subscribers.check_limit()


async def test_message_has_one_line_of_ascii_data() -> None:
    text = "a\nb\r\nc\r\u2028\u0000\udcff ä: data"
    message = format_message(7, "notice", {"message": text})
    (event,) = events_of([message])
    assert (event.id, event.name, json.loads(event.data)["message"]) == ("7", "notice", text)
    assert message.isascii()
    assert message.count(b"\n") == 4
    assert b"\r" not in message
