"""The web application: its routers, middleware, lifespan and API documentation."""

import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse
from starlette.responses import FileResponse, Response

from pipeline.web.api.routes_runs import runs_router
from pipeline.web.api.routes_tasks import tasks_router
from pipeline.web.page.error_page import error_page
from pipeline.web.page.routes import router as pages_router
from pipeline.web.problems import NotFoundError, install_handlers
from pipeline.web.schemas import PREFIX, Health
from pipeline.web.security.middleware import secured
from pipeline.web.security.policy import Policy
from pipeline.web.services import ServerSettings, Services

DESCRIPTION = """
Runs plans and reports their progress. Each task of a plan runs in its own git worktree; its changes are a
patch, a branch and, if requested, a pull request. Errors are problems (RFC 9457).
"""
SWAGGER = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}
"""Files of the page at /docs, from the package `fastapi_offline`, with their media types."""
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


def create_app(settings: ServerSettings) -> FastAPI:
    """Return the app that serves the runs below the roots of the settings. Blocking.

    Workers and event streams run within its lifespan.
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
    install_handlers(app, error_page)
    app.include_router(runs_router(services), prefix=PREFIX, tags=["runs"])
    app.include_router(tasks_router(services), prefix=PREFIX, tags=["tasks"])
    app.include_router(_server(services, number), tags=["server"])
    app.include_router(_documentation(), include_in_schema=False)
    app.include_router(pages_router(services), include_in_schema=False)
    policy = Policy.of(settings.host, settings.token, settings.names)
    app.add_middleware(secured, policy=policy)
    return app


def _server(services: Services, number: str) -> APIRouter:
    router = APIRouter()

    @router.get("/health", summary="The state of the server")
    async def health() -> Health:
        """Return whether the server is available. No token is required."""
        return Health(status="closing" if services.workers.closing else "ok", version=number)

    return router


def _documentation() -> APIRouter:
    """Return the page at /docs, which loads nothing from other hosts."""
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
