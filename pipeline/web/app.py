"""Door 2: HTTP. The app, its documentation, and the routes of runs."""

import importlib.util
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Header, Query
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, TypeAdapter
from starlette.responses import FileResponse, Response

from pipeline.web import actions
from pipeline.web import routes_tasks as api_tasks
from pipeline.web.problems import NotFoundError, diagnosed, install
from pipeline.web.schemas import (
    EVENTS,
    RUN_PATTERN,
    Asked,
    BatchState,
    ExecutionList,
    ExecutionState,
    Health,
    Retry,
    Start,
    Started,
)
from pipeline.web.security import Access, Policy
from pipeline.web.serializers import batch_states, execution_state, execution_status
from pipeline.web.services import LocatedRun, ServerSettings, Services
from pipeline.web.sse import EventStream

PREFIX = "/api/v1/autonomous"
DESCRIPTION = """
Runs plans, and tells how they go. A plan's tasks run in git worktrees of their own; what each changed is a
patch, a branch and, where asked for, a pull request. Refusals are problems as RFC 9457 has them.
"""
SWAGGER = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}
"""Files of the page at /docs that a package of their own brings."""
DOCS_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>patchyard: the API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
DOCS_START = """SwaggerUIBundle({
  url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"""
ExecutionId = Annotated[
    str,
    InPath(pattern=RUN_PATTERN, description="A run's id, the beginning of one, or `latest`."),
]
LastEventId = Annotated[
    str | None,
    Header(max_length=32, description="The `id` of the last event that was seen; the rest is sent."),
]
BATCHES = TypeAdapter(list[BatchState])
JSON = "application/json"


def create_app(settings: ServerSettings) -> FastAPI:
    """Return the app that serves the runs below the roots of some settings.

    It checks who gets in. Its life begins and ends with its lifespan: workers, and those who follow.
    """
    services = Services(settings)
    number = version("patchyard")

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with services.open():
            yield

    app = FastAPI(
        title="patchyard",
        version=number,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.services = services
    install(app)
    app.include_router(_runs(services), prefix=PREFIX, tags=["runs"])
    app.include_router(api_tasks.router(services), prefix=PREFIX, tags=["tasks"])
    app.include_router(_server(services, number), tags=["server"])
    app.include_router(_documentation(), include_in_schema=False)
    if importlib.util.find_spec("pipeline.web.pages"):
        pages: Any = importlib.import_module("pipeline.web.pages")
        app.include_router(pages.router(services), include_in_schema=False)
    policy = Policy.of(settings.host, settings.token, settings.names)
    app.add_middleware(Access, policy=policy)
    return app


def _json(model: BaseModel) -> bytes:
    return model.model_dump_json().encode()


def _server(services: Services, number: str) -> APIRouter:
    router = APIRouter()

    @router.get("/health", summary="Whether the server answers")
    async def health() -> Health:
        """Tell that the server answers. It needs no token."""
        return Health(status="closing" if services.workers.closing else "ok", version=number)

    return router


def _runs(services: Services) -> APIRouter:
    router = APIRouter()

    @router.post("/start", summary="Run a plan", responses={409: {}, 422: {}})
    async def start(body: Start) -> Started:
        """Check a plan, and run it as soon as a worker is free; answers at once."""
        place, prepared = await actions.begin(services, body)
        return Started(
            execution_id=place.run.id,
            status="started",
            batches_scheduled=len(prepared.plan.batches),
            warnings=[diagnosed(found) for found in prepared.warnings],
        )

    @router.get("", summary="List the runs", responses={422: {}})
    async def executions(
        limit: Annotated[int, Query(ge=1, le=1000, description="How many, of the newest.")] = 50,
        offset: Annotated[int, Query(ge=0, le=1_000_000, description="How many to leave out.")] = 0,
    ) -> ExecutionList:
        """List the runs of every repository below the roots, the newest first."""
        chosen, total = await services.listed(offset, limit)
        return ExecutionList(executions=[execution_state(item) for item in chosen], total=total)

    @router.get(
        "/{execution_id}/status",
        summary="Where a run stands",
        response_model=ExecutionState,
        responses={404: {}, 422: {}},
    )
    async def status(execution_id: ExecutionId) -> Response:
        """Tell where a run stands: what is done, and what is published."""
        content = await services.rendered(execution_id, "status", lambda seen: _json(execution_state(seen)))
        return Response(content, media_type=JSON)

    @router.get(
        "/{execution_id}/batches",
        summary="The batches of a run, and their tasks",
        response_model=list[BatchState],
        responses={404: {}, 422: {}},
    )
    async def batches(execution_id: ExecutionId) -> Response:
        """Tell of the batches of a run, and of their tasks."""
        content = await services.rendered(
            execution_id, "batches", lambda seen: BATCHES.dump_json(batch_states(seen))
        )
        return Response(content, media_type=JSON)

    @router.get(
        "/{execution_id}/events",
        summary="The events of a run, as they come",
        response_class=EventStream,
        status_code=200,
        responses={
            200: EVENTS,
            204: {"description": "The run is over, and everything was seen."},
            404: {},
            422: {},
        },
    )
    async def events(
        execution_id: ExecutionId,
        last_event_id: LastEventId = None,
        after: Annotated[int, Query(ge=0, le=2**53, description="As Last-Event-ID, which wins.")] = 0,
    ) -> Response:
        """Send what happened in a run, and what happens, as server-sent events.

        `event` is the name and `data` the record that `patchyard run --json` writes; `id` counts from 1. The
        stream ends with the run. Whoever comes again with the last `id` as Last-Event-ID gets the rest, and 204
        when there is none.
        """
        seen = int(last_event_id) if last_event_id and last_event_id.isdecimal() else after
        if seen and await services.has_seen_all(execution_id, seen):
            return Response(status_code=204)
        return services.subscribers.stream(await services.follow(execution_id, seen))

    _add_actions(router, services)
    return router


def _add_actions(router: APIRouter, services: Services) -> None:
    """Add the routes by which something is asked of a run."""

    async def asked(place: LocatedRun, tasks: tuple[str, ...] | None = None) -> Asked:
        snapshot = await services.snapshot(place.run.id)
        return Asked(
            execution_id=place.run.id,
            status=execution_status(snapshot),
            run_status=str(snapshot.standing),
            request=None if snapshot.run.request is None else str(snapshot.run.request),
            tasks=None if tasks is None else list(tasks),
        )

    def add(name: str, summary: str) -> Callable[..., Any]:
        return router.post(f"/{{execution_id}}/{name}", summary=summary, responses={404: {}, 409: {}, 422: {}})

    @add("cancel", "End a run")
    async def cancel(execution_id: ExecutionId) -> Asked:
        """End a run: tasks under way get their grace, and their patches are kept."""
        return await asked(await actions.cancel(services, execution_id))

    @add("pause", "Begin no more tasks")
    async def pause(execution_id: ExecutionId) -> Asked:
        """Begin no more tasks of a run; those under way go on to their ends."""
        return await asked(await actions.pause(services, execution_id))

    @add("resume", "Go on with a run")
    async def resume(execution_id: ExecutionId) -> Asked:
        """Go on with a run that was paused, cut off or cancelled, or could not go on. Nothing is done twice."""
        return await asked(await actions.go_on(services, execution_id))

    @add("retry", "Run tasks again")
    async def retry(execution_id: ExecutionId, body: Retry | None = None) -> Asked:
        """Run tasks again, with what builds on them: those named, else every one that failed."""
        place, tasks = await actions.retry(services, execution_id, (body or Retry()).tasks)
        return await asked(place, tasks)

    @add("publish", "Open the pull requests of a run")
    async def publish(execution_id: ExecutionId) -> Asked:
        """Push the branches of a run and open its pull requests, or bring them up to date.

        Answers at once; `publishing` of the run's status tells how it goes.
        """
        return await asked(await actions.publish(services, execution_id))


def _documentation() -> APIRouter:
    """Return the page at /docs, which needs no other host."""
    router = APIRouter()
    package = importlib.util.find_spec("fastapi_offline")
    directory = Path(package.origin or "").parent / "static" if package else Path("/nowhere")

    @router.get("/docs")
    async def docs() -> HTMLResponse:
        return HTMLResponse(DOCS_PAGE)

    @router.get("/docs/{name}")
    async def docs_file(name: str) -> Response:
        if name == "start.js":
            return Response(DOCS_START, media_type="text/javascript")
        if name not in SWAGGER:
            raise NotFoundError(f"there is no {name[:50]} here")
        return FileResponse(directory / name, media_type=SWAGGER[name])

    return router
