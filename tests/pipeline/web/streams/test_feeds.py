"""Event feeds: no event is lost, repeated or out of order, even for slow subscribers."""

from collections.abc import AsyncIterator, Callable, Sequence

import anyio
import anyio.lowlevel
import pytest
from served import Sent, sent_events

from pipeline.store.records import StoredEvent
from pipeline.store.store import StoreError
from pipeline.web.streams import feeds
from pipeline.web.streams.feeds import PAGE, Feed, Subscribers

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("blockbuster")]
RUN = "20260101-000000-0000"


class Record:
    """The events of a run, as a store returns them."""

    def __init__(self, number: int = 0, *, over: bool = False) -> None:
        self.names = ["run_started"] + ["step_started"] * (number - 1) if number else []
        self.over = over
        self.reads = 0
        self.failure: StoreError | None = None

    def add(self, *names: str) -> None:
        self.names += names

    def end(self) -> None:
        self.add("run_finished")
        self.over = True

    async def read(self, after: int) -> Sequence[StoredEvent]:
        self.reads += 1
        await anyio.lowlevel.checkpoint()
        if self.failure:
            raise self.failure
        found = enumerate(self.names[after : after + PAGE], after + 1)
        return [StoredEvent(number, {"event": name, "number": number}) for number, name in found]

    async def is_over(self) -> bool:
        return self.over


def events_of(chunks: Sequence[bytes]) -> list[Sent]:
    """Return the events of a stream."""
    return list(sent_events(iter(b"".join(chunks).decode().split("\n"))))


async def collect(source: AsyncIterator[bytes], into: list[bytes], pause: float = 0.0) -> None:
    async for chunk in source:
        into.append(chunk)
        await anyio.sleep(pause)


async def until(ready: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    with anyio.fail_after(60):
        while not ready():  # noqa: ASYNC110 - the condition has no event
            await anyio.sleep(0.01)


def numbers(chunks: Sequence[bytes]) -> list[int]:
    return [int(event.id) for event in events_of(chunks)]


async def test_subscriber_gets_stored_and_new_events_until_the_end() -> None:
    record, subscribers, chunks = Record(3), Subscribers(), list[bytes]()
    async with subscribers.open(), anyio.create_task_group() as group:
        group.start_soon(collect, subscribers.messages(RUN, 0, record.read, record.is_over), chunks)
        await until(lambda: len(numbers(chunks)) >= 3)
        record.add("step_finished", "task_finished")
        await until(lambda: len(numbers(chunks)) >= 5)
        record.end()
    events = events_of(chunks)
    assert [event.name for event in events][:1] == ["run_started"]
    assert [int(event.id) for event in events] == [1, 2, 3, 4, 5, 6]
    assert [event.json["number"] for event in events] == [1, 2, 3, 4, 5, 6]
    assert [event.name for event in events][-3:] == ["step_finished", "task_finished", "run_finished"]


@pytest.mark.parametrize(
    ("last", "expected"), [(0, 1), (1, 2), (499, 500), (500, 501), (2600, 2601), (9_999, 1)]
)
async def test_reconnecting_subscriber_gets_the_remaining_events(last: int, expected: int) -> None:
    """An unknown number starts at the beginning: better everything than a gap."""
    record, subscribers, chunks = Record(2_700), Subscribers(), list[bytes]()
    record.end()
    async with subscribers.open():
        await collect(subscribers.messages(RUN, last, record.read, record.is_over), chunks)
    assert numbers(chunks) == list(range(expected, 2_702))


async def test_slow_and_fast_subscribers_get_the_same_events() -> None:
    record, subscribers = Record(1), Subscribers()
    pauses = [0.0, 0.0, 0.005, 0.05]
    chunks: list[list[bytes]] = [[] for _ in pauses]
    async with subscribers.open(), anyio.create_task_group() as group:
        for pause, into in zip(pauses, chunks, strict=True):
            source = subscribers.messages(RUN, 0, record.read, record.is_over)
            group.start_soon(collect, source, into, pause)
        for _ in range(100):
            record.add(*["step_started"] * 50)
            await anyio.sleep(0.002)
        record.end()
    for into in chunks:
        assert numbers(into) == list(range(1, 5_003))


async def test_all_subscribers_share_one_poll() -> None:
    """A hundred subscribers cost at most twice as many reads of the store as one."""
    reads = []
    for number in (1, 100):
        record, subscribers = Record(5), Subscribers()
        async with subscribers.open(), anyio.create_task_group() as group:
            chunks: list[list[bytes]] = [[] for _ in range(number)]
            for into in chunks:
                group.start_soon(collect, subscribers.messages(RUN, 0, record.read, record.is_over), into)
            for _ in range(20):
                record.add("step_started")
                await anyio.sleep(feeds.POLL)
            record.end()
        assert all(numbers(into) == list(range(1, 27)) for into in chunks)
        reads.append(record.reads)
    assert reads[1] <= 2 * reads[0]


async def test_number_of_kept_events_is_bounded() -> None:
    record = Record(5_000)
    feed = Feed(record.read, record.is_over, size=100)
    async with anyio.create_task_group() as group:
        group.start_soon(feed.run)
        assert await feed.resume_position(4_000) == 4_000
        assert [item.sequence for item in await feed.events_after(4_950)] == list(range(4_951, 5_001))
        assert [item.sequence for item in await feed.events_after(4_000)] == list(range(4_001, 4_501))
        assert len(feed._recent) == 100  # noqa: SLF001 - the bound itself
        group.cancel_scope.cancel()


async def test_store_is_not_polled_without_subscribers() -> None:
    record, subscribers = Record(3), Subscribers()
    async with subscribers.open():
        async with subscribers.feed(RUN, record.read, record.is_over) as feed:
            await feed.resume_position(0)
        await anyio.sleep(feeds.POLL)
        seen = record.reads
        await anyio.sleep(5 * feeds.POLL)
        assert record.reads == seen


async def test_stream_of_a_resumed_run_does_not_end() -> None:
    record, subscribers, chunks = Record(3), Subscribers(), list[bytes]()
    record.end()
    record.over = False  # a retry is requested and has not started
    async with subscribers.open(), anyio.create_task_group() as group:
        group.start_soon(collect, subscribers.messages(RUN, 0, record.read, record.is_over), chunks)
        await anyio.sleep(0.2)
        record.add("run_started", "step_started")
        record.over = True  # as between the last outcome and the last event
        await anyio.sleep(0.2)
        record.end()
    assert numbers(chunks) == [1, 2, 3, 4, 5, 6, 7]


async def test_stream_without_an_end_event_ends_when_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "QUIET", 0.1)
    record, subscribers, chunks = Record(3, over=True), Subscribers(), list[bytes]()
    async with subscribers.open():
        with anyio.fail_after(30):
            await collect(subscribers.messages(RUN, 0, record.read, record.is_over), chunks)
    assert numbers(chunks) == [1, 2, 3]


async def test_streams_end_with_the_server_after_the_stored_events() -> None:
    record, subscribers, chunks = Record(3), Subscribers(), list[bytes]()
    async with subscribers.open(), anyio.create_task_group() as group:
        group.start_soon(collect, subscribers.messages(RUN, 0, record.read, record.is_over), chunks)
        await until(lambda: len(numbers(chunks)) >= 3)
        subscribers.close()
    assert numbers(chunks) == [1, 2, 3]


async def test_unreadable_store_ends_the_stream_and_the_next_subscriber_reads_again() -> None:
    record, subscribers, chunks = Record(3), Subscribers(), list[bytes]()
    record.failure = StoreError("the database is gone")
    async with subscribers.open():
        with pytest.raises(StoreError):
            await collect(subscribers.messages(RUN, 0, record.read, record.is_over), chunks)
        record.failure = None
        record.end()
        await collect(subscribers.messages(RUN, 0, record.read, record.is_over), chunks)
    assert numbers(chunks) == [1, 2, 3, 4]
