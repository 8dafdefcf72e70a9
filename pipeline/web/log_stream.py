"""The log of a task over HTTP: byte ranges, and a stream while it grows."""

import codecs
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import anyio
from anyio import to_thread
from starlette.responses import Response, StreamingResponse

from pipeline.web.problems import problem
from pipeline.web.sse import format_message

CHUNK = 64 * 1024
"""Bytes of a log that are read and sent at a time."""
POLL = 0.1
"""Seconds between two reads of a growing log."""
MEDIA_TYPE = "text/plain; charset=utf-8"
RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


async def ranged(path: Path, asked: str | None) -> Response:
    """Return a log, or the part of it that a Range header selects.

    A header with several ranges or an invalid one is ignored, as RFC 9110 (14.2) allows. What is added to the
    log while it is sent is not included.
    """
    size = (await to_thread.run_sync(path.stat)).st_size
    headers = {"accept-ranges": "bytes", "cache-control": "no-store"}
    found = RANGE.fullmatch(asked.strip()) if asked else None
    first, last, status = 0, size - 1, 200
    if found and (found[1] or found[2]):
        if found[1]:
            first, last = int(found[1]), min(int(found[2] or size), size - 1)
        else:
            first = max(0, size - int(found[2]))
        if found[1] and found[2] and int(found[2]) < int(found[1]):
            first, last = 0, size - 1
        elif first >= size:
            detail = f"the log has {size} bytes, and none at {asked}"
            return problem(416, detail, headers={"content-range": f"bytes */{size}"})
        else:
            status = 206
            headers["content-range"] = f"bytes {first}-{last}/{size}"
    headers["content-length"] = str(max(0, last - first + 1))
    return StreamingResponse(
        _part(path, first, last + 1), status_code=status, headers=headers, media_type=MEDIA_TYPE
    )


async def _part(path: Path, place: int, end: int) -> AsyncIterator[bytes]:
    while place < end:
        data = await to_thread.run_sync(_read, path, place, min(CHUNK, end - place))
        if not data:
            return
        place += len(data)
        yield data


def _read(path: Path, place: int, size: int) -> bytes:
    """Read a part of a file; a missing file is empty. Blocking."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.pread(descriptor, size, place)
    finally:
        os.close(descriptor)


async def follow(
    find: Callable[[], Awaitable[Path | None]],
    has_ended: Callable[[], Awaitable[bool]],
    place: int,
    closing: Callable[[], bool],
) -> AsyncIterator[bytes]:
    """Yield a log after a position, as server-sent events, until its task has ended.

    The id of each event is the position after it, where a reconnecting client continues. The last is named
    `end`.

    Args:
        find: Returns the path of the log; `None` while it does not exist.
        has_ended: Whether the log is complete.
        place: Position to start from, in bytes.
        closing: Whether the server is shutting down.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    path: Path | None = None
    while True:
        last = await has_ended()
        path = path or await find()
        data = await to_thread.run_sync(_read, path, place, CHUNK) if path else b""
        if data:
            place += len(data)
            pending = len(decoder.getstate()[0])
            text = decoder.decode(data)
            held_back = len(decoder.getstate()[0])
            if text or held_back == pending:
                yield format_message(place - held_back, "log", {"offset": place - held_back, "text": text})
            continue
        if last:
            rest = decoder.decode(b"", final=True)
            if rest:
                yield format_message(place, "log", {"offset": place, "text": rest})
            yield format_message(place, "end", {"offset": place})
            return
        if closing():
            return
        await anyio.sleep(POLL)
        yield b""
