"""Test a store that is opened in the background."""

from pathlib import Path
from typing import NoReturn

import anyio
import pytest
from anyio import to_thread

from pipeline.run.recording.deferred_store import DeferredStore
from pipeline.store.store import Store, StoreError

pytestmark = pytest.mark.anyio


async def test_store_is_opened_when_it_is_needed(tmp_path: Path) -> None:
    opened: list[Store] = []
    deferred = DeferredStore(lambda: Store.beside(tmp_path), opened.append)
    assert (deferred.opened, deferred.current) == (None, None)

    async with anyio.create_task_group() as group:
        group.start_soon(deferred.open)
        store = await deferred.get()
        assert store is await to_thread.run_sync(deferred.wait)
    with store:
        assert opened == [store]
        assert store is deferred.opened is deferred.current


async def test_open_store_is_not_opened_again(tmp_path: Path) -> None:
    def fail(*_: Store) -> NoReturn:
        raise AssertionError

    with Store.beside(tmp_path) as store:
        deferred = DeferredStore(fail, fail, store)
        assert deferred.current is None
        await deferred.open()
        assert await deferred.get() is store


async def test_failure_to_open_is_reported_to_all_callers() -> None:
    error = StoreError("cannot be opened")

    def fail() -> Store:
        raise error

    deferred = DeferredStore(fail, lambda _: None)
    with pytest.raises(StoreError, match="cannot be opened"):
        await deferred.open()
    with pytest.raises(StoreError, match="cannot be opened"):
        await deferred.get()
    assert deferred.wait() is None
    assert deferred.failure is error


async def test_failed_store_is_not_used_again_but_can_be_closed(tmp_path: Path) -> None:
    error = StoreError("disk full")
    deferred = DeferredStore(lambda: Store.beside(tmp_path), lambda _: None)
    await deferred.open()
    deferred.fail(error)
    deferred.fail(StoreError("a later error"))

    with pytest.raises(StoreError, match="disk full"):
        await deferred.get()
    assert (deferred.failure, deferred.current, deferred.wait()) == (error, None, None)
    assert deferred.opened is not None
    deferred.opened.close()


async def test_threads_stop_waiting_for_a_store_that_is_never_opened(tmp_path: Path) -> None:
    deferred = DeferredStore(lambda: Store.beside(tmp_path), lambda _: None)
    assert deferred.wait(0) is None
    deferred.stop_waiting()
    assert deferred.wait() is None
