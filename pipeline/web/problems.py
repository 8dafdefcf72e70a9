"""Errors of the API: exception handlers that respond with problems (RFC 9457), and their OpenAPI."""

import json
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from pipeline.run.stored.status import RunStateError
from pipeline.store.damage import DamagedRowError
from pipeline.store.store import StoreError, UnknownRunError
from pipeline.web.roots import PathOutsideRootsError
from pipeline.web.schemas import Diagnosed
from pipeline.web.streams.feeds import TooManyError
from tasks.errors import PatchyardError
from tasks.plan.parser import Diagnostic, PlanError
from tasks.text import plural, without_surrogates

MEDIA_TYPE = "application/problem+json"
MAX_MESSAGE = 2_000
"""Characters of a message; the rest is cut off."""


class RunConflictError(PatchyardError):
    """The state of the run does not allow the requested action."""


class NotFoundError(PatchyardError):
    """The requested part of a run or task does not exist."""


class ClosingError(PatchyardError):
    """The server is shutting down and starts nothing."""


class Fault(BaseModel):
    """An invalid part of a request; `where` is its path, such as `body.plan_path`."""

    where: str
    message: str


class Problem(BaseModel):
    """Why a request failed (RFC 9457). For an invalid plan, `diagnostics` has all its mistakes."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    faults: list[Fault] | None = Field(None, description="The invalid parts of the request.")
    diagnostics: list[Diagnosed] | None = Field(None, description="The mistakes of the plan.")


class ProblemResponse(Response):
    """A response with a problem."""

    media_type: ClassVar[str] = MEDIA_TYPE  # type: ignore[misc]  # Starlette declares an instance attribute


STATUSES: Sequence[tuple[type[PatchyardError], int]] = (
    (UnknownRunError, 404),
    (NotFoundError, 404),
    (PathOutsideRootsError, 403),
    (RunConflictError, 409),
    (RunStateError, 409),
    (TooManyError, 503),
    (ClosingError, 503),
    (DamagedRowError, 500),
    (StoreError, 503),
)
"""HTTP status per error class; other errors of patchyard are mistakes in the request (422)."""


def problem(
    status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: object
) -> ProblemResponse:
    """Return the response for a problem."""
    content = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": _printable(detail),
        **more,
    }
    return ProblemResponse(json.dumps(content), status, headers)


def _printable(text: str) -> str:
    return without_surrogates(text[:MAX_MESSAGE])


def diagnosed(found: Diagnostic) -> Diagnosed:
    """Convert a diagnostic of a plan to its API model."""
    return Diagnosed(
        path=_printable(found.path),
        line=found.line,
        column=found.column,
        severity="error" if str(found.severity) == "error" else "warning",
        message=_printable(found.message),
    )


AsPage = Callable[[Request, int, str], Response | None]
"""Returns an error, of a status and a detail, as a page; `None` for a client that takes a problem."""


def install_handlers(app: FastAPI, as_page: AsPage) -> None:
    """Make an app respond to errors with problems, or with pages, and document that in its OpenAPI."""

    @app.exception_handler(PatchyardError)
    async def known_error(request: Request, error: PatchyardError) -> Response:
        if isinstance(error, PlanError):
            found = [diagnosed(item).model_dump() for item in error.diagnostics]
            mistakes = sum(1 for item in found if item["severity"] == "error")
            detail = f"the plan has {plural(mistakes, 'mistake')}; correct them, and start it again"
            return problem(422, detail, diagnostics=found)
        status = next((status for kind, status in STATUSES if isinstance(error, kind)), 422)
        return as_page(request, status, _printable(str(error))) or problem(status, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid_request(request: Request, error: RequestValidationError) -> Response:
        faults = [
            {"where": _printable(".".join(map(str, item["loc"]))), "message": _printable(item["msg"])}
            for item in error.errors()[:100]
        ]
        summary = "; ".join(f"{fault['where']}: {fault['message']}" for fault in faults[:3])
        detail = f"invalid request: {summary}"
        return as_page(request, 422, detail) or problem(422, detail, faults=faults)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        shown = as_page(request, error.status_code, str(error.detail))
        return shown or problem(error.status_code, str(error.detail), headers=error.headers)

    @app.exception_handler(Exception)
    async def internal_error(request: Request, _error: Exception) -> Response:
        detail = "internal server error; see the server log"
        return as_page(request, 500, detail) or problem(500, detail)

    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # https://fastapi.tiangolo.com/how-to/extending-openapi/


COMMON_RESPONSES = {
    "400": "The request is malformed, or its Host header is missing or repeated.",
    "401": "The server requires a token, and the request has none or another.",
    "403": "The request comes from another site, or a path is outside of the roots.",
    "503": "The database is unavailable, or the server is shutting down.",
}
BODY_RESPONSES = {
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
}


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI with the errors that every route can return, all as problems."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    openapi = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    schemas = openapi.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem_schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem_schema.pop("$defs", {}) | {"Problem": problem_schema}
    openapi["components"]["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "PATCHYARD_TOKEN, if the server has one.",
        }
    }
    openapi["security"] = [{}, {"token": []}]
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for item in openapi["paths"].values():
        for method, operation in item.items():
            responses = operation["responses"]
            common = COMMON_RESPONSES | (BODY_RESPONSES if method == "post" else {})
            for status, description in common.items():
                responses.setdefault(status, {"description": description})
            for status, response in responses.items():
                if status >= "400":
                    response["content"] = content
    app.openapi_schema = openapi
    return openapi
