"""The routes of runs: start, list, inspect, subscribe to events, act."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi import Path as InPath
from pydantic import BaseModel, TypeAdapter
from starlette.responses import Response

from pipeline.publish.preview import as_record
from pipeline.web import actions
from pipeline.web.api.conflicts import conflict_states
from pipeline.web.api.serializers import batch_states, execution_state, execution_status
from pipeline.web.problems import diagnosed
from pipeline.web.result_schemas import ConflictState, PublishPreview
from pipeline.web.schemas import (
    EVENTS,
    RUN_PATTERN,
    Asked,
    BatchState,
    ExecutionList,
    ExecutionState,
    Publish,
    Resume,
    Retry,
    Start,
    Started,
)
from pipeline.web.services import Services
from pipeline.web.snapshot import LocatedRun
from pipeline.web.streams.sse import EventStream
from tasks.dialects.wording import nothing_to_start

ExecutionId = Annotated[
    str,
    InPath(pattern=RUN_PATTERN, description="The id of a run, a unique prefix of it, or `latest`."),
]
LastEventId = Annotated[
    str | None,
    Header(max_length=32, description="The `id` of the last event that was received; later ones are sent."),
]
BATCHES = TypeAdapter(list[BatchState])
JSON = "application/json"


def _json(model: BaseModel) -> bytes:
    return model.model_dump_json().encode()


def runs_router(services: Services) -> APIRouter:
    """Return the routes of runs."""
    router = APIRouter()

    @router.post(
        "/start", summary="Run a plan", response_model_exclude_unset=True, responses={409: {}, 422: {}}
    )
    async def start(body: Start) -> Started:
        """Check a plan, and run it as soon as a worker is free. Returns immediately.

        Of a plan of another tool in which every task is done no run is made: `execution_id` is null.
        """
        place, prepared = await actions.start_run(services, body)
        warnings = [diagnosed(found) for found in prepared.warnings]
        dialect = prepared.plan.dialect
        if place is None:
            return Started(
                execution_id=None,
                status="complete",
                batches_scheduled=[],
                dialect=dialect,
                warnings=warnings,
                message=nothing_to_start(prepared.plan) or "",
            )
        return Started(
            execution_id=place.run.id,
            status="started",
            batches_scheduled=[batch.number for batch in prepared.plan.batches],
            dialect=dialect,
            warnings=warnings,
        )

    @router.get("", summary="List the runs", responses={422: {}})
    async def executions(
        limit: Annotated[int, Query(ge=1, le=1000, description="How many runs, newest first.")] = 50,
        offset: Annotated[int, Query(ge=0, le=1_000_000, description="How many to skip.")] = 0,
    ) -> ExecutionList:
        """List the runs of all repositories below the roots, newest first."""
        chosen, total = await services.listed(offset, limit)
        return ExecutionList(executions=[execution_state(item) for item in chosen], total=total)

    @router.get(
        "/{execution_id}/status",
        summary="The state of a run",
        response_model=ExecutionState,
        responses={404: {}, 422: {}},
    )
    async def status(execution_id: ExecutionId) -> Response:
        """Return the state of a run: its progress and its pull requests."""
        content = await services.rendered(execution_id, "status", lambda seen: _json(execution_state(seen)))
        return Response(content, media_type=JSON)

    @router.get(
        "/{execution_id}/batches",
        summary="The batches of a run and their tasks",
        response_model=list[BatchState],
        responses={404: {}, 422: {}},
    )
    async def batches(execution_id: ExecutionId) -> Response:
        """Return the batches of a run with their tasks."""
        content = await services.rendered(
            execution_id, "batches", lambda seen: BATCHES.dump_json(batch_states(seen))
        )
        return Response(content, media_type=JSON)

    @router.get(
        "/{execution_id}/events",
        summary="The events of a run, live",
        response_class=EventStream,
        status_code=200,
        responses={
            200: EVENTS,
            204: {"description": "The run has ended, and no events remain."},
            404: {},
            422: {},
        },
    )
    async def events(
        execution_id: ExecutionId,
        last_event_id: LastEventId = None,
        after: Annotated[int, Query(ge=0, le=2**53, description="Like Last-Event-ID, which wins.")] = 0,
    ) -> Response:
        """Send the past and future events of a run, as server-sent events.

        `event` is the name and `data` the record that `patchyard run --json` writes; `id` counts from 1. The
        stream ends with the run. A client that reconnects with the last `id` as Last-Event-ID gets the
        remaining events, or 204 if there are none.
        """
        seen = int(last_event_id) if last_event_id and last_event_id.isdecimal() else after
        if seen and await services.has_seen_all(execution_id, seen):
            return Response(status_code=204)
        return services.subscribers.stream(await services.follow(execution_id, seen))

    @router.get("/{execution_id}/conflicts", summary="The conflicts of a run", responses={404: {}, 422: {}})
    async def conflicts(execution_id: ExecutionId) -> list[ConflictState]:
        """Return the conflicts between patches of a run, with the places and both sides of each."""
        located = await services.find(execution_id)
        return await services.call(conflict_states, located)

    _add_actions(router, services)
    return router


def _add_actions(router: APIRouter, services: Services) -> None:
    """Add the routes of the actions on a run."""

    async def result(place: LocatedRun, tasks: tuple[str, ...] | None = None) -> Asked:
        snapshot = await services.snapshot(place.run.id)
        return Asked(
            execution_id=place.run.id,
            status=execution_status(snapshot),
            run_status=str(snapshot.status),
            request=None if snapshot.run.request is None else str(snapshot.run.request),
            tasks=None if tasks is None else list(tasks),
        )

    def add(name: str, summary: str) -> Callable[..., Any]:
        return router.post(f"/{{execution_id}}/{name}", summary=summary, responses={404: {}, 409: {}, 422: {}})

    @add("cancel", "End a run")
    async def cancel(execution_id: ExecutionId) -> Asked:
        """End a run: running tasks get their grace period, and their patches are kept."""
        return await result(await actions.cancel(services, execution_id))

    @add("pause", "Pause a run")
    async def pause(execution_id: ExecutionId) -> Asked:
        """Start no more tasks of a run; running tasks are completed."""
        return await result(await actions.pause(services, execution_id))

    @add("resume", "Resume a run")
    async def resume(execution_id: ExecutionId, body: Resume | None = None) -> Asked:
        """Continue a run after a pause, an interruption, a cancellation, an external failure or a spent budget.

        Finished tasks are not run again.
        """
        return await result(await actions.resume(services, execution_id, (body or Resume()).options))

    @add("retry", "Run tasks again")
    async def retry(execution_id: ExecutionId, body: Retry | None = None) -> Asked:
        """Run tasks again, with the tasks that build on them: the given tasks, or all failed tasks."""
        asked = body or Retry()
        place, tasks = await actions.retry(
            services,
            execution_id,
            asked.tasks,
            keep=asked.keep,
            onto=asked.onto,
            feedback=asked.feedback,
            options=asked.options,
        )
        return await result(place, tasks)

    @add("publish", "Open the pull requests of a run")
    async def publish(execution_id: ExecutionId, body: Publish | None = None) -> Asked:
        """Push the branches of a run, and open or update its pull requests.

        Returns immediately; `publishing` in the status of the run reports the result.
        """
        return await result(await actions.publish(services, execution_id, body))

    @add("publish/preview", "What publishing would do")
    async def publish_preview(execution_id: ExecutionId, body: Publish | None = None) -> PublishPreview:
        """Return what would be pushed and opened, by the code that does it; nothing is changed.

        Without a token for GitHub, it is what is known here; `note` says so.
        """
        found = await actions.preview_publication(services, execution_id, body or Publish())
        return PublishPreview.model_validate(await services.call(as_record, found))
