"""Event feeds: one poll of the store per run, shared by all subscribers of the run.

There is no queue per subscriber: a feed keeps the newest events of its run, encoded; each subscriber has a
position in the sequence and reads the events after it, from the feed or, if they are no longer there, from the
store. So a slow subscriber uses no memory and does not miss an event.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from time import monotonic

import anyio

from pipeline.store.records import StoredEvent
from pipeline.web.streams.change_signal import ChangeSignal
from pipeline.web.streams.shared_work import SharedWork
from pipeline.web.streams.sse import EncodedEvent, EventStream
from tasks.errors import PatchyardError

POLL = 0.04
"""Seconds between two reads of the events of a run that has subscribers."""
QUIET = 10.0
"""Seconds without an event after which an ended run's feed is complete, even without a `run_finished` event."""
RECENT = 2_000
"""Events of a run that a feed keeps."""
PAGE = 500
"""Events that are read at once."""
Read = Callable[[int], Awaitable[Sequence[StoredEvent]]]
"""Returns the events after a sequence number, at most `PAGE`."""
IsOver = Callable[[], Awaitable[bool]]
"""Whether a run has ended and no work on it is pending."""


class TooManyError(PatchyardError):
    """The server has as many subscribers as it allows."""


class Feed:
    """The events of one run for all its subscribers.

    Args:
        read: Reads from the store.
        is_over: Whether the run has ended and no work on it is pending.
        size: How many events are kept.
    """

    def __init__(self, read: Read, is_over: IsOver, size: int = RECENT) -> None:
        self._read = read
        self._is_over = is_over
        self._recent: deque[EncodedEvent] = deque(maxlen=size)
        self._last = 0
        self._finished = False  # of `run_started` and `run_finished`, the newest is the latter
        self.changed = ChangeSignal()
        self._grown_at = monotonic()
        self._loaded = anyio.Event()
        self.failure: PatchyardError | None = None

    @property
    def is_usable(self) -> bool:
        """Whether new subscribers may join: the store could be read so far."""
        return self.failure is None

    async def run(self) -> None:
        """Poll the store until cancelled, or until it cannot be read (`failure`)."""
        try:
            while True:
                page = await self._read(self._last)
                if page:
                    self._add(page)
                if len(page) < PAGE:
                    self._loaded.set()
                    await anyio.sleep(POLL)
        except PatchyardError as error:
            self.failure = error
            self._loaded.set()
            self.changed.notify()

    def _add(self, page: Sequence[StoredEvent]) -> None:
        for event in page:
            encoded = EncodedEvent.of(event)
            if encoded.name in {"run_started", "run_finished"}:
                self._finished = encoded.name == "run_finished"
            self._recent.append(encoded)
            self._last = encoded.sequence
        self._grown_at = monotonic()
        self.changed.notify()

    async def events_after(self, number: int) -> Sequence[EncodedEvent]:
        """Return at most `PAGE` events after a sequence number; none if it is the newest.

        Raises:
            StoreError: The store cannot be read.
        """
        if number >= self._last:
            return ()
        if self._recent and self._recent[0].sequence <= number + 1:
            skipped = number + 1 - self._recent[0].sequence
            return [self._recent[index] for index in range(skipped, min(skipped + PAGE, len(self._recent)))]
        return [EncodedEvent.of(event) for event in await self._read(number)]

    async def resume_position(self, number: int) -> int:
        """Return where a subscriber starts that has seen a sequence number; 0 if the run has no such number."""
        await self._loaded.wait()
        return number if 0 <= number <= self._last else 0

    async def is_complete_at(self, number: int) -> bool:
        """Whether a subscriber that has seen a sequence number has seen every event, and no more will come."""
        quiet = monotonic() - self._grown_at > QUIET
        if number < self._last or not (self._finished or quiet):
            return False
        return await self._is_over() and number >= self._last


class Subscribers:
    """The open event streams, and the feeds of their runs: a feed runs while its run has subscribers.

    Args:
        limit: How many streams may be open at once.
    """

    def __init__(self, limit: int = 1_000) -> None:
        self.limit = limit
        self.closing = anyio.Event()
        self.count = 0
        self._feeds = SharedWork[Feed]()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Run feeds while the context is open."""
        async with self._feeds.open():
            try:
                yield
            finally:
                self.close()

    def close(self) -> None:
        """End every stream after the events that are stored by now."""
        self.closing.set()
        for feed in self._feeds:
            feed.changed.notify()

    def check_limit(self) -> None:
        """Check that one more stream may be opened.

        Raises:
            TooManyError: `limit` streams are open.
        """
        if self.count >= self.limit:
            raise TooManyError(f"too many open event streams (limit {self.limit}); try again later")

    def stream(self, source: AsyncIterator[bytes]) -> EventStream:
        """Return a response that sends messages, and is counted while it does."""
        return EventStream(source, self._counted())

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1

    @asynccontextmanager
    async def feed(self, run: str, read: Read, is_over: IsOver) -> AsyncIterator[Feed]:
        """Provide the feed of a run, and run it while the context is open."""

        async def create() -> Feed:
            return Feed(read, is_over)

        async with self._feeds.use(run, create) as feed:
            yield feed

    async def messages(self, run: str, after: int, read: Read, is_over: IsOver) -> AsyncIterator[bytes]:
        """Yield the events of a run after a sequence number, until it is over; empty bytes if there are none.

        Raises:
            StoreError: The store cannot be read; the subscriber reconnects with the last number it has seen.
        """
        async with self.feed(run, read, is_over) as feed:
            position = await feed.resume_position(after)
            while True:
                events = await feed.events_after(position)
                if events:
                    position = events[-1].sequence
                    yield _joined(events)
                elif feed.failure:
                    raise feed.failure
                elif self.closing.is_set():
                    # Events that were stored since the last poll, such as `run_finished`.
                    while events := [EncodedEvent.of(event) for event in await read(position)]:
                        position = events[-1].sequence
                        yield _joined(events)
                    return
                elif await feed.is_complete_at(position):
                    return
                else:
                    await feed.changed.wait()
                    yield b""


def _joined(events: Sequence[EncodedEvent]) -> bytes:
    return b"".join(event.message for event in events)
