"""Structured concurrency on top of anyio: threads as context managers, plain errors, and signals."""

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from typing import TypeVar

from anyio import (
    CancelScope,
    CapacityLimiter,
    Event,
    create_task_group,
    from_thread,
    get_cancelled_exc_class,
    open_signal_receiver,
    to_thread,
)
from anyio.abc import TaskGroup
from anyio.lowlevel import RunVar

from tasks.errors import first_error

T = TypeVar("T")
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end the program."""
_SHORT_WORK: RunVar[CapacityLimiter] = RunVar("short_work")


def short_work() -> CapacityLimiter:
    """Return the limiter of the threads that prepare tasks and take their results.

    A part of this work is git's: a thread per core, and two at least. The rest is the interpreter's, in which
    one thread at a time runs: more of them would keep each other waiting. Nothing that runs in one of these
    threads may wait for another.
    """
    try:
        return _SHORT_WORK.get()
    except LookupError:
        limiter = CapacityLimiter(max(2, os.cpu_count() or 2))
        _SHORT_WORK.set(limiter)
        return limiter


@asynccontextmanager
async def in_thread(manager: AbstractContextManager[T]) -> AsyncIterator[T]:
    """Enter and exit a context manager whose `__enter__` and `__exit__` block, each in a worker thread.

    It is exited when the caller is cancelled, too. An error is passed to it, as in a `with` statement.
    """
    value = await to_thread.run_sync(manager.__enter__)
    try:
        yield value
    except BaseException as error:
        with CancelScope(shield=True):
            suppressed = await to_thread.run_sync(manager.__exit__, type(error), error, error.__traceback__)
        if not suppressed:
            raise
    else:
        with CancelScope(shield=True):
            await to_thread.run_sync(manager.__exit__, None, None, None)


@asynccontextmanager
async def plain_task_group() -> AsyncIterator[TaskGroup]:
    """Give a task group that raises the error of a child itself, not an `ExceptionGroup`.

    Where several children fail at once, it is the one that `first_error` selects.
    """
    try:
        async with create_task_group() as group:
            yield group
    except BaseExceptionGroup as errors:
        raise first_error(errors) from None


def stop_if_cancelled() -> None:
    """In a worker thread, raise the cancellation of the task that waits for it; in other threads, do nothing.

    For long work between two parts of it, since a thread is not ended from outside.
    """
    with suppress(RuntimeError):  # it is another thread
        from_thread.check_cancelled()


async def run_to_end(
    call: Callable[[], None], stop: Callable[[], None] = lambda: None, *, limiter: CapacityLimiter | None = None
) -> None:
    """Run a blocking call in a thread until it returns, then raise its error or the caller's cancellation.

    The call has a task to itself, so that a bare `asyncio.Task.cancel` does not leave the thread behind. By
    default the thread does not count towards anyio's limit: a task that waits for another task's thread would
    not run beside it.

    Args:
        call: The blocking call.
        stop: Called on the event loop when the caller is cancelled, to make `call` return soon.
        limiter: The limit that the thread counts towards; none by default.
    """
    ended = Event()
    errors: list[BaseException] = []

    async def work() -> None:
        with CancelScope(shield=True):
            try:
                await to_thread.run_sync(call, limiter=limiter or CapacityLimiter(1))
            except Exception as error:  # noqa: BLE001 - raised below, outside of the task group
                errors.append(error)
            finally:
                ended.set()

    async with create_task_group() as group:
        group.start_soon(work)
        try:
            await ended.wait()
        except get_cancelled_exc_class():
            stop()
            with CancelScope(shield=True):
                await ended.wait()
            raise
    if errors:
        raise errors[0]


def receive_stop_signals() -> AbstractContextManager[AsyncIterator[signal.Signals]]:
    """Return a context manager that receives `STOP_SIGNALS` on the event loop.

    A signal that the parent process made this one ignore, as `nohup` and `&` in a script do, stays ignored.
    """
    received = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    return open_signal_receiver(*received)
