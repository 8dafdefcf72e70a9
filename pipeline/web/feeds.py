"""Whoever follows a run or a log: server-sent events, with one look at the store for all who follow one run.

Nothing is queued for anybody. A feed keeps the newest events of its run, ready to be sent; each follower has a
place in the sequence and takes what comes after it, from the feed while it is there and else from the store. So
a slow follower costs no memory, and none misses an event.
"""

import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic

import anyio
from anyio.abc import TaskGroup
from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pipeline.store.records import StoredEvent
from tasks.errors import PatchyardError

POLL = 0.04
"""Seconds between two looks at the events of a run that is followed."""
KEEP_ALIVE = 15.0
"""Seconds of silence after which a comment is sent, so that no proxy takes the connection for dead."""
SEND_TIME = 60.0
"""Seconds in which a follower has to take what it is sent, before it is let go."""
QUIET = 10.0
"""Seconds without an event after which a run that is over is taken for told, though nobody told of its end."""
RECENT = 2_000
"""Events of a run that a feed keeps."""
PAGE = 500
Read = Callable[[int], Awaitable[Sequence[StoredEvent]]]
"""Gives the events after a number, at most a page of them."""
IsOver = Callable[[], Awaitable[bool]]
HELLO = b"retry: 1000\n\n"
COMMENT = b": still here\n\n"


class TooManyError(PatchyardError):
    """The server has as many followers as it can have."""


@dataclass(frozen=True, slots=True)
class EncodedEvent:
    """An event as followers get it."""

    sequence: int
    name: str
    message: bytes

    @classmethod
    def of(cls, event: StoredEvent) -> "EncodedEvent":
        """Return an event, ready to be sent."""
        name = str(event.record.get("event", "message"))
        return cls(event.sequence, name, message(event.sequence, name, event.record))


def message(number: int, name: str, data: object) -> bytes:
    """Return a server-sent event; its data is one line of JSON, in ASCII."""
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode("ascii")


class Feed:
    """The events of one run, for all who follow it; `run` looks for new ones as long as it is let.

    Args:
        read: Reads from the store.
        is_over: Whether nobody works on the run, or will without being asked to.
        size: How many events are kept.
    """

    def __init__(self, read: Read, is_over: IsOver, size: int = RECENT) -> None:
        self._read = read
        self._is_over = is_over
        self._recent: deque[EncodedEvent] = deque(maxlen=size)
        self._last = 0
        self._finished = False  # the newest of what begins or ends a run is an end
        self._changed = anyio.Event()
        self._grown_at = monotonic()
        self._looked = anyio.Event()
        self.failure: PatchyardError | None = None
        self.followers = 0

    async def run(self) -> None:
        """Look for events until cancelled."""
        try:
            while True:
                page = await self._read(self._last)
                if page:
                    self._take(page)
                if len(page) < PAGE:
                    self._looked.set()
                    await anyio.sleep(POLL)
        except PatchyardError as error:
            self.failure = error
            self._looked.set()
            self.wake()

    def _take(self, page: Sequence[StoredEvent]) -> None:
        for event in page:
            told = EncodedEvent.of(event)
            if told.name in {"run_started", "run_finished"}:
                self._finished = told.name == "run_finished"
            self._recent.append(told)
            self._last = told.sequence
        self._grown_at = monotonic()
        self.wake()

    def wake(self) -> None:
        """Let those who wait look again."""
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def after(self, number: int) -> Sequence[EncodedEvent]:
        """Return what is there after a number; nothing where that is the newest."""
        if number >= self._last:
            return ()
        if self._recent and self._recent[0].sequence <= number + 1:
            skipped = number + 1 - self._recent[0].sequence
            return [self._recent[at] for at in range(skipped, min(skipped + PAGE, len(self._recent)))]
        return [EncodedEvent.of(event) for event in await self._read(number)]

    async def start_of(self, number: int) -> int:
        """Return where a follower begins that has seen a number: one that never was begins at the beginning."""
        await self._looked.wait()
        return number if 0 <= number <= self._last else 0

    async def ends_at(self, number: int) -> bool:
        """Whether a follower that has seen a number has seen everything, and there is no more to come."""
        quiet = monotonic() - self._grown_at > QUIET
        if number < self._last or not (self._finished or quiet):
            return False
        return await self._is_over() and number >= self._last

    async def wait(self) -> None:
        """Wait until there may be something new, or an end to be noticed."""
        changed = self._changed
        with anyio.move_on_after(1.0):
            await changed.wait()


class Followers:
    """The feeds of the runs that are followed: made for the first who follows, ended with the last.

    Args:
        most: How many may follow at once.
    """

    def __init__(self, most: int = 1_000) -> None:
        self.most = most
        self.closing = anyio.Event()
        self.count = 0
        self._group: TaskGroup | None = None
        self._feeds: dict[str, tuple[Feed, anyio.CancelScope]] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Let feeds run while the context is open."""
        async with anyio.create_task_group() as group:
            self._group = group
            try:
                yield
            finally:
                self.close()
                group.cancel_scope.cancel()

    def close(self) -> None:
        """End every stream, after what its run has told by now."""
        self.closing.set()
        for feed, _ in self._feeds.values():
            feed.wake()

    def check(self) -> None:
        """Check that one more may follow.

        Raises:
            TooManyError: As many follow already as can.
        """
        if self.count >= self.most:
            raise TooManyError(f"{self.count} follow already; try again later")

    @asynccontextmanager
    async def feed(self, run: str, read: Read, is_over: IsOver) -> AsyncIterator[Feed]:
        """Give the feed of a run, for as long as somebody follows it."""
        if run not in self._feeds or self._feeds[run][0].failure:
            if self._group is None:
                raise RuntimeError("no feed runs before the server does")
            feed, scope = Feed(read, is_over), anyio.CancelScope()
            self._feeds[run] = (feed, scope)
            self._group.start_soon(self._run, feed, scope)
        feed, scope = self._feeds[run]
        feed.followers += 1
        try:
            yield feed
        finally:
            feed.followers -= 1
            if feed.followers == 0:
                scope.cancel()
                if self._feeds.get(run, (None,))[0] is feed:
                    del self._feeds[run]

    @staticmethod
    async def _run(feed: Feed, scope: anyio.CancelScope) -> None:
        with scope:
            await feed.run()

    async def events(self, run: str, after: int, read: Read, is_over: IsOver) -> AsyncIterator[bytes]:
        """Yield the events of a run after a number, until it is over; empty bytes when it is quiet.

        Raises:
            StoreError: The store cannot be read; whoever follows comes again with what it saw last.
        """
        async with self.feed(run, read, is_over) as feed:
            place = await feed.start_of(after)
            while True:
                told = await feed.after(place)
                if told:
                    place = told[-1].sequence
                    yield b"".join(item.message for item in told)
                elif feed.failure:
                    raise feed.failure
                elif self.closing.is_set():
                    while left := [
                        EncodedEvent.of(event) for event in await read(place)
                    ]:  # since the feed looked last
                        place = left[-1].sequence
                        yield b"".join(item.message for item in left)
                    return
                elif await feed.ends_at(place):
                    return
                else:
                    await feed.wait()
                    yield b""


class EventStream(Response):
    """A response of server-sent events. Yields of no bytes only say that whoever makes them is there.

    It ends with its source, when whoever follows goes, or takes nothing for too long.
    """

    media_type = "text/event-stream"

    def __init__(self, source: AsyncIterator[bytes], followers: Followers) -> None:
        self.status_code = 200
        self.background: BackgroundTask | None = None
        self._source = source
        self._followers = followers
        self.init_headers(
            {
                "cache-control": "no-store",
                "x-accel-buffering": "no",  # else nginx keeps events until it has enough of them
            }
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """Send what comes."""
        self._followers.count += 1
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._until_gone, receive, group.cancel_scope)
                await self._send(send)
                group.cancel_scope.cancel()
        finally:
            self._followers.count -= 1
            with anyio.CancelScope(shield=True):
                await self._source.aclose()  # type: ignore[attr-defined]  # it is an asynchronous generator

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        sent_at = monotonic()
        data = HELLO
        with anyio.CancelScope() as patience:
            try:
                while True:
                    if not data and monotonic() - sent_at > KEEP_ALIVE:
                        data = COMMENT
                    if data:
                        patience.deadline = anyio.current_time() + SEND_TIME
                        await send({"type": "http.response.body", "body": data, "more_body": True})
                        patience.deadline = float("inf")
                        sent_at = monotonic()
                    data = await anext(self._source)
            except (StopAsyncIteration, PatchyardError):
                pass
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    @staticmethod
    async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()
