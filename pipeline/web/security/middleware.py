"""ASGI middleware: security headers, access by a policy, and a limit for bodies."""

import anyio
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.web.security.policy import Policy, Refusal, header_values, refusal

MAX_BODY = 1024 * 1024
"""Maximum size of a body, in bytes; the largest useful one is much smaller."""
BODY_TIME = 30.0
"""Seconds within which a body must arrive."""
DRAIN_TIME = 2.0
"""Seconds for which the rest of a body that is too large is read and discarded."""
LONG = 18
"""Maximum digits of a Content-Length; a longer number is not parsed."""
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
TOO_LARGE = Refusal(413, "Content Too Large", f"the body exceeds the maximum of {MAX_BODY} bytes")
TOO_SLOW = Refusal(408, "Request Timeout", f"the body did not arrive within {BODY_TIME:.0f} s")


class SecurityHeaders:
    """Adds the security headers to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request to the app, and its response with the headers."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class AccessCheck:
    """Refuses requests that a policy does not accept, and WebSockets, of which the server has none."""

    def __init__(self, app: ASGIApp, policy: Policy) -> None:
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an accepted request to the app, or send the refusal."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http" and (refused := refusal(self._policy, scope)):
            await refused.send(send)
        else:
            await self._app(scope, receive, send)


class BodyLimit:
    """Reads the whole body of a request, and refuses one that is too large or too slow."""

    def __init__(self, app: ASGIApp, max_body: int = MAX_BODY) -> None:
        self._app = app
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request with its body to the app, or send the refusal."""
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD", "OPTIONS"}:
            await self._app(scope, receive, send)
            return
        body = await self._read_body(scope, receive)
        if isinstance(body, Refusal):
            await body.send(send)
        elif body is not None:
            await self._app(scope, _replayed(body, receive), send)

    async def _read_body(self, scope: Scope, receive: Receive) -> bytes | Refusal | None:
        """Return the whole body, a refusal, or `None` if the client has disconnected."""
        announced = header_values(scope, b"content-length")
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


def secured(app: ASGIApp, policy: Policy, *, max_body: int = MAX_BODY) -> ASGIApp:
    """Return an app behind all three; a refusal has the security headers too."""
    return SecurityHeaders(AccessCheck(BodyLimit(app, max_body), policy))
