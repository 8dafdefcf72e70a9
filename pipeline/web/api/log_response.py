"""The log of a task in the API: byte ranges, and server-sent events while it grows."""

import codecs
from collections.abc import AsyncIterator
from pathlib import Path

from anyio import to_thread
from starlette.responses import Response, StreamingResponse

from pipeline.web.problems import problem
from pipeline.web.streams.log_tail import CHUNK, LogPart, read_log
from pipeline.web.streams.sse import format_message
from tasks.lazy.patterns import regex

MEDIA_TYPE = "text/plain; charset=utf-8"
RANGE = regex(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


async def ranged(path: Path, requested: str | None) -> Response:
    """Return a log, or the part of it that a Range header selects.

    A header with several ranges or an invalid one is ignored, as RFC 9110 (14.2) allows. What is added to the
    log while it is sent is not included.
    """
    # Not Starlette's FileResponse: the log grows while it is sent, and Content-Length must hold.
    size = (await to_thread.run_sync(path.stat)).st_size
    headers = {"accept-ranges": "bytes", "cache-control": "no-store"}
    found = RANGE.fullmatch(requested.strip()) if requested else None
    first, last, status = 0, size - 1, 200
    if found and (found[1] or found[2]):
        if found[1]:
            first, last = int(found[1]), min(int(found[2] or size), size - 1)
        else:
            first = max(0, size - int(found[2]))
        if found[1] and found[2] and int(found[2]) < int(found[1]):
            first, last = 0, size - 1
        elif first >= size:
            detail = f"the log has {size} bytes, and none at {requested}"
            return problem(416, detail, headers={"content-range": f"bytes */{size}"})
        else:
            status = 206
            headers["content-range"] = f"bytes {first}-{last}/{size}"
    headers["content-length"] = str(max(0, last - first + 1))
    return StreamingResponse(
        _read_range(path, first, last + 1), status_code=status, headers=headers, media_type=MEDIA_TYPE
    )


async def _read_range(path: Path, offset: int, end: int) -> AsyncIterator[bytes]:
    while offset < end:
        part = await to_thread.run_sync(read_log, path, offset, min(CHUNK, end - offset))
        if not part.data:
            return
        offset = part.offset
        yield part.data


async def log_messages(parts: AsyncIterator[LogPart]) -> AsyncIterator[bytes]:
    """Yield the parts of a log as server-sent events; empty bytes while nothing is added.

    The id of each event is the position after it, where a reconnecting client continues. A character that is
    split between two parts is sent with the second. The last event is named `end`.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    async for part in parts:
        text = decoder.decode(part.data, final=part.complete)
        position = part.offset - len(decoder.getstate()[0])
        yield format_message(position, "log", {"offset": position, "text": text}) if text else b""
        if part.complete:
            yield format_message(position, "end", {"offset": position})
