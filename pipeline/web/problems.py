"""What the API answers when it cannot do what was asked: problems, as RFC 9457 has them, and only those."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from pipeline.run.lifecycle import RunStateError
from pipeline.store.store import StoreError, UnknownRunError
from pipeline.web.feeds import TooManyError
from pipeline.web.roots import PathOutsideRootsError
from pipeline.web.schemas import Diagnosed
from tasks.errors import PatchyardError
from tasks.plan.parser import Diagnostic, PlanError
from tasks.text import plural

MEDIA_TYPE = "application/problem+json"
LONGEST = 2_000
"""Characters of a message that are told."""


class RunConflictError(PatchyardError):
    """A run is not where it would have to be for what was asked of it."""


class NotFoundError(PatchyardError):
    """A run or a task has nothing of the kind that was asked for."""


class ClosingError(PatchyardError):
    """The server is about to end and begins nothing."""


class Fault(BaseModel):
    """Something of a request that is not as it has to be; `where` is such as `body.plan_path`."""

    where: str
    message: str


class Problem(BaseModel):
    """Why something was not done (RFC 9457). A plan with mistakes has all of them in `diagnostics`."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    faults: list[Fault] | None = Field(None, description="What is wrong with the request.")
    diagnostics: list[Diagnosed] | None = Field(None, description="The mistakes of the plan.")


class ProblemResponse(Response):
    """A response that says why something was not done."""

    media_type: ClassVar[str] = MEDIA_TYPE  # type: ignore[misc]  # it is the class's, and stays


STATUSES: Sequence[tuple[type[PatchyardError], int]] = (
    (UnknownRunError, 404),
    (NotFoundError, 404),
    (PathOutsideRootsError, 403),
    (RunConflictError, 409),
    (RunStateError, 409),
    (TooManyError, 503),
    (ClosingError, 503),
    (StoreError, 503),
)
"""What an error of the program's own is to a caller; the rest are mistakes in what was asked."""


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
    return text[:LONGEST].encode("utf-8", "backslashreplace").decode()


def diagnosed(found: Diagnostic) -> Diagnosed:
    """Return a diagnostic of a plan as the API tells it."""
    return Diagnosed(
        path=_printable(found.path),
        line=found.line,
        column=found.column,
        severity="error" if str(found.severity) == "error" else "warning",
        message=_printable(found.message),
    )


def install(app: FastAPI) -> None:
    """Let an app answer with problems, and say so in its OpenAPI."""

    @app.exception_handler(PatchyardError)
    async def own(_request: Request, error: PatchyardError) -> Response:
        if isinstance(error, PlanError):
            found = [diagnosed(item).model_dump() for item in error.diagnostics]
            mistakes = sum(1 for item in found if item["severity"] == "error")
            detail = f"the plan has {plural(mistakes, 'mistake')}; correct them, and start it again"
            return problem(422, detail, diagnostics=found)
        status = next((status for kind, status in STATUSES if isinstance(error, kind)), 422)
        return problem(status, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> Response:
        faults = [
            {"where": _printable(".".join(map(str, item["loc"]))), "message": _printable(item["msg"])}
            for item in error.errors()[:100]
        ]
        said = "; ".join(f"{fault['where']}: {fault['message']}" for fault in faults[:3])
        return problem(422, f"the request is not as it has to be: {said}", faults=faults)

    @app.exception_handler(HTTPException)
    async def plain(_request: Request, error: HTTPException) -> Response:
        return problem(error.status_code, str(error.detail), headers=error.headers)

    @app.exception_handler(Exception)
    async def broken(_request: Request, _error: Exception) -> Response:
        return problem(500, "the server has a defect; its log says more")

    app.openapi = lambda: _documented(app)  # type: ignore[method-assign]  # FastAPI's own way to change it


EVERYWHERE = {
    "400": "The request cannot be understood, or does not say where it goes.",
    "401": "The server has a token, and the request does not.",
    "403": "A page elsewhere asks, or a path leads out of the roots.",
    "503": "The database cannot be used now, or the server is about to end.",
}
WITH_A_BODY = {
    "408": "The body did not arrive in time.",
    "413": "The body is too long.",
}


def _documented(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI in which every refusal is a problem, and those that any route may give are told."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    told = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    schemas = told.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    made = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= made.pop("$defs", {}) | {"Problem": made}
    told["components"]["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "PATCHYARD_TOKEN, where the server has one.",
        }
    }
    told["security"] = [{}, {"token": []}]
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for item in told["paths"].values():
        for method, operation in item.items():
            responses = operation["responses"]
            common = EVERYWHERE | (WITH_A_BODY if method == "post" else {})
            for status, description in common.items():
                responses.setdefault(status, {"description": description})
            for status, response in responses.items():
                if status >= "400":
                    response["content"] = content
    app.openapi_schema = told
    return told
