"""Whoever follows: nothing is lost, doubled or out of order, however slow one is, and the loop never waits."""

import json
from collections.abc import AsyncIterator, Callable, Sequence

import anyio
import anyio.lowlevel
import pytest
from served import Sent, sent_events
from starlette.types import Message, Scope

from pipeline.store.records import StoredEvent
from pipeline.store.store import StoreError
from pipeline.web import feeds as following
from pipeline.web.feeds import PAGE, EventStream, Feed, Followers, TooManyError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("blockbuster")]
RUN = "20260101-000000-0000"


class Record:
    """The events of a run, as a store has them."""

    def __init__(self, number: int = 0, *, over: bool = False) -> None:
        self.names = ["run_started"] + ["step_started"] * (number - 1) if number else []
        self.over = over
        self.looks = 0
        self.failure: StoreError | None = None

    def add(self, *names: str) -> None:
        self.names += names

    def end(self) -> None:
        self.add("run_finished")
        self.over = True

    async def read(self, after: int) -> Sequence[StoredEvent]:
        self.looks += 1
        await anyio.lowlevel.checkpoint()
        if self.failure:
            raise self.failure
        found = enumerate(self.names[after : after + PAGE], after + 1)
        return [StoredEvent(number, {"event": name, "number": number}) for number, name in found]

    async def is_over(self) -> bool:
        return self.over


def told(chunks: Sequence[bytes]) -> list[Sent]:
    """Return the events of a stream."""
    return list(sent_events(iter(b"".join(chunks).decode().split("\n"))))


async def collect(source: AsyncIterator[bytes], into: list[bytes], pause: float = 0.0) -> None:
    async for chunk in source:
        into.append(chunk)
        await anyio.sleep(pause)


async def until(ready: Callable[[], object]) -> None:
    """Wait until something is so."""
    with anyio.fail_after(60):
        while not ready():  # noqa: ASYNC110 - what is waited for has no event
            await anyio.sleep(0.01)


def numbers(chunks: Sequence[bytes]) -> list[int]:
    return [int(event.id) for event in told(chunks)]


async def test_a_follower_gets_what_was_and_what_comes_to_the_end() -> None:
    record, followers, chunks = Record(3), Followers(), list[bytes]()
    async with followers.open(), anyio.create_task_group() as group:
        group.start_soon(collect, followers.events(RUN, 0, record.read, record.is_over), chunks)
        await until(lambda: len(numbers(chunks)) >= 3)
        record.add("step_finished", "task_finished")
        await until(lambda: len(numbers(chunks)) >= 5)
        record.end()
    events = told(chunks)
    assert [event.name for event in events][:1] == ["run_started"]
    assert [int(event.id) for event in events] == [1, 2, 3, 4, 5, 6]
    assert [event.json["number"] for event in events] == [1, 2, 3, 4, 5, 6]
    assert [event.name for event in events][-3:] == ["step_finished", "task_finished", "run_finished"]


@pytest.mark.parametrize(
    ("last", "expected"), [(0, 1), (1, 2), (499, 500), (500, 501), (2600, 2601), (9_999, 1)]
)
async def test_a_follower_that_comes_again_gets_the_rest(last: int, expected: int) -> None:
    """A number that never was is taken for none: rather everything than a hole."""
    record, followers, chunks = Record(2_700), Followers(), list[bytes]()
    record.end()
    async with followers.open():
        await collect(followers.events(RUN, last, record.read, record.is_over), chunks)
    assert numbers(chunks) == list(range(expected, 2_702))


async def test_slow_and_quick_followers_get_the_same_while_it_goes_on() -> None:
    record, followers = Record(1), Followers()
    pauses = [0.0, 0.0, 0.005, 0.05]
    chunks: list[list[bytes]] = [[] for _ in pauses]
    async with followers.open(), anyio.create_task_group() as group:
        for pause, into in zip(pauses, chunks, strict=True):
            source = followers.events(RUN, 0, record.read, record.is_over)
            group.start_soon(collect, source, into, pause)
        for _ in range(100):
            record.add(*["step_started"] * 50)
            await anyio.sleep(0.002)
        record.end()
    for into in chunks:
        assert numbers(into) == list(range(1, 5_003))


async def test_one_who_looks_serves_all_who_follow() -> None:
    """A hundred followers cost as many looks at the store as one does, or nearly."""
    looks = []
    for number in (1, 100):
        record, followers = Record(5), Followers()
        async with followers.open(), anyio.create_task_group() as group:
            chunks: list[list[bytes]] = [[] for _ in range(number)]
            for into in chunks:
                group.start_soon(collect, followers.events(RUN, 0, record.read, record.is_over), into)
            for _ in range(20):
                record.add("step_started")
                await anyio.sleep(following.POLL)
            record.end()
        assert all(numbers(into) == list(range(1, 27)) for into in chunks)
        looks.append(record.looks)
    assert looks[1] <= 2 * looks[0]


async def test_what_is_kept_for_followers_has_a_bound() -> None:
    record = Record(5_000)
    feed = Feed(record.read, record.is_over, size=100)
    async with anyio.create_task_group() as group:
        group.start_soon(feed.run)
        assert await feed.start_of(4_000) == 4_000
        assert [item.sequence for item in await feed.after(4_950)] == list(range(4_951, 5_001))
        assert [item.sequence for item in await feed.after(4_000)] == list(range(4_001, 4_501))
        assert len(feed._recent) == 100  # noqa: SLF001 - the bound itself
        group.cancel_scope.cancel()


async def test_nobody_looks_when_nobody_follows() -> None:
    record, followers = Record(3), Followers()
    async with followers.open():
        async with followers.feed(RUN, record.read, record.is_over) as feed:
            await feed.start_of(0)
        await anyio.sleep(following.POLL)
        seen = record.looks
        await anyio.sleep(5 * following.POLL)
        assert record.looks == seen


async def test_a_run_that_is_taken_up_again_does_not_end_its_stream() -> None:
    record, followers, chunks = Record(3), Followers(), list[bytes]()
    record.end()
    record.over = False  # it was told to run tasks again, and has not begun
    async with followers.open(), anyio.create_task_group() as group:
        group.start_soon(collect, followers.events(RUN, 0, record.read, record.is_over), chunks)
        await anyio.sleep(0.2)
        record.add("run_started", "step_started")
        record.over = True  # as between the last outcome and the last event
        await anyio.sleep(0.2)
        record.end()
    assert numbers(chunks) == [1, 2, 3, 4, 5, 6, 7]


async def test_a_run_whose_end_nobody_told_of_ends_when_it_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "QUIET", 0.1)
    record, followers, chunks = Record(3, over=True), Followers(), list[bytes]()
    async with followers.open():
        with anyio.fail_after(30):
            await collect(followers.events(RUN, 0, record.read, record.is_over), chunks)
    assert numbers(chunks) == [1, 2, 3]


async def test_every_stream_ends_with_the_server_after_what_is_there() -> None:
    record, followers, chunks = Record(3), Followers(), list[bytes]()
    async with followers.open(), anyio.create_task_group() as group:
        group.start_soon(collect, followers.events(RUN, 0, record.read, record.is_over), chunks)
        await until(lambda: len(numbers(chunks)) >= 3)
        followers.close()
    assert numbers(chunks) == [1, 2, 3]


async def test_a_store_that_cannot_be_read_ends_the_stream_and_the_next_follower_looks_anew() -> None:
    record, followers, chunks = Record(3), Followers(), list[bytes]()
    record.failure = StoreError("the database is gone")
    async with followers.open():
        with pytest.raises(StoreError):
            await collect(followers.events(RUN, 0, record.read, record.is_over), chunks)
        record.failure = None
        record.end()
        await collect(followers.events(RUN, 0, record.read, record.is_over), chunks)
    assert numbers(chunks) == [1, 2, 3, 4]


class Follower:
    """A connection that an event stream is sent over."""

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


async def quiet(for_ever: anyio.Event) -> AsyncIterator[bytes]:
    while not for_ever.is_set():
        await anyio.sleep(0.01)
        yield b""


async def test_silence_is_broken_by_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "KEEP_ALIVE", 0.05)
    follower, over = Follower(), anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(EventStream(quiet(over), Followers()), SCOPE, follower.receive, follower.send)
        await until(lambda: follower.body.count(following.COMMENT) >= 3)
        over.set()
    assert follower.is_complete
    assert told([follower.body]) == []


async def test_who_goes_is_sent_no_more() -> None:
    followers, follower, closed = Followers(), Follower(), anyio.Event()

    async def source() -> AsyncIterator[bytes]:
        try:
            async for chunk in quiet(anyio.Event()):
                yield chunk
        finally:
            closed.set()

    async with anyio.create_task_group() as group:
        group.start_soon(EventStream(source(), followers), SCOPE, follower.receive, follower.send)
        await until(lambda: follower.sent)
        assert followers.count == 1
        follower.gone.set()
    assert closed.is_set()
    assert followers.count == 0


async def test_who_takes_nothing_for_too_long_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "SEND_TIME", 0.1)
    follower, followers = Follower(), Followers()
    follower.stalled = anyio.Event()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body" and message["more_body"]:
            await anyio.sleep_forever()
        follower.sent.append(message)

    with anyio.fail_after(30):
        await EventStream(quiet(anyio.Event()), followers)(SCOPE, follower.receive, send)
    assert followers.count == 0


async def test_so_many_follow_and_no_more() -> None:
    followers = Followers(most=1)
    followers.check()
    follower, over = Follower(), anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(EventStream(quiet(over), followers), SCOPE, follower.receive, follower.send)
        await until(lambda: follower.sent)
        with pytest.raises(TooManyError):
            followers.check()
        over.set()
    followers.check()


async def test_an_event_is_one_line_of_ascii_whatever_it_holds() -> None:
    text = "a\nb\r\nc\r\u2028\u0000\udcff ä: data"
    message = following.message(7, "notice", {"message": text})
    (event,) = told([message])
    assert (event.id, event.name, json.loads(event.data)["message"]) == ("7", "notice", text)
    assert message.isascii()
    assert message.count(b"\n") == 4
    assert b"\r" not in message
