"""Access policy: token, Host and Origin.

A web page of another site can make a browser send requests to this server, and can point a name of its own at
this machine's address (DNS rebinding). So the Host must be a name of this server, and the Origin and Sec-Fetch
headers of a browser must name a page of this server. Other clients, such as curl, send no Origin.
"""

import base64
import binascii
import hashlib
import hmac
import json
import socket
from collections.abc import Sequence
from dataclasses import field
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.types import Scope, Send

from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex

OPEN_PATHS = frozenset({"/health"})
"""Paths that require no token, for monitoring."""
AUTHORITY = regex(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?")
ORIGIN = regex(r"(https?)://(.+)")
PORTS = {"http": 80, "https": 443}
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

    async def send(self, send: Send) -> None:
        """Send the response."""
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
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


NO_HOST = Refusal(400, "Bad Request", "the request must have exactly one Host header")
OWN_PAGE = "open this server's own page, or use a client that is not a browser"
NO_TOKEN = Refusal(
    401,
    "Unauthorized",
    "authorization required: send `Authorization: Bearer` with the server's PATCHYARD_TOKEN",
)


def refusal(policy: Policy, scope: Scope) -> Refusal | None:
    """Check the headers of a request; return why it is refused, `None` if it is accepted."""
    hosts, origins = header_values(scope, b"host"), header_values(scope, b"origin")
    if len(hosts) != 1:
        return NO_HOST
    host = Authority.parse(hosts[0])
    if host is None or not policy.accepts_host(host):
        detail = f"unknown host name {hosts[0][:100]!r}; start the server with `--allow-host` to accept it"
        return Refusal(403, "Forbidden", detail)
    if origins and not (len(origins) == 1 and _is_origin_of(origins[0], host)):
        return Refusal(403, "Forbidden", f"requests from {origins[0][:100]!r} are not allowed; {OWN_PAGE}")
    site = header_values(scope, b"sec-fetch-site")
    if any(value not in {"same-origin", "none"} for value in site) and not _is_link(scope):
        return Refusal(403, "Forbidden", f"cross-site requests are not allowed; {OWN_PAGE}")
    if scope["path"] in OPEN_PATHS and scope.get("method") in {"GET", "HEAD"}:
        return None
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    return None if policy.accepts_token(given[0] if len(given) == 1 else None) else NO_TOKEN


def header_values(scope: Scope, name: bytes) -> list[str]:
    """Return the values of a header of a request, one for each line."""
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
    followed = "navigate" in header_values(scope, b"sec-fetch-mode") and "document" in header_values(
        scope, b"sec-fetch-dest"
    )
    return followed and scope.get("method") in {"GET", "HEAD"}
