"""The routes of tasks: details, log and diff."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi import Path as InPath
from starlette.responses import Response, StreamingResponse

from pipeline.store.records import StoredAttempt, StoredStep
from pipeline.store.store import UnknownRunError
from pipeline.web.api.log_response import log_messages, ranged
from pipeline.web.api.serializers import running_attempts, task_detail
from pipeline.web.problems import NotFoundError
from pipeline.web.schemas import EVENTS, RUN_PATTERN, TASK_PATTERN, TaskDetail
from pipeline.web.services import Services
from pipeline.web.snapshot import Snapshot, find_attempt, local_log
from pipeline.web.streams.log_tail import tail_log
from pipeline.web.streams.sse import EventStream
from tasks.model import Task

DIFF = "text/x-diff; charset=utf-8"
ExecutionId = Annotated[
    str, InPath(pattern=RUN_PATTERN, description="The id of a run, a unique prefix of it, or `latest`.")
]
Number = Annotated[
    str, InPath(pattern=TASK_PATTERN, description="The id of a task in the plan, such as `1.2`.")
]
AttemptNumber = Annotated[
    int | None, Query(ge=1, le=1_000_000, description="The number of the attempt; by default the last.")
]


def tasks_router(services: Services) -> APIRouter:
    """Return the routes of tasks."""
    router = APIRouter()

    @router.get("/{execution_id}/tasks/{number}", summary="A task", responses={404: {}, 422: {}})
    async def task(execution_id: ExecutionId, number: Number) -> TaskDetail:
        """Return a task with its attempts and their steps."""
        snapshot = await services.snapshot(execution_id)
        found = task_of(snapshot, number)
        located = await services.find(snapshot.run.id)

        def read() -> tuple[Mapping[int, Sequence[StoredStep]], list[int]]:
            numbers = [item.number for item in snapshot.attempts if item.task == number]
            steps = {item: located.store.steps(located.run.id, number, item) for item in numbers}
            logs = [
                item.number
                for item in snapshot.attempts
                if item.task == number
                and (path := local_log(snapshot, number, item.number, services.settings.environ))
                and path.is_file()
            ]
            return steps, logs

        return task_detail(snapshot, found, *await services.call(read))

    @router.get(
        "/{execution_id}/tasks/{number}/diff",
        summary="The diff of a task",
        response_class=Response,
        responses={
            200: {"content": {DIFF: {"schema": {"type": "string"}}}},
            404: {},
            422: {},
        },
    )
    async def diff(execution_id: ExecutionId, number: Number, attempt: AttemptNumber = None) -> Response:
        """Send the patch of a task, for `git apply --index`; also of a failed task."""
        snapshot = await services.snapshot(execution_id)
        task_of(snapshot, number)
        stored = snapshot.tasks.get(number)
        patch = stored.outcome.patch if stored else None
        if attempt is not None or stored is None:
            one = attempt_of(snapshot, number, attempt)
            patch = one.patch if one else None
        if patch is None:
            raise NotFoundError(f"task {number} of run {snapshot.run.id} has no patch")
        headers = {"content-length": str(patch.diff.size)}
        return StreamingResponse(patch.diff.blocks(), media_type=DIFF, headers=headers)

    _add_log_routes(router, services)
    return router


def _add_log_routes(router: APIRouter, services: Services) -> None:
    environ = services.settings.environ

    @router.get(
        "/{execution_id}/tasks/{number}/log",
        summary="The log of a task",
        response_class=Response,
        responses={
            200: {"content": {"text/plain; charset=utf-8": {"schema": {"type": "string"}}}},
            206: {
                "description": "The part that Range selects.",
                "content": {"text/plain; charset=utf-8": {"schema": {"type": "string"}}},
            },
            404: {},
            416: {"description": "The range is outside of the log."},
            422: {},
        },
    )
    async def log(
        execution_id: ExecutionId,
        number: Number,
        attempt: AttemptNumber = None,
        range: Annotated[str | None, Header(max_length=200)] = None,  # noqa: A002 - the header's name
    ) -> Response:
        """Send the log of a task, or the part that a Range header selects."""
        snapshot = await services.snapshot(execution_id)
        task_of(snapshot, number)
        attempt_of(snapshot, number, attempt)
        path = local_log(snapshot, number, attempt, environ)
        if path is None or not await services.call(path.is_file):
            raise NotFoundError(f"task {number} of run {snapshot.run.id} has no log on this machine")
        return await ranged(path, range)

    @router.get(
        "/{execution_id}/tasks/{number}/log/follow",
        summary="The log of a task, live",
        response_class=EventStream,
        status_code=200,
        responses={200: EVENTS, 404: {}, 422: {}},
    )
    async def follow_log(
        execution_id: ExecutionId,
        number: Number,
        attempt: AttemptNumber = None,
        last_event_id: Annotated[str | None, Header(max_length=32)] = None,
    ) -> Response:
        """Send the log of a task until the task ends, as server-sent events.

        Events are named `log`; `data` is JSON with `text` and `offset`, the position in bytes after the text,
        which is the `id` too: a client that reconnects with it as Last-Event-ID gets the rest. The last event
        is named `end`.
        """
        snapshot = await services.snapshot(execution_id)
        task_of(snapshot, number)
        attempt_of(snapshot, number, attempt)
        run = snapshot.run.id

        async def find() -> Path | None:
            seen = await services.snapshot(run)
            path = local_log(seen, number, attempt, environ)
            there = path is not None and await services.call(path.is_file)
            return path if there else None

        async def has_ended() -> bool:
            return _has_ended(await services.snapshot(run), number, attempt)

        services.subscribers.check_limit()
        start = int(last_event_id) if last_event_id and last_event_id.isdecimal() else 0
        parts = tail_log(find, has_ended, start, services.subscribers.closing.is_set)
        return services.subscribers.stream(log_messages(parts))


def task_of(snapshot: Snapshot, number: str) -> Task:
    """Return a task of a run.

    Raises:
        UnknownRunError: The plan of the run has no such task.
    """
    for task in snapshot.plan.tasks:
        if task.id == number:
            return task
    raise UnknownRunError(f"run {snapshot.run.id} has no task {number}")


def attempt_of(snapshot: Snapshot, number: str, attempt: int | None) -> StoredAttempt | None:
    """Return an attempt of a task, by default the last; `None` if the task was never started.

    Raises:
        NotFoundError: There is no attempt with that number.
    """
    found = find_attempt(snapshot, number, attempt)
    if found is None and attempt is not None:
        raise NotFoundError(f"task {number} of run {snapshot.run.id} has no attempt {attempt}")
    return found


def _has_ended(snapshot: Snapshot, number: str, attempt: int | None) -> bool:
    """Whether a log is complete: its attempt has ended, or the run is not running."""
    if not snapshot.activity.is_active:
        return True
    one = attempt_of(snapshot, number, attempt)
    if attempt is None:
        return number in snapshot.tasks and number not in running_attempts(snapshot)
    return one is None or one.status is not None
