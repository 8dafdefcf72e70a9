"""The pages: the list of runs, a run with its live timeline, a task with its log and its diff, and actions.

htmx fetches parts of a page, and replaces changed elements by server-sent events. Links and forms work without
scripts, too.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs

from fastapi import APIRouter, FastAPI, Header, Path, Query, Request
from fastapi.responses import Response
from pydantic import ValidationError

from pipeline.events import now
from pipeline.publish.preview import as_record
from pipeline.view.portions import first_bar, portions_of
from pipeline.view.templating import STATIC, PageLinks
from pipeline.web import actions
from pipeline.web.page.live_updates import LiveRuns
from pipeline.web.page.log_html import SHOWN, LogHtml
from pipeline.web.page.new_run import CHOICES, FormValues, NewRun, faults_of, read_form
from pipeline.web.page.publication import publication_of
from pipeline.web.page.responses import (
    FOREVER,
    KINDS,
    encode_event,
    form_fields,
    is_htmx,
    page,
    redirect,
)
from pipeline.web.page.run_list import read_run_list
from pipeline.web.page.run_view import RunView
from pipeline.web.page.task_view import TaskView, task_view
from pipeline.web.page.view_cache import RunViews
from pipeline.web.problems import NotFoundError
from pipeline.web.schemas import RUN_PATTERN, TASK_PATTERN
from pipeline.web.services import Services
from pipeline.web.snapshot import LocatedRun, find_attempt, local_log
from pipeline.web.streams.log_tail import tail_log
from tasks.dialects.wording import nothing_to_start
from tasks.errors import PatchyardError
from tasks.outcome import RunStatus
from tasks.plan.parser import PlanError

RunName = Annotated[str, Path(pattern=RUN_PATTERN)]
TaskName = Annotated[str, Path(pattern=TASK_PATTERN)]
Number = Annotated[int | None, Query(ge=1, le=1_000_000)]


def router(services: Services) -> APIRouter:
    """Return the routes of the pages, with a lifespan for their live updates."""
    live_runs = LiveRuns(services)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with live_runs.open():
            yield

    routes = APIRouter(lifespan=lifespan, include_in_schema=False)
    pages = _Pages(services, live_runs)
    routes.get("/")(pages.runs)
    routes.get("/new")(pages.new_run)
    routes.post("/runs")(pages.start_run)
    routes.get("/runs/{run}")(pages.run)
    routes.get("/runs/{run}/rows")(pages.rows)
    routes.get("/runs/{run}/publish")(pages.publication)
    routes.get("/runs/{run}/changes")(pages.changes)
    routes.get("/runs/{run}/tasks/{task}")(pages.task)
    routes.get("/runs/{run}/tasks/{task}/log")(pages.log)
    routes.post("/runs/{run}/{action}")(pages.act)
    routes.get("/static/{name}")(pages.static)
    return routes


class _Pages:
    """Handlers of the routes."""

    def __init__(self, services: Services, live_runs: LiveRuns) -> None:
        self._services = services
        self._live_runs = live_runs
        self._views = RunViews()

    async def runs(
        self,
        repository: Annotated[str, Query(max_length=4096)] = "",
        status: Annotated[RunStatus | Literal[""], Query()] = "",
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> Response:
        """Show the runs, the newest first."""
        found = await read_run_list(
            self._services, repository=repository or None, status=status or None, offset=offset
        )
        return page("runs.html", {"list": found, "statuses": list(RunStatus), "now": now()})

    async def new_run(self, request: Request) -> Response:
        """Show the form that starts a run, with the check of the plan that its query names."""
        values = FormValues.of(parse_qs(request.url.query))
        return self._form_page(await read_form(self._services, values))

    def _form_page(self, form: NewRun, status: int = 200) -> Response:
        values = {"form": form, "values": defaultdict(str, form.values), **CHOICES}
        return page("new.html", values, status)

    async def start_run(self, request: Request) -> Response:
        """Start a run and redirect to its page; errors in the plan are shown in the form."""
        values = FormValues.of(await form_fields(request))
        try:
            located, prepared = await actions.start_run(self._services, values.start())
        except PlanError as error:
            return await self._show_form_errors(request, values, [*map(str, error.diagnostics)])
        except ValidationError as error:
            return await self._show_form_errors(request, values, faults_of(error))
        except PatchyardError as error:
            return await self._show_form_errors(request, values, [str(error)])
        if located is None:
            left = f"{prepared.plan.path}: {nothing_to_start(prepared.plan)}; no run was started"
            return await self._show_form_errors(request, values, [left])
        return redirect(request, PageLinks(located.run.id).of_run())

    async def _show_form_errors(self, request: Request, values: FormValues, errors: Sequence[str]) -> Response:
        if is_htmx(request):
            return page("form_errors.html", {"form_errors": errors})
        return self._form_page(await read_form(self._services, values, errors), 422)

    async def run(self, run: RunName, rows: Annotated[Literal["all", ""], Query()] = "") -> Response:
        """Show a run, with the first of its rows if it has many; with `rows` of `all`, with every row."""
        located, view = await self._read(run)
        return page("run.html", self._run_values(located, view, every_row=rows == "all"))

    async def rows(self, run: RunName, stage: int | None = None, number: int | None = None) -> Response:
        """Send rows that a page does not have: a portion of a stage, or all."""
        located, view = await self._read(run)
        found = [
            one
            for portions in portions_of(view.timeline).values()
            for one in portions
            if not one.is_there and (stage is None or (one.stage, one.number) == (stage, number))
        ]
        return page("rows.html", {"portions": found, "links": PageLinks(located.run.id)})

    async def _read(self, run: str) -> tuple[LocatedRun, RunView]:
        located = await self._services.find(run)
        return located, await self._services.call(self._views.read, self._services.run_reader, located)

    def _run_values(
        self, located: LocatedRun, view: RunView, task: TaskView | None = None, *, every_row: bool = False
    ) -> dict[str, object]:
        return {
            "page": view,
            "timeline": view.timeline,
            "portions": portions_of(view.timeline, every=every_row),
            "first_bar": first_bar(view.timeline),
            "links": PageLinks(located.run.id),
            "repository": str(located.repository.root),
            "task": task,
            "publication": None,
        }

    async def task(
        self,
        request: Request,
        run: RunName,
        task: TaskName,
        attempt: Number = None,
    ) -> Response:
        """Show a task beside its run, or only its panel if htmx requests it."""
        located, view = await self._read(run)
        snapshot = await self._services.snapshot(located.run.id)
        environ = self._services.settings.environ
        found = await self._services.call(task_view, located, snapshot, view, task, attempt, environ)
        values = self._run_values(located, view, found)
        return page("task.html" if is_htmx(request) else "run.html", values)

    async def publication(self, request: Request, run: RunName) -> Response:
        """Show what publishing a run would do, beside the run or only the panel."""
        found = await actions.preview_publication(self._services, run, publication_of({}))
        record = await self._services.call(as_record, found)
        located, view = await self._read(run)
        values = self._run_values(located, view) | {"publication": record}
        return page("publication.html" if is_htmx(request) else "run.html", values)

    async def changes(
        self,
        run: RunName,
        after: Annotated[int, Query(ge=0)] = 0,
        frame: Annotated[str, Query(max_length=16)] = "",
        last_event_id: Annotated[str | None, Header(max_length=32)] = None,
    ) -> Response:
        """Send the changes of a run as HTML in server-sent events."""
        located = await self._services.find(run)
        self._services.subscribers.check_limit()
        seen = int(last_event_id) if last_event_id and last_event_id.isdecimal() else after
        return self._services.subscribers.stream(self._changes(located, seen, frame))

    async def _changes(self, located: LocatedRun, after: int, frame: str) -> AsyncIterator[bytes]:
        async for number, name, html in self._live_runs.changes(located, after, frame):
            yield encode_event(name, html, number) if name else b""

    async def log(
        self, run: RunName, task: TaskName, attempt: Annotated[int, Query(ge=1, le=1_000_000)] = 1
    ) -> Response:
        """Send the log of an attempt, and what is added to it, as server-sent events."""
        located = await self._services.find(run)
        self._services.subscribers.check_limit()
        snapshot = await self._services.snapshot(located.run.id)
        path = local_log(snapshot, task, attempt, self._services.settings.environ)

        async def is_over() -> bool:
            current = await self._services.snapshot(located.run.id)
            found = find_attempt(current, task, attempt)
            return found is None or found.status is not None or not current.activity.is_active

        async def find() -> FilePath | None:
            return path

        async def source() -> AsyncIterator[bytes]:
            if path is not None:
                html = LogHtml()
                closing = self._services.subscribers.closing
                async for part in tail_log(find, is_over, -SHOWN, closing.is_set):
                    added = html.add(part)
                    yield encode_event("log", added) if added else b""
            yield encode_event("end", "")

        return self._services.subscribers.stream(source())

    async def act(self, request: Request, run: RunName, action: str) -> Response:
        """Cancel, pause, resume, retry or publish a run, and redirect to its page."""
        fields = await form_fields(request)
        handlers: dict[str, Callable[[], Awaitable[Any]]] = {
            "cancel": lambda: actions.cancel(self._services, run),
            "pause": lambda: actions.pause(self._services, run),
            "resume": lambda: actions.resume(self._services, run),
            "publish": lambda: actions.publish(self._services, run, publication_of(fields)),
            "retry": lambda: actions.retry(
                self._services,
                run,
                fields.get("task", []),
                keep="keep" in fields,
                onto=fields.get("onto", []),
                feedback=fields.get("feedback", [None])[-1],
            ),
        }
        if action in handlers:
            await handlers[action]()
        else:
            raise NotFoundError(f"there is no action {action[:50]}")
        located, view = await self._read(run)
        links = PageLinks(located.run.id)
        if action in {"cancel", "pause"} and is_htmx(request):
            return page("actions.html", {"page": view, "timeline": view.timeline, "links": links})
        return redirect(request, links.of_run())

    async def static(self, name: str) -> Response:
        """Send a static file; its address changes with its content."""
        path = STATIC / name
        if path.suffix not in KINDS or path.parent != STATIC or not path.is_file():
            raise NotFoundError(f"there is no file {name[:50]}")
        content = await self._services.call(path.read_bytes)
        return Response(content, media_type=KINDS[path.suffix], headers={"cache-control": FOREVER})
