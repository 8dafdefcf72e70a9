"""Connections of the server: half-sent requests end, and clients that wait do not keep others out."""

import asyncio
import shlex
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any, ClassVar

import httpx
import pytest
import uvicorn
from project import COMMAND, PATIENCE, Project

from pipeline.web.security.connections import BoundedProtocol, QuietAcceptErrors

HALF = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: "
WHOLE = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Impatient(BoundedProtocol):
    """As in the server, with short time limits."""

    head_seconds: ClassVar[float] = 0.2
    body_seconds: ClassVar[float] = 0.2


async def app(_scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - as ASGI has it
    """Respond when the whole body has been received."""
    while (message := await receive()).get("more_body"):
        pass
    if message["type"] == "http.request":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """Serve, and provide the port."""
    config = uvicorn.Config(app, http=Impatient, lifespan="off", log_level="error", ws="none", port=0)
    config.load()
    state = uvicorn.server.ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Impatient(config, state, {}), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def sent(port: int, *parts: bytes) -> bytes:
    """Send a request in parts, and return what the server sends until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        for part in parts:
            writer.write(part)
            if part.endswith(b"\r\n\r\n"):
                answer += await reader.readuntil(b"\r\n\r\n")
        return answer + await asyncio.wait_for(reader.read(), PATIENCE)
    except ConnectionError:
        return answer
    finally:
        writer.close()


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (HALF,),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r", b"\nhalf"),
    ],
)
@pytest.mark.anyio
async def test_half_a_request_ends_in_time(parts: tuple[bytes, ...]) -> None:
    async with serving() as port:
        assert await sent(port, *parts) == b""


@pytest.mark.anyio
async def test_half_a_second_request_ends_in_time() -> None:
    async with serving() as port:
        answer = await sent(port, WHOLE, HALF)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1") == 1


def test_waiting_clients_do_not_keep_others_out(project: Project) -> None:
    command = ["bash", "-c", f"ulimit -n 128; exec {shlex.join(COMMAND)} serve --port 0"]
    process = subprocess.Popen(
        command,
        cwd=project.root,
        env=project.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[2]
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        with ExitStack() as held:
            for _ in range(300):
                client = held.enter_context(socket.create_connection(address, timeout=PATIENCE))
                client.sendall(HALF)
            assert httpx.get(f"{url}/health", timeout=PATIENCE, trust_env=False).status_code == 200
    finally:
        process.terminate()
        _, error = process.communicate(timeout=PATIENCE)
    assert error == ""


def test_accept_errors_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    loop, handler = asyncio.new_event_loop(), QuietAcceptErrors()
    error = OSError(24, "Too many open files")
    for _ in range(3):
        handler(loop, {"message": "socket.accept() out of system resource", "exception": error})
    assert [record.getMessage() for record in caplog.records] == [
        "connections cannot be accepted now: [Errno 24] Too many open files"
    ]
    handler(loop, {"message": "another error"})
    assert caplog.records[-1].getMessage() == "another error"
    loop.close()
