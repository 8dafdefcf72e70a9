"""Access control: token, Host and Origin checks, body limits and security headers.

A web page of another site can make a browser send requests to this server, and can point a name of its own at
this machine's address (DNS rebinding). So the Host must be a name of this server, and the Origin and Sec-Fetch
headers of a browser must name a page of this server. Other clients, such as curl, send no Origin.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

import anyio
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 1024 * 1024
"""Maximum size of a body, in bytes; the largest useful one is much smaller."""
BODY_TIME = 30.0
"""Seconds within which a body must arrive."""
OPEN_PATHS = frozenset({"/health"})
"""Paths that require no token, for monitoring."""
DRAIN_TIME = 2.0
"""Seconds for which the rest of a body that is too large is read and discarded."""
LONG = 18
"""Maximum digits of a Content-Length; a longer number is not parsed."""
AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?")
ORIGIN = re.compile(r"(https?)://(.+)")
PORTS = {"http": 80, "https": 443}
SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
    ),
}
"""Default headers of every response: no frames, nothing from other hosts."""
Address = IPv4Address | IPv6Address


def is_loopback(host: str) -> bool:
    """Whether all addresses of a host are loopback addresses. Blocking."""
    found = _address(host)
    if found is not None:
        return _is_loopback(found)
    try:
        answers = socket.getaddrinfo(host or None, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return False
    addresses = [_address(str(answer[4][0])) for answer in answers]
    return bool(addresses) and all(found is not None and _is_loopback(found) for found in addresses)


def _is_loopback(address: Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _address(text: str) -> Address | None:
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Authority:
    """Host and port of a Host header or an Origin; the host is in lower case."""

    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> "Authority | None":
        """Parse a host with an optional port; `None` if the text is invalid."""
        found = AUTHORITY.fullmatch(text)
        if found is None:
            return None
        six, name, port = found.groups()
        number = int(port) if port else None
        if number is not None and not 0 < number < 65536:  # noqa: PLR2004 - the range of ports
            return None
        if six is not None:
            address = _address(six)
            return cls(str(address), number) if isinstance(address, IPv6Address) else None
        return cls(name.lower(), number)


@dataclass(frozen=True, slots=True)
class Policy:
    """The access rules of a server.

    `names` are the server's host names, in lower case. With `loopback`, only loopback addresses are accepted as
    Host, otherwise any address: DNS rebinding needs a name.
    """

    token: str | None = field(default=None, repr=False)
    loopback: bool = True
    names: frozenset[str] = frozenset({"localhost"})

    @classmethod
    def of(cls, host: str, token: str | None, names: Sequence[str] = ()) -> "Policy":
        """Return the policy of a server that listens on `host` and has other `names`. Blocking."""
        loopback = is_loopback(host)
        own = {"localhost", host, *names} if loopback else {"localhost", host, socket.gethostname(), *names}
        return cls(token or None, loopback, frozenset(name.lower() for name in own if name))

    def accepts_host(self, host: Authority) -> bool:
        """Whether a Host is a name or an address of this server."""
        address = _address(host.host)
        if address is None or host.host in self.names:
            return host.host in self.names
        return _is_loopback(address) or not self.loopback

    def accepts_token(self, authorization: bytes | None) -> bool:
        """Whether an Authorization header has the token, as Bearer or as the password of Basic."""
        if self.token is None:
            return True
        scheme, _, given = (authorization or b"").strip().partition(b" ")
        given = given.strip()
        if scheme.lower() == b"basic":
            try:
                given = base64.b64decode(given, validate=True).partition(b":")[2]
            except (binascii.Error, ValueError):
                return False
        elif scheme.lower() != b"bearer":
            return False
        # Digests, since the time of the comparison depends on the length of its arguments.
        expected = hashlib.sha256(self.token.encode()).digest()
        return hmac.compare_digest(hashlib.sha256(given).digest(), expected)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused, as a problem (RFC 9457)."""

    status: int
    title: str
    detail: str

    def messages(self) -> tuple[Message, Message]:
        """Return the response."""
        body = json.dumps(
            {"type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail}
        ).encode()
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
        ]
        if self.status == 401:  # noqa: PLR2004 - one scheme for browsers, one for other clients
            headers += [
                (b"www-authenticate", b'Bearer realm="patchyard"'),
                (b"www-authenticate", b'Basic realm="patchyard", charset="UTF-8"'),
            ]
        return (
            {"type": "http.response.start", "status": self.status, "headers": headers},
            {"type": "http.response.body", "body": body},
        )


NO_HOST = Refusal(400, "Bad Request", "the request must have exactly one Host header")
OWN_PAGE = "open this server's own page, or use a client that is not a browser"
NO_TOKEN = Refusal(
    401,
    "Unauthorized",
    "authorization required: send `Authorization: Bearer` with the server's PATCHYARD_TOKEN",
)
TOO_LARGE = Refusal(413, "Content Too Large", f"the body exceeds the maximum of {MAX_BODY} bytes")
TOO_SLOW = Refusal(408, "Request Timeout", f"the body did not arrive within {BODY_TIME:.0f} s")


def refusal(policy: Policy, scope: Scope) -> Refusal | None:
    """Check the headers of a request; return why it is refused, `None` if it is accepted."""
    hosts, origins = _values(scope, b"host"), _values(scope, b"origin")
    if len(hosts) != 1:
        return NO_HOST
    host = Authority.parse(hosts[0])
    if host is None or not policy.accepts_host(host):
        detail = f"unknown host name {hosts[0][:100]!r}; start the server with `--allow-host` to accept it"
        return Refusal(403, "Forbidden", detail)
    if origins and not (len(origins) == 1 and _is_origin_of(origins[0], host)):
        return Refusal(403, "Forbidden", f"requests from {origins[0][:100]!r} are not allowed; {OWN_PAGE}")
    site = _values(scope, b"sec-fetch-site")
    if any(value not in {"same-origin", "none"} for value in site) and not _is_link(scope):
        return Refusal(403, "Forbidden", f"cross-site requests are not allowed; {OWN_PAGE}")
    if scope["path"] in OPEN_PATHS and scope.get("method") in {"GET", "HEAD"}:
        return None
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    return None if policy.accepts_token(given[0] if len(given) == 1 else None) else NO_TOKEN


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key == name]


def _is_origin_of(origin: str, host: Authority) -> bool:
    """Whether `origin` is a page of the host; the scheme is not compared, since a proxy may change it."""
    found = ORIGIN.fullmatch(origin)
    page = Authority.parse(found[2]) if found else None
    if found is None or page is None:
        return False
    default = PORTS[found[1]]
    return (page.host, page.port or default) == (host.host, host.port or default)


def _is_link(scope: Scope) -> bool:
    """Whether a user followed a link of another site: only the user sees the response."""
    followed = "navigate" in _values(scope, b"sec-fetch-mode") and "document" in _values(
        scope, b"sec-fetch-dest"
    )
    return followed and scope.get("method") in {"GET", "HEAD"}


class Access:
    """ASGI middleware that refuses requests by a policy, and bodies that are too large or slow."""

    def __init__(self, app: ASGIApp, policy: Policy, *, max_body: int = MAX_BODY) -> None:
        self._app = app
        self._policy = policy
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an accepted request to the app, or send the refusal."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = refusal(self._policy, scope)
        if refused is None and scope["method"] not in {"GET", "HEAD", "OPTIONS"}:
            taken = await self._body(scope, receive)
            if isinstance(taken, Refusal):
                refused = taken
            elif taken is None:
                return
            else:
                receive = _replayed(taken, receive)
        answer = _guarded(send)
        if refused is not None:
            for message in refused.messages():
                await answer(message)
            return
        await self._app(scope, receive, answer)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | Refusal | None:
        """Return the whole body, a refusal, or `None` if the client has disconnected."""
        announced = _values(scope, b"content-length")
        if any(len(text) > LONG or (text.isdecimal() and int(text) > self._max_body) for text in announced):
            return await _too_large(receive)
        body = bytearray()
        with anyio.move_on_after(BODY_TIME):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body") or b""
                if len(body) > self._max_body:
                    return await _too_large(receive) if message.get("more_body") else TOO_LARGE
                if not message.get("more_body"):
                    return bytes(body)
        return TOO_SLOW


async def _too_large(receive: Receive) -> Refusal | None:
    """Return the refusal after the rest of the body, at most `DRAIN_TIME` later.

    A client that is still sending does not read the response.
    """
    with anyio.move_on_after(DRAIN_TIME):
        while (message := await receive()).get("more_body"):
            pass
        if message["type"] == "http.disconnect":
            return None
    return TOO_LARGE


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that first returns the body that was already received."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return pending.pop() if pending else await receive()

    return again


def _guarded(send: Send) -> Send:
    """Return a `send` that adds the security headers."""

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return guarded
