"""Responses of the pages: HTML with its headers, redirects, static files and server-sent events."""

import hashlib
from collections.abc import Mapping
from functools import cache
from urllib.parse import parse_qs

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from pipeline.view.templating import STATIC, render
from tasks.lazy.patterns import regex

KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""Only scripts of the package run. Timeline bars have their position in the style attribute."""
HEADERS = {
    "content-security-policy": POLICY,
    "cache-control": "no-store",
    "vary": "HX-Request",
    "referrer-policy": "same-origin",  # with `no-referrer`, a browser sends `Origin: null` with a form
}
FOREVER = "public, max-age=31536000, immutable"
_LINE_ENDS = regex("\r\n|\r|\n")


async def form_fields(request: Request) -> Mapping[str, list[str]]:
    """Return the fields of a submitted form; bytes that are not UTF-8 are replaced."""
    return parse_qs((await request.body()).decode(errors="replace"))


def is_htmx(request: Request) -> bool:
    """Whether htmx requests a part of a page; for its history, it requests the whole page."""
    headers = request.headers
    return headers.get("hx-request") == "true" and headers.get("hx-history-restore-request") != "true"


def redirect(request: Request, address: str) -> Response:
    """Redirect to a page: htmx needs a header of its own, as it cannot see a 303."""
    if is_htmx(request):
        return Response(status_code=204, headers={"hx-redirect": address})
    return RedirectResponse(address, status_code=303)


def page(template: str, values: Mapping[str, object], status: int = 200) -> HTMLResponse:
    """Return a rendered page, or a part of it."""
    html = render(template, {**values, "static": static_address})
    return HTMLResponse(html, status, HEADERS)


@cache
def static_address(name: str) -> str:
    """Return the address of a static file, which contains a hash of its content."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()
    return f"/static/{name}?{digest[:12]}"


def encode_event(name: str, html: str, number: int | None = None) -> bytes:
    """Return HTML as a server-sent event."""
    lines = "".join(f"data: {line}\n" for line in _LINE_ENDS.split(html))
    begin = "" if number is None else f"id: {number}\n"
    return f"{begin}event: {name}\n{lines}\n".encode()
