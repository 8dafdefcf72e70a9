"""The pages: the list of runs, a run with its live timeline, a task with its log and its diff, and actions.

htmx fetches parts of a page, and replaces changed elements by server-sent events. Links and forms work without
scripts, too.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path as FilePath
from typing import Annotated, Any
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, FastAPI, Header, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import ValidationError

from pipeline.store.records import StoredAttempt
from pipeline.view.diff import Diff, parse_diff
from pipeline.view.templating import STATIC, PageLinks, render
from pipeline.view.timeline import RUNNING, Bar, Row
from pipeline.web import actions
from pipeline.web.page.live_updates import LiveRuns
from pipeline.web.page.log_html import SHOWN, LogHtml
from pipeline.web.page.run_view import RunView, read_run_view
from pipeline.web.problems import NotFoundError
from pipeline.web.schemas import PREFIX, RUN_PATTERN, TASK_PATTERN, Start
from pipeline.web.services import Services
from pipeline.web.snapshot import LocatedRun, Snapshot, find_attempt, local_log
from pipeline.web.streams.log_tail import tail_log
from tasks.dialects.dialect import NAMES, Order, UnitKind
from tasks.dialects.wording import nothing_to_start
from tasks.errors import PatchyardError
from tasks.model import Mode, PullRequestScope
from tasks.plan.parser import PlanError

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
RUNS_SHOWN = 100
_LINE_ENDS = re.compile("\r\n|\r|\n")
RunName = Annotated[str, Path(pattern=RUN_PATTERN)]
TaskName = Annotated[str, Path(pattern=TASK_PATTERN)]
Number = Annotated[int | None, Query(ge=1, le=1_000_000)]


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task in its panel: one of its attempts, and the list of all."""

    row: Row
    bar: Bar | None
    attempts: tuple[StoredAttempt, ...]
    number: int
    diff: Diff | None
    raw: str
    """The address of the whole patch."""
    error: str | None
    has_log: bool

    @property
    def live(self) -> bool:
        """Whether the attempt is running."""
        return self.bar is not None and self.bar.state == RUNNING


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
    routes.post("/runs")(pages.start_run)
    routes.get("/runs/{run}")(pages.run)
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

    async def runs(self) -> Response:
        """Show the runs, the newest first, and the form that starts a run."""
        return _page("runs.html", await self._runs_values())

    async def _runs_values(self) -> dict[str, object]:
        snapshots, total = await self._services.listed(limit=RUNS_SHOWN)
        repositories = await self._services.call(self._services.repositories.all)
        return {
            "runs": snapshots,
            "total": total,
            "repositories": [str(repository.root) for repository in repositories],
            "modes": list(Mode),
            "dialects": NAMES,
            "units": list(UnitKind),
            "scopes": list(PullRequestScope),
            "orders": list(Order),
            "form_errors": None,
            "values": defaultdict(str),
        }

    async def start_run(self, request: Request) -> Response:
        """Start a run and redirect to its page; errors in the plan are shown in the form."""
        values = {name: found[-1].strip() for name, found in (await _form(request)).items()}
        try:
            located, prepared = await actions.start_run(self._services, _parse_start(values))
        except PlanError as error:
            return await self._show_form_errors(request, values, [*map(str, error.diagnostics)])
        except ValidationError as error:
            messages = [f"{item['loc'][0]}: {item['msg']}" for item in error.errors()]
            return await self._show_form_errors(request, values, messages)
        except PatchyardError as error:
            return await self._show_form_errors(request, values, [str(error)])
        if located is None:
            left = f"{prepared.plan.path}: {nothing_to_start(prepared.plan)}; no run was started"
            return await self._show_form_errors(request, values, [left])
        return _redirect(request, PageLinks(located.run.id).of_run())

    async def _show_form_errors(
        self, request: Request, values: Mapping[str, str], form_errors: list[str]
    ) -> Response:
        if _is_htmx(request):
            return _page("form_errors.html", {"form_errors": form_errors})
        return _page(
            "runs.html",
            {**await self._runs_values(), "form_errors": form_errors, "values": defaultdict(str, values)},
            status=422,
        )

    async def run(self, run: RunName) -> Response:
        """Show a run."""
        located, view = await self._read(run)
        return _page("run.html", self._run_values(located, view))

    async def _read(self, run: str) -> tuple[LocatedRun, RunView]:
        located = await self._services.find(run)
        return located, await self._services.call(read_run_view, self._services.run_reader, located)

    def _run_values(
        self, located: LocatedRun, view: RunView, task: TaskView | None = None
    ) -> dict[str, object]:
        return {
            "page": view,
            "timeline": view.timeline,
            "links": PageLinks(located.run.id),
            "repository": str(located.repository.root),
            "task": task,
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
        found = await self._services.call(_task_view, located, snapshot, view, task, attempt, environ)
        values = self._run_values(located, view, found)
        return _page("task.html" if _is_htmx(request) else "run.html", values)

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
        handlers: dict[str, Callable[[], Awaitable[Any]]] = {
            "cancel": lambda: actions.cancel(self._services, run),
            "pause": lambda: actions.pause(self._services, run),
            "resume": lambda: actions.resume(self._services, run),
            "publish": lambda: actions.publish(self._services, run),
        }
        if action == "retry":
            tasks = (await _form(request)).get("task", [])
            await actions.retry(self._services, run, tasks)
        elif action in handlers:
            await handlers[action]()
        else:
            raise NotFoundError(f"there is no action {action[:50]}")
        located, view = await self._read(run)
        links = PageLinks(located.run.id)
        if action in {"cancel", "pause"} and _is_htmx(request):
            return _page("actions.html", {"page": view, "timeline": view.timeline, "links": links})
        return _redirect(request, links.of_run())

    async def static(self, name: str) -> Response:
        """Send a static file; its address changes with its content."""
        path = STATIC / name
        if path.suffix not in KINDS or path.parent != STATIC or not path.is_file():
            raise NotFoundError(f"there is no file {name[:50]}")
        content = await self._services.call(path.read_bytes)
        return Response(content, media_type=KINDS[path.suffix], headers={"cache-control": FOREVER})


def _task_view(  # noqa: PLR0913, PLR0917 - called in a thread, by position
    located: LocatedRun,
    snapshot: Snapshot,
    view: RunView,
    task: str,
    attempt: int | None,
    environ: Mapping[str, str],
) -> TaskView:
    """Return a task with one of its attempts, the last one without a number. Blocks.

    Raises:
        NotFoundError: The run has no such task.
    """
    row = view.timeline.row(task)
    if row is None:
        raise NotFoundError(f"run {located.run.id} has no task {task}")
    attempts = located.store.attempts(located.run.id, task)
    number = attempt or max((item.number for item in attempts), default=1)
    bar = next((bar for bar in view.timeline.bars(task) if bar.number == number), None)
    found = next((item for item in attempts if item.number == number), None)
    stored = next(iter(located.store.tasks(located.run.id, task)), None)
    patch = found.patch if found else None
    error = found.error if found else row.error
    if stored and stored.attempt == number:
        patch, error = stored.outcome.patch, stored.outcome.error
    path = local_log(snapshot, task, number, environ)
    return TaskView(
        row=row,
        bar=bar,
        attempts=attempts,
        number=number,
        diff=parse_diff(patch.diff) if patch and patch.diff else None,
        raw=f"{PREFIX}/{located.run.id}/tasks/{quote(task)}/diff{f'?attempt={number}' if found else ''}",
        error=error,
        has_log=path is not None and path.is_file(),
    )


def _parse_start(values: Mapping[str, str]) -> Start:
    """Return the values of the form; empty fields count as absent.

    Raises:
        ValidationError: A value is wrong.
    """
    given: dict[str, Any] = {name: value for name, value in values.items() if value}
    for name in ("pool_size", "start_batch", "end_batch"):
        if given.get(name, "").isdecimal():
            given[name] = int(given[name])
    given |= {name: True for name in ("publish", "optional") if name in given}
    return Start.model_validate(given)


async def _form(request: Request) -> Mapping[str, list[str]]:
    """Return the fields of a submitted form; bytes that are not UTF-8 are replaced."""
    return parse_qs((await request.body()).decode(errors="replace"))


def _is_htmx(request: Request) -> bool:
    """Whether htmx requests a part of a page; for its history, it requests the whole page."""
    headers = request.headers
    return headers.get("hx-request") == "true" and headers.get("hx-history-restore-request") != "true"


def _redirect(request: Request, address: str) -> Response:
    """Redirect to a page: htmx needs a header of its own, as it cannot see a 303."""
    if _is_htmx(request):
        return Response(status_code=204, headers={"hx-redirect": address})
    return RedirectResponse(address, status_code=303)


def _page(template: str, values: Mapping[str, object], status: int = 200) -> HTMLResponse:
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
