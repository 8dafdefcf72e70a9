"""The page: the runs, a run as a timeline that moves, a task with its log and its diff, and what can be done.

It is rendered here; htmx fetches parts of it, and takes what changes from server-sent events. Everything works
by links and forms alone, too.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, FastAPI, Header, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import ValidationError

from pipeline.run.paths import log_path, run_directory
from pipeline.store.records import StoredAttempt
from pipeline.view.diff import Diff, parse_diff
from pipeline.view.templating import STATIC, PageLinks, render
from pipeline.view.timeline import RUNNING, Bar, Row
from pipeline.web import actions
from pipeline.web.live_updates import LiveRuns, RunView, read_run
from pipeline.web.log_view import LogView
from pipeline.web.problems import NotFoundError
from pipeline.web.schemas import RUN_PATTERN, TASK_PATTERN, Start
from pipeline.web.services import LocatedRun, Services
from tasks.errors import PatchyardError
from tasks.model import Mode
from tasks.plan.parser import PlanError

KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""No script but those of the package; bars say by their style attribute where they stand."""
HEADERS = {
    "content-security-policy": POLICY,
    "cache-control": "no-store",
    "vary": "HX-Request",
    "referrer-policy": "same-origin",  # with none at all, a browser does not say where a form comes from
}
FOREVER = "public, max-age=31536000, immutable"
RUNS_SHOWN = 100
_LINE_ENDS = re.compile("\r\n|\r|\n")
RunName = Annotated[str, Path(pattern=RUN_PATTERN)]
TaskName = Annotated[str, Path(pattern=TASK_PATTERN)]
Number = Annotated[int | None, Query(ge=1, le=1_000_000)]


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task as the panel shows it: one attempt at it, of all that there were."""

    row: Row
    bar: Bar | None
    attempts: tuple[StoredAttempt, ...]
    number: int
    diff: Diff | None
    error: str | None
    has_log: bool

    @property
    def live(self) -> bool:
        """Whether the attempt goes on."""
        return self.bar is not None and self.bar.state == RUNNING


def router(services: Services) -> APIRouter:
    """Return the routes of the page. They live with the app that includes them."""
    live = LiveRuns(services)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with live.open():
            yield

    made = APIRouter(lifespan=lifespan, include_in_schema=False)
    pages = _Pages(services, live)
    made.get("/")(pages.runs)
    made.post("/runs")(pages.begin)
    made.get("/runs/{run}")(pages.run)
    made.get("/runs/{run}/changes")(pages.changes)
    made.get("/runs/{run}/tasks/{task}")(pages.task)
    made.get("/runs/{run}/tasks/{task}/log")(pages.log)
    made.post("/runs/{run}/{action}")(pages.act)
    made.get("/static/{name}")(pages.static)
    return made


class _Pages:
    """What the routes do."""

    def __init__(self, services: Services, live: LiveRuns) -> None:
        self._services = services
        self._live = live

    async def runs(self) -> Response:
        """Show the runs, the newest first, and the form that begins one."""
        return _page("runs.html", await self._runs_values())

    async def _runs_values(self) -> dict[str, object]:
        places = await self._services.runs()
        chosen = [await self._services.snapshot(place.run.id) for place in places[:RUNS_SHOWN]]
        repositories = await self._services.call(self._services.repositories.all)
        return {
            "runs": chosen,
            "total": len(places),
            "repositories": [str(repository.root) for repository in repositories],
            "modes": list(Mode),
            "form_errors": None,
            "values": defaultdict(str),
        }

    async def begin(self, request: Request) -> Response:
        """Begin a run, and lead to its page; errors in the plan are shown in the form."""
        values = {name: found[-1].strip() for name, found in (await _form(request)).items()}
        try:
            place, _ = await actions.begin(self._services, _start(values))
        except PlanError as error:
            return await self._refused(request, values, [*map(str, error.diagnostics)])
        except ValidationError as error:
            wrong = [f"{item['loc'][0]}: {item['msg']}" for item in error.errors()]
            return await self._refused(request, values, wrong)
        except PatchyardError as error:
            return await self._refused(request, values, [str(error)])
        return _to(request, PageLinks(place.run.id).of_run())

    async def _refused(self, request: Request, values: Mapping[str, str], form_errors: list[str]) -> Response:
        if _asked_by_htmx(request):
            return _page("form_errors.html", {"form_errors": form_errors})
        return _page(
            "runs.html",
            {**await self._runs_values(), "form_errors": form_errors, "values": defaultdict(str, values)},
            status=422,
        )

    async def run(self, run: RunName) -> Response:
        """Show a run."""
        place, shown = await self._shown(run)
        return _page("run.html", self._run_values(place, shown))

    async def _shown(self, run: str) -> tuple[LocatedRun, RunView]:
        place = await self._services.find(run)
        return place, await self._services.call(read_run, self._services, place, self._live.plans)

    def _run_values(self, place: LocatedRun, shown: RunView, task: TaskView | None = None) -> dict[str, object]:
        return {
            "shown": shown,
            "view": shown.view,
            "links": PageLinks(place.run.id),
            "repository": str(place.repository.root),
            "task": task,
        }

    async def task(
        self,
        request: Request,
        run: RunName,
        task: TaskName,
        attempt: Number = None,
    ) -> Response:
        """Show a task beside its run: the part alone where htmx asks for it."""
        place, shown = await self._shown(run)
        found = await self._services.call(_task_view, place, shown, task, attempt)
        values = self._run_values(place, shown, found)
        return _page("task.html" if _asked_by_htmx(request) else "run.html", values)

    async def changes(
        self,
        run: RunName,
        after: Annotated[int, Query(ge=0)] = 0,
        frame: Annotated[str, Query(max_length=16)] = "",
        last_event_id: Annotated[str | None, Header(max_length=32)] = None,
    ) -> Response:
        """Send what changes of a run, as HTML in server-sent events."""
        place = await self._services.find(run)
        self._services.subscribers.check_limit()
        seen = int(last_event_id) if last_event_id and last_event_id.isdecimal() else after
        return self._services.subscribers.stream(self._changes(place, seen, frame))

    async def _changes(self, place: LocatedRun, after: int, frame: str) -> AsyncIterator[bytes]:
        async for number, name, html in self._live.changes(place, after, frame):
            yield sent(name, html, number) if name else b""

    async def log(
        self, run: RunName, task: TaskName, attempt: Annotated[int, Query(ge=1, le=1_000_000)] = 1
    ) -> Response:
        """Send the log of an attempt from its beginning, and what is added to it, as server-sent events."""
        place = await self._services.find(run)
        self._services.subscribers.check_limit()
        path = log_path(run_directory(place.repository.common, place.run.id), task, attempt)

        async def is_over() -> bool:
            seen = await self._services.snapshot(place.run.id)
            own = [item for item in seen.attempts if (item.task, item.number) == (task, attempt)]
            return not own or own[0].status is not None or not seen.is_under_way

        async def source() -> AsyncIterator[bytes]:
            view = LogView(path)
            async for html in view.follow(self._services, is_over):
                yield sent("log", html) if html else b""
            yield sent("end", "")

        return self._services.subscribers.stream(source())

    async def act(self, request: Request, run: RunName, action: str) -> Response:
        """Cancel, pause, go on with, retry or publish a run, and lead back to its page."""
        acts: dict[str, Callable[[], Awaitable[Any]]] = {
            "cancel": lambda: actions.cancel(self._services, run),
            "pause": lambda: actions.pause(self._services, run),
            "resume": lambda: actions.go_on(self._services, run),
            "publish": lambda: actions.publish(self._services, run),
        }
        if action == "retry":
            tasks = (await _form(request)).get("task", [])
            await actions.retry(self._services, run, tasks)
        elif action in acts:
            await acts[action]()
        else:
            raise NotFoundError(f"nothing called {action[:50]} can be done with a run")
        place, shown = await self._shown(run)
        links = PageLinks(place.run.id)
        if action in {"cancel", "pause"} and _asked_by_htmx(request):
            return _page("actions.html", {"shown": shown, "view": shown.view, "links": links})
        return _to(request, links.of_run())

    async def static(self, name: str) -> Response:
        """Send a file that the page is made with; its address changes with its content."""
        path = STATIC / name
        if path.suffix not in KINDS or path.parent != STATIC or not path.is_file():
            raise NotFoundError(f"there is no {name[:50]} here")
        content = await self._services.call(path.read_bytes)
        return Response(content, media_type=KINDS[path.suffix], headers={"cache-control": FOREVER})


def _task_view(place: LocatedRun, shown: RunView, task: str, attempt: int | None) -> TaskView:
    """Return a task with one attempt at it: the last, unless another is asked for. Blocks."""
    row = shown.view.row(task)
    if row is None:
        raise NotFoundError(f"run {place.run.id} has no task {task}")
    attempts = place.store.attempts(place.run.id, task)
    number = attempt or max((item.number for item in attempts), default=1)
    bar = next((bar for bar in shown.view.bars(task) if bar.number == number), None)
    found = next((item for item in attempts if item.number == number), None)
    stored = next(iter(place.store.tasks(place.run.id, task)), None)
    patch = found.patch if found else None
    error = found.error if found else row.error
    if stored and stored.attempt == number:
        patch, error = stored.outcome.patch, stored.outcome.error
    return TaskView(
        row=row,
        bar=bar,
        attempts=attempts,
        number=number,
        diff=parse_diff(patch.diff) if patch and patch.diff else None,
        error=error,
        has_log=log_path(run_directory(place.repository.common, place.run.id), task, number).exists(),
    )


def _start(values: Mapping[str, str]) -> Start:
    """Return what a form says: fields that are empty are not said."""
    given: dict[str, Any] = {name: value for name, value in values.items() if value}
    for name in ("pool_size", "start_batch", "end_batch"):
        if given.get(name, "").isdecimal():
            given[name] = int(given[name])
    if "publish" in given:
        given["publish"] = True
    return Start.model_validate(given)


async def _form(request: Request) -> Mapping[str, list[str]]:
    """Return the fields of a form that was sent; bytes that are not UTF-8 become no error."""
    return parse_qs((await request.body()).decode(errors="replace"))


def _asked_by_htmx(request: Request) -> bool:
    """Whether a part of a page is asked for; a browser that goes back asks for the whole."""
    headers = request.headers
    return headers.get("hx-request") == "true" and headers.get("hx-history-restore-request") != "true"


def _to(request: Request, address: str) -> Response:
    """Lead to a page, in the way that whoever asks understands."""
    if _asked_by_htmx(request):
        return Response(status_code=204, headers={"hx-redirect": address})
    return RedirectResponse(address, status_code=303)


def _page(template: str, values: Mapping[str, object], status: int = 200) -> HTMLResponse:
    """Return a rendered page, or a part of one."""
    html = render(template, {**values, "static": address_of})
    return HTMLResponse(html, status, HEADERS)


@cache
def address_of(name: str) -> str:
    """Return the address of a file that the page is made with, which is another one when its content is."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()
    return f"/static/{name}?{digest[:12]}"


def sent(name: str, html: str, number: int | None = None) -> bytes:
    """Return HTML as a server-sent event."""
    lines = "".join(f"data: {line}\n" for line in _LINE_ENDS.split(html))
    begin = "" if number is None else f"id: {number}\n"
    return f"{begin}event: {name}\n{lines}\n".encode()
