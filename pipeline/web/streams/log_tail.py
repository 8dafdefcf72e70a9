"""The tail of a task's log: what is in the file after a position, and what is added to it."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import anyio
from anyio import to_thread

from containers.filesystem import open_regular
from tasks.lazy.dataclasses import dataclass

CHUNK = 64 * 1024
"""Bytes of a log that are read at a time."""
POLL = 0.1
"""Seconds between two reads of a growing log."""


@dataclass(frozen=True, slots=True)
class LogPart:
    """Bytes of a log; `offset` is the position after them. `complete`: nothing follows."""

    offset: int
    data: bytes
    complete: bool = False


def read_log(path: Path, start: int, size: int = CHUNK) -> LogPart:
    """Read at most `size` bytes from a position; a negative one counts from the end. Blocking.

    A file that is missing or not readable is as empty, and so is a pipe, which would block.
    """
    try:
        file = open_regular(path)
    except OSError:
        file = None
    if file is None:
        return LogPart(start, b"")
    with file:
        if start < 0:
            start = max(0, os.fstat(file.fileno()).st_size + start)
        data = os.pread(file.fileno(), size, start)
        return LogPart(start + len(data), data)


async def tail_log(
    find: Callable[[], Awaitable[Path | None]],
    has_ended: Callable[[], Awaitable[bool]],
    start: int,
    is_closing: Callable[[], bool],
) -> AsyncIterator[LogPart]:
    """Yield the parts of a log until it is complete or the server shuts down; an empty part while it waits.

    Args:
        find: Returns the path of the log; `None` while it does not exist.
        has_ended: Whether the log is complete.
        start: Position to start from, in bytes; a negative one counts from the end.
        is_closing: Whether the server is shutting down.
    """
    offset, path = start, None
    while True:
        ended = await has_ended()  # asked first, so that what was written before the end is read
        path = path or await find()
        part = await to_thread.run_sync(read_log, path, offset) if path else LogPart(offset, b"")
        offset = part.offset
        if part.data:
            yield part
        elif ended:
            yield LogPart(max(0, offset), b"", complete=True)
            return
        elif is_closing():
            return
        else:
            yield part
            await anyio.sleep(POLL)
