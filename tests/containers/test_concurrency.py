"""Threads as context managers, and task groups that raise plain errors."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest
from anyio import CancelScope, create_task_group, sleep_forever

from containers.concurrency import in_thread, plain_task_group, run_to_end
from tasks.errors import PatchyardError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("blockbuster")]


class Recorded:
    """A context manager that records in which threads it was entered and exited, and with which error."""

    def __init__(self, *, suppresses: bool = False) -> None:
        self.suppresses = suppresses
        self.threads: list[threading.Thread] = []
        self.errors: list[type[BaseException] | None] = []

    def __enter__(self) -> str:
        self.threads.append(threading.current_thread())
        return "value"

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self.threads.append(threading.current_thread())
        self.errors.append(kind)
        return self.suppresses


async def test_context_manager_is_entered_and_exited_in_threads() -> None:
    recorded = Recorded()
    async with in_thread(recorded) as value:
        assert value == "value"
    assert len(recorded.threads) == 2
    assert threading.main_thread() not in recorded.threads
    assert recorded.errors == [None]


async def test_context_manager_gets_the_error_and_may_suppress_it() -> None:
    recorded = Recorded()
    with pytest.raises(KeyError):
        async with in_thread(recorded):
            raise KeyError
    async with in_thread(Recorded(suppresses=True)):
        raise KeyError
    assert recorded.errors == [KeyError]


async def test_generator_context_manager_cleans_up_after_an_error() -> None:
    ended: list[bool] = []

    @contextmanager
    def resource() -> Iterator[None]:
        try:
            yield
        finally:
            ended.append(True)

    with pytest.raises(ValueError, match="why"):
        async with in_thread(resource()):
            raise ValueError("why")
    assert ended == [True]


async def test_context_manager_is_exited_when_the_caller_is_cancelled() -> None:
    recorded = Recorded()
    with anyio.move_on_after(0.01) as scope:
        async with in_thread(recorded):
            await sleep_forever()
    assert scope.cancelled_caught
    assert len(recorded.errors) == 1


async def test_task_group_raises_the_error_of_a_child_itself() -> None:
    async def fail(error: Exception) -> None:
        raise error

    async def fail_twice() -> None:
        async with plain_task_group() as group:
            group.start_soon(fail, KeyError("other"))
            group.start_soon(fail, PatchyardError("the program's own"))

    with pytest.raises(PatchyardError, match="the program's own"):
        await fail_twice()
    with pytest.raises(KeyError):
        async with plain_task_group():
            raise KeyError


async def test_error_of_a_call_is_raised() -> None:
    def fail() -> None:
        raise PatchyardError("it failed")

    stops: list[bool] = []
    await run_to_end(lambda: None, lambda: stops.append(True))
    with pytest.raises(PatchyardError, match="it failed"):
        await run_to_end(fail, lambda: stops.append(True))
    assert stops == []


async def test_cancelled_call_is_stopped_and_waited_for() -> None:
    begun, stopped = threading.Event(), threading.Event()
    ended: list[bool] = []

    def call() -> None:
        begun.set()
        ended.append(stopped.wait(10))

    async def stop_soon(scope: CancelScope) -> None:
        await anyio.to_thread.run_sync(begun.wait)
        scope.cancel()

    async with create_task_group() as group:
        with CancelScope() as scope:
            group.start_soon(stop_soon, scope)
            await run_to_end(call, stopped.set)
    assert scope.cancelled_caught
    assert ended == [True]


async def test_call_in_a_cancelled_scope_is_stopped() -> None:
    stopped = threading.Event()
    ended: list[bool] = []
    with CancelScope() as scope:
        scope.cancel()
        await run_to_end(lambda: ended.append(stopped.wait(10)), stopped.set)
    assert scope.cancelled_caught
    assert ended == [True]
