"""Requests over a real socket: what is sent, what becomes of each answer, and how a connection ends."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import anyio
import pytest
from anyio import to_thread
from raw_server import RawServer

from containers.dagger_engine.client.api import Client
from containers.dagger_engine.client.errors import ExecError, QueryError, TransportError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("blockbuster")]

ANSWER = {"data": {"version": "v0.21.8"}}


def ok(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    """Return an answer with a body."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def said(answer: object) -> bytes:
    """Return an answer of JSON."""
    return ok(json.dumps(answer).encode())


@contextmanager
def serving(answer: bytes | None, *, closes: bool = False) -> Iterator[RawServer]:
    """Serve one answer to every request."""
    with RawServer(lambda _: answer, closes=closes) as server:
        yield server


async def test_request_names_host_token_and_length() -> None:
    bodies: list[bytes] = []

    def answer(body: bytes) -> bytes:
        bodies.append(body)
        return said(ANSWER)

    with RawServer(answer) as server:
        client = Client.connect(server.port, "token", lambda: {"traceparent": "00-1-2-01"})
        assert await client.version() == "v0.21.8"
        await client.aclose()
        port = server.port
    first, *rest = server.heads[0].splitlines()
    assert first == "POST /query HTTP/1.1"
    headers = dict(line.split(": ") for line in rest)
    assert headers == {
        "Host": f"127.0.0.1:{port}",
        "Authorization": "Basic dG9rZW46",  # "token:", RFC 7617
        "Accept": "*/*",
        "Content-Type": "application/json",
        "traceparent": "00-1-2-01",
        "Content-Length": str(len(bodies[0])),
    }
    assert json.loads(bodies[0]) == {"query": "{ version }"}


async def test_one_connection_serves_one_query_after_the_other() -> None:
    with serving(said(ANSWER)) as server:
        client = Client.connect(server.port, "token")
        for _ in range(3):
            await client.version()
        await client.aclose()
    assert server.connections == 1


async def test_queries_at_the_same_time_have_connections_of_their_own() -> None:
    with serving(None) as server:
        client = Client.connect(server.port, "token")
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(partial(client._connection.fetch, [client.version().leaf]))  # noqa: SLF001
            with anyio.fail_after(60):
                while len(server.heads) < 20:  # noqa: ASYNC110 - counted in threads
                    await anyio.sleep(0.01)
            group.cancel_scope.cancel()
        await client.aclose()
    assert server.connections == 20


async def test_connection_that_the_server_closed_is_not_used_again() -> None:
    with serving(said(ANSWER), closes=True) as server:
        client = Client.connect(server.port, "token")
        for _ in range(3):
            assert await client.version() == "v0.21.8"
            await anyio.sleep(0.05)
        await client.aclose()
    assert server.connections == 3


@pytest.mark.parametrize("headers", ["", "Connection: close\r\n"])
async def test_answer_may_say_that_it_is_the_last_one(headers: str) -> None:
    with serving(ok(json.dumps(ANSWER).encode(), headers=headers)) as server:
        client = Client.connect(server.port, "token")
        await client.version()
        await client.version()
        await client.aclose()
    assert server.connections == (2 if headers else 1)


async def test_answer_in_chunks_and_of_an_old_server() -> None:
    body = json.dumps(ANSWER).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:]))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for answer, closes in ((head + chunks + b"0\r\n\r\n", False), (b"HTTP/1.0 200 OK\r\n\r\n" + body, True)):
        with serving(answer, closes=closes) as server:
            client = Client.connect(server.port, "token")
            assert await client.version() == "v0.21.8"
            await client.aclose()


async def test_large_answer_and_large_query() -> None:
    large = "Grüße\n" * 3_000_000
    bodies: list[bytes] = []

    def answer(body: bytes) -> bytes:
        bodies.append(body)
        return ok(json.dumps({"data": {"container": {"withNewFile": {"stdout": large}}}}).encode())

    with RawServer(answer) as server:
        client = Client.connect(server.port, "token")
        container = client.container().with_new_file("/x", large)
        assert await container.stdout() == large
        await client.aclose()
    assert len(bodies[0]) > len(large)


async def test_cancelled_query_closes_its_connection() -> None:
    """This tells the engine to end an exec that no one else waits for."""
    with serving(None) as server:
        client = Client.connect(server.port, "token")
        async with anyio.create_task_group() as group:
            group.start_soon(partial(client._connection.fetch, [client.version().leaf]))  # noqa: SLF001
            assert await to_thread.run_sync(server.asked.wait, 60)
            group.cancel_scope.cancel()
        assert await to_thread.run_sync(server.cut.wait, 60)
        await client.aclose()


async def test_queries_fail_when_the_client_is_closed() -> None:
    with serving(None) as server:
        client = Client.connect(server.port, "token")

        async def query() -> None:
            with pytest.raises(TransportError, match=r"^the session has been closed$"):
                await client.version()

        async with anyio.create_task_group() as group:
            group.start_soon(query)
            assert await to_thread.run_sync(server.asked.wait, 60)
            await client.aclose()
        await query()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "the connection was closed without an answer$"),
        (
            ok(b"{}")[:-1],
            "it does not speak HTTP \\(peer closed connection without sending complete message body",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Len", "the connection was closed without an answer"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "it does not speak HTTP \\(illegal status line"),
        (ok(b"", status="502 Bad Gateway"), "HTTP status 502 Bad Gateway"),
        (ok(b'{"data": {"version": "v"}}', status="401"), "HTTP status 401"),
        (ok(b"<html>"), "its answer is not valid JSON"),
        (ok(b"\xff"), "its answer is not valid JSON"),
        (ok(b"[]"), "its answer is not valid JSON"),
        (ok(b"{}"), "its answer does not have what was queried"),
        (said({"data": None}), "its answer does not have what was queried"),
        (said({"data": {"other": "v"}}), "its answer does not have what was queried"),
        (said({"data": {"version": 7}}), "its answer has int where a string belongs"),
    ],
)
async def test_no_answer_or_an_invalid_one_is_an_error_of_transport(answer: bytes, message: str) -> None:
    with serving(answer, closes=True) as server:
        client = Client.connect(server.port, "token")
        with pytest.raises(TransportError, match=f"^{message}"):
            await client.version()
        await client.aclose()


async def test_port_without_a_server_is_an_error_of_transport() -> None:
    with serving(None) as server:
        port = server.port
    with pytest.raises(TransportError, match=r"^cannot connect \(.*Connect call failed"):
        await Client.connect(port, "token").version()


@pytest.mark.parametrize("status", ["200 OK", "422 Unprocessable Entity"])
async def test_rejected_query_has_the_message_of_its_first_error(status: str) -> None:
    errors = [{"message": "failed to resolve image", "path": ["container"]}, {"message": "another"}]
    body = json.dumps({"data": None, "errors": errors}).encode()
    with serving(ok(body, status=status)) as server:
        client = Client.connect(server.port, "token")
        with pytest.raises(QueryError) as raised:
            await client.version()
        await client.aclose()
    assert str(raised.value) == "failed to resolve image"
    assert not isinstance(raised.value, ExecError)


async def test_failed_exec_has_its_command_its_exit_code_and_its_output() -> None:
    details = {"_type": "EXEC_ERROR", "cmd": ["sh", "x"], "exitCode": 137, "stdout": "out", "stderr": "err"}
    with serving(said({"errors": [{"message": "exit code: 137", "extensions": details}]})) as server:
        client = Client.connect(server.port, "token")
        with pytest.raises(ExecError, match=r"^exit code: 137$") as raised:
            await client.version()
        await client.aclose()
    error = raised.value
    assert (error.command, error.exit_code, error.stdout, error.stderr) == (("sh", "x"), 137, "out", "err")


@pytest.mark.parametrize(
    "errors", [["plain"], {"message": "one"}, [{}], [{"message": None}], [{"extensions": 1}]]
)
async def test_errors_of_another_shape_are_a_rejection_too(errors: object) -> None:
    with serving(said({"errors": errors})) as server:
        client = Client.connect(server.port, "token")
        with pytest.raises(QueryError):
            await client.version()
        await client.aclose()


async def test_text_that_is_not_utf_8_is_not_sent() -> None:
    with serving(said(ANSWER)) as server:
        client = Client.connect(server.port, "token")
        with pytest.raises(UnicodeEncodeError):
            await client.container().from_("\udcff").user()
        await client.aclose()
    assert server.heads == []
