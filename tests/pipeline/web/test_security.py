"""Access control: the token, the Host, the Origin, and the body."""

import base64
import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from pipeline.web.security.middleware import SECURITY_HEADERS, secured
from pipeline.web.security.policy import Authority, Policy, is_loopback

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("blockbuster")]
TOKEN = "a long random text"
HERE = Policy.of("127.0.0.1", None)
Headers = Iterable[tuple[str, str]]


class App:
    """An app that stores the bodies that it receives."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"in"})


class Answer:
    """A response."""

    def __init__(self, messages: list[Message], app: App) -> None:
        self.status: int = messages[0]["status"]
        self.headers = [(name.decode(), value.decode()) for name, value in messages[0]["headers"]]
        self.body: bytes = messages[1]["body"]
        self.bodies = app.bodies

    @property
    def detail(self) -> str:
        """The message of the problem."""
        problem = json.loads(self.body)
        assert problem["status"] == self.status
        assert dict(self.headers)["content-type"] == "application/problem+json"
        return str(problem["detail"])


async def ask(  # noqa: PLR0913 - the parts of a request
    policy: Policy,
    headers: Headers = (("host", "localhost:8001"),),
    *,
    method: str = "POST",
    path: str = "/api/v1/autonomous/start",
    body: Iterable[bytes] = (b"{}",),
    max_body: int = 100,
) -> Answer:
    """Send a request through the middleware; `body` are the parts in which the body arrives."""
    pieces = list(body)
    incoming: list[Message] = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    app = App()
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    await secured(app, policy, max_body=max_body)(scope, receive, send)
    return Answer(sent, app)


async def status(policy: Policy, host: str, *more: tuple[str, str], method: str = "POST") -> int:
    """Return the status of the response to a request for a host."""
    answer = await ask(policy, [("host", host), *more], method=method)
    assert bool(answer.bodies) == (answer.status == 200)
    return answer.status


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8001", "LOCALHOST:8001", "127.0.0.1:8001", "127.9.9.9", "[::1]:8001", "[::1]"],
)
async def test_loopback_hosts_are_accepted(host: str) -> None:
    assert await status(HERE, host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8001",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost.",
        "127.1",
        "0x7f000001",
        "2130706433",
        "192.168.0.7:8001",
        "0.0.0.0:8001",
        "[::]:8001",
        "[::1",
        "::1",
        "[127.0.0.1]",
        "localhost:0",
        "localhost:65536",
        "localhost:8001:8001",
        "localhost:",
        "user@localhost",
        "localhost/x",
        "local host",
        "",
        "\xff",
    ],
)
async def test_other_hosts_are_refused(host: str) -> None:
    assert await status(HERE, host) == 403


@pytest.mark.parametrize("headers", [(), (("host", "localhost"), ("host", "localhost"))])
async def test_host_header_is_required_once(headers: Headers) -> None:
    answer = await ask(HERE, headers)
    assert (answer.status, answer.bodies) == (400, [])
    assert "Host" in answer.detail


async def test_host_is_checked_for_every_method() -> None:
    for method in ("GET", "HEAD", "OPTIONS", "TRACE"):
        assert await status(HERE, "evil.example", method=method) == 403


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost:8001", "localhost:8001"),
        ("http://LOCALHOST:8001", "localhost:8001"),
        ("http://[::1]:8001", "[::1]:8001"),
        ("http://127.0.0.1", "127.0.0.1"),
        ("http://127.0.0.1:80", "127.0.0.1"),
        ("https://localhost", "localhost"),
        ("https://localhost", "localhost:443"),
    ],
)
async def test_own_origin_is_accepted(origin: str, host: str) -> None:
    assert await status(HERE, host, ("origin", origin)) == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://evil.example:8001",
        "http://localhost",
        "http://localhost:3000",
        "https://localhost:8002",
        "http://127.0.0.1:8001",
        "http://[::1]:8001",
        "http://localhost:8001.evil.example",
        "http://localhost:8001@evil.example",
        "http://localhost:8001/",
        "ftp://localhost:8001",
        "file://",
        "null",
        "",
        "localhost:8001",
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET", "OPTIONS"])
async def test_other_origins_are_refused(origin: str, method: str) -> None:
    assert await status(HERE, "localhost:8001", ("origin", origin), method=method) == 403


async def test_two_origins_are_refused() -> None:
    own = ("origin", "http://localhost:8001")
    assert await status(HERE, "localhost:8001", own, own) == 403


async def test_sec_fetch_site_is_checked() -> None:
    link = (("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"))
    for site in ("cross-site", "same-site", "anything"):
        asks = ("sec-fetch-site", site)
        assert await status(HERE, "localhost:8001", asks) == 403
        assert await status(HERE, "localhost:8001", asks, method="GET") == 403
        assert await status(HERE, "localhost:8001", asks, *link) == 403, "a form of another site is refused"
        assert await status(HERE, "localhost:8001", asks, *link, method="GET") == 200, "a link is followed"
        framed = (("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe"))
        assert await status(HERE, "localhost:8001", asks, *framed, method="GET") == 403
    for site in ("same-origin", "none"):
        assert await status(HERE, "localhost:8001", ("sec-fetch-site", site)) == 200


def basic(password: str, name: str = "me") -> tuple[str, str]:
    return ("authorization", "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode())


def bearer(token: str, scheme: str = "Bearer") -> tuple[str, str]:
    return ("authorization", f"{scheme} {token}")


@pytest.mark.parametrize(
    "header", [bearer(TOKEN), bearer(TOKEN, "bearer"), bearer(f" {TOKEN} "), basic(TOKEN), basic(TOKEN, "")]
)
async def test_token_is_accepted(header: tuple[str, str]) -> None:
    assert await status(Policy.of("127.0.0.1", TOKEN), "localhost", header) == 200


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (bearer(""),),
        (bearer("another"),),
        (bearer(TOKEN[:-1]),),
        (bearer(f"{TOKEN}."),),
        (bearer(TOKEN.upper()),),
        (bearer("\xff"),),
        (bearer(TOKEN, "Token"),),
        (("authorization", TOKEN),),
        (("authorization", "Basic !"),),
        (("authorization", "Basic " + base64.b64encode(TOKEN.encode()).decode()),),
        (basic(f"{TOKEN}:"),),
        (bearer(TOKEN), bearer(TOKEN)),
        (("x-token", TOKEN),),
        (("cookie", f"token={TOKEN}"),),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_other_credentials_are_refused(headers: Headers, method: str) -> None:
    answer = await ask(Policy.of("127.0.0.1", TOKEN), [("host", "localhost"), *headers], method=method)
    assert (answer.status, answer.bodies) == (401, [])
    schemes = [value.partition(" ")[0] for name, value in answer.headers if name == "www-authenticate"]
    assert schemes == ["Bearer", "Basic"]
    assert TOKEN not in answer.detail


async def test_token_is_compared_as_utf_8() -> None:
    policy = Policy.of("127.0.0.1", "schlüssel")
    assert policy.accepts_token("Bearer schlüssel".encode())
    assert not policy.accepts_token("Bearer schlüssel".encode("latin-1"))


async def test_empty_token_means_no_token() -> None:
    assert Policy.of("127.0.0.1", "").token is None


async def test_health_requires_a_host_but_no_token() -> None:
    policy = Policy.of("127.0.0.1", TOKEN)
    here, there = [("host", "localhost")], [("host", "evil.example")]
    assert (await ask(policy, here, method="GET", path="/health")).status == 200
    assert (await ask(policy, here, method="POST", path="/health")).status == 401
    assert (await ask(policy, here, method="GET", path="/health/")).status == 401
    assert (await ask(policy, there, method="GET", path="/health")).status == 403


async def test_public_server_accepts_any_address_but_only_its_names() -> None:
    policy = Policy.of("0.0.0.0", TOKEN, ["Build.Example"])  # noqa: S104 - nothing listens
    for host in ("192.168.0.7:8001", "[2001:db8::1]:8001", "127.0.0.1", "localhost", "build.example:8001"):
        assert await status(policy, host, bearer(TOKEN)) == 200
    assert await status(policy, "evil.example", bearer(TOKEN)) == 403
    assert await status(policy, "build.example", bearer(TOKEN), ("origin", "https://build.example")) == 200
    assert await status(policy, "build.example", bearer(TOKEN), ("origin", "https://evil.example")) == 403


async def test_token_does_not_allow_another_origin() -> None:
    policy = Policy.of("127.0.0.1", TOKEN)
    assert await status(policy, "localhost", basic(TOKEN), ("origin", "http://evil.example")) == 403


async def test_body_arrives_complete() -> None:
    answer = await ask(HERE, body=[b"ab", b"", b"cd"])
    assert (answer.status, answer.bodies) == (200, [b"abcd"])


@pytest.mark.parametrize("pieces", [[b"x" * 101], [b"x" * 50, b"x" * 51], [b"x" * 60, b"x" * 60, b"more"]])
async def test_too_large_body_is_refused(pieces: list[bytes]) -> None:
    answer = await ask(HERE, body=pieces)
    assert (answer.status, answer.bodies) == (413, [])


@pytest.mark.parametrize("length", ["101", "9" * 30, "9" * 5000])
async def test_too_large_content_length_is_refused(length: str) -> None:
    answer = await ask(HERE, [("host", "localhost"), ("content-length", length)], body=[b"x"])
    assert (answer.status, answer.bodies) == (413, [])


async def test_body_of_maximum_size_is_accepted() -> None:
    assert (await ask(HERE, body=[b"x" * 100])).bodies == [b"x" * 100]


async def test_every_response_has_the_security_headers() -> None:
    for host in ("localhost", "evil.example"):
        problem = dict((await ask(HERE, [("host", host)])).headers)
        assert {name: problem.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS


async def test_websockets_are_closed() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    await secured(App(), HERE)({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


@given(st.text() | st.from_regex(r"[\[\]0-9a-fA-F:.]{0,40}"))
def test_accepted_host_is_loopback_for_any_text(text: str) -> None:
    found = Authority.parse(text)
    if found is not None and HERE.accepts_host(found):
        assert found.host == "localhost" or is_loopback(found.host)
        assert text.isascii()


@given(st.binary())
def test_random_bytes_are_not_the_token(header: bytes) -> None:
    policy = Policy.of("127.0.0.1", TOKEN)
    for prefix in (b"", b"Bearer ", b"Basic "):
        assert not policy.accepts_token(prefix + header)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "::ffff:127.0.0.1"])
def test_loopback_host(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "", "192.168.0.7", "2001:db8::1", "::ffff:10.0.0.1", "no.such.name.invalid"],  # noqa: S104 - nothing listens
)
def test_host_that_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_authority_has_host_and_port() -> None:
    assert Authority.parse("Example.COM:80") == Authority("example.com", 80)
    assert Authority.parse("[2001:DB8:0::1]") == Authority("2001:db8::1", None)
    assert Authority.parse("a b") is None
