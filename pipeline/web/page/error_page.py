"""Errors as pages, for a browser that opens an address."""

from http import HTTPStatus

from fastapi import Request
from fastapi.responses import Response

from pipeline.web.page.responses import page

API = "/api/"
"""How the addresses begin whose errors are problems for every client."""
ADVICE = "; `"
"""How the part of a message begins that names a command or a route, in place of which the page has links."""
TITLES = {404: "This page does not exist", 409: "This cannot be done now", 422: "This cannot be done"}


def error_page(request: Request, status: int, detail: str) -> Response | None:
    """Return an error as a page; `None` for a client that takes a problem: a program, or htmx."""
    headers = request.headers
    if (
        request.url.path.startswith(API)
        or "text/html" not in headers.get("accept", "")
        or headers.get("hx-request") == "true"
    ):
        return None
    title = TITLES.get(status, HTTPStatus(status).phrase)
    sentence = detail.partition(ADVICE)[0]
    shown = f"{sentence[:1].upper()}{sentence[1:]}."
    return page("error.html", {"heading": title, "status": status, "detail": shown}, status)
