"""A run as its page shows it, and the HTML that updates a page."""

import json
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from pipeline.events import local_time, now
from pipeline.store.records import StoredAttempt
from pipeline.store.store import Store
from pipeline.view.portions import first_bar
from pipeline.view.source import RunningStep, Source, source_of
from pipeline.view.templating import PageLinks, render
from pipeline.view.timeline import Row, Timeline
from pipeline.view.timeline_builder import timeline
from pipeline.web.snapshot import LocatedRun, RunActivity, RunReader
from pipeline.web.streams.sse import EncodedEvent
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import FAILS_BEFORE

RECENT_EVENTS = 500
"""Events that are read to find the running steps and the notices of a run."""
TASK_EVENTS = frozenset({"task_started", "step_started", "step_finished", "task_finished", "pull_request"})
MOST_NOTICES = 20


@dataclass(frozen=True, slots=True)
class Notice:
    """A message of the run; `sequence` is that of its event."""

    sequence: int
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as its page shows it; `sequence` is that of the newest event in it."""

    timeline: Timeline
    source: Source
    sequence: int
    activity: RunActivity
    notices: tuple[Notice, ...] = ()

    @property
    def busy(self) -> bool:
        """Whether a worker runs the run, or is about to claim it."""
        return self.activity.has_worker

    @property
    def publishing(self) -> bool:
        """Whether a worker publishes the run."""
        return self.activity.is_publishing

    @property
    def problem(self) -> str | None:
        """Why the run does not continue, or why it could not be published."""
        return self.activity.problem

    @property
    def expects_changes(self) -> bool:
        """Whether the run will change without a new request."""
        return self.activity.expects_changes


class EventDigest:
    """Facts that events have before the store: running steps, started attempts, notices, changed tasks."""

    def __init__(self, steps: Mapping[str, RunningStep] | None = None) -> None:
        self.steps = dict(steps or {})
        self.started: dict[str, StoredAttempt] = {}
        self.notices: deque[Notice] = deque(maxlen=MOST_NOTICES)
        self.changed_tasks: dict[str, None] = {}

    def add(self, sequence: int, record: Mapping[str, Any]) -> None:
        """Add the record of an event."""
        name = record.get("event")
        task = str(record.get("task"))
        if name in TASK_EVENTS:
            tasks = record.get("tasks")  # of a pull request
            self.changed_tasks |= dict.fromkeys(map(str, tasks) if isinstance(tasks, list) else [task])
        if name == "step_started":
            self.steps[task] = RunningStep(
                int(record["number"]),
                str(record["kind"]),
                str(record["command"]),
                datetime.fromisoformat(record["time"]),
            )
        elif name == "task_started":
            self.steps.pop(task, None)
            self.started[task] = _started_attempt(record)
        elif name == "task_waiting" and record.get("until"):
            moment = datetime.fromisoformat(record["time"])
            self.steps[task] = RunningStep(
                0, "wait", f"until {local_time(str(record['until']))}: {record['reason']}", moment
            )
        elif name in {"step_finished", "task_waiting"}:
            self.steps.pop(task, None)
        elif name == "task_finished":
            self.steps.pop(task, None)
            self.started.pop(task, None)
        elif name == "notice":
            self.notices.append(Notice(sequence, str(record["level"]), str(record["message"])))
        elif name in {"base_check_started", "base_check_finished"}:
            self.notices.append(Notice(sequence, "info", _words_of_check(record)))


def _words_of_check(record: Mapping[str, Any]) -> str:
    """Return what an event says of verification before any change."""
    what = f"verification before any change, for task {record['task']}"
    if record["event"] == "base_check_started":
        return f"{what}, runs in {record['worktree']}: {'; '.join(map(str, record['commands']))}"
    failed = "; ".join(map(str, record["failed"]))
    return f"{what}: {failed} {FAILS_BEFORE}" if failed else f"{what}, has ended: nothing fails"


def _started_attempt(record: Mapping[str, Any]) -> StoredAttempt:
    """Return the attempt of a `task_started` event."""
    return StoredAttempt(
        task=str(record["task"]),
        number=1,
        title=str(record["title"]),
        batch=int(record["batch"]),
        started_at=datetime.fromisoformat(record["time"]),
        worktree=str(record["worktree"]),
    )


def event_record(event: EncodedEvent) -> Mapping[str, Any]:
    """Return the record of an encoded event."""
    record: Mapping[str, Any] = json.loads(event.message.partition(b"data: ")[2])
    return record


def add_started_attempt(source: Source, started: StoredAttempt) -> Source:
    """Return a run with a started attempt, which the store may get later than its event."""
    own = [item for item in source.attempts if item.task == started.task]
    if any(item.finished_at is None or item.finished_at > started.started_at for item in own):
        return source
    number = max((item.number for item in own), default=0) + 1
    return replace(source, attempts=[*source.attempts, replace(started, number=number)])


def read_run_view(reader: RunReader, located: LocatedRun) -> RunView:
    """Read a run as its page shows it now. Blocks.

    Raises:
        CallError: The stored plan cannot be parsed.
        StoreError: The store cannot be read.
    """
    store, run = located.store, located.store.run(located.run.id)
    plan = reader.plan(run)
    # The sequence is read first, so that later events are sent twice and none is left out.
    last = store.last_event(run.id)
    digest = EventDigest()
    for event in store.events(run.id, max(0, last - RECENT_EVENTS), RECENT_EVENTS):
        digest.add(event.sequence, event.record)
    activity = reader.activity(store, run)
    source = replace(source_of(store, run, activity.status, plan), running=digest.steps)
    for attempt in digest.started.values():
        source = add_started_attempt(source, attempt)
    return build_run_view(source, activity, last, tuple(digest.notices))


def build_run_view(  # noqa: PLR0913 - a view has these parts
    source: Source,
    activity: RunActivity,
    sequence: int,
    notices: tuple[Notice, ...],
    *,
    before: Timeline | None = None,
    changed_tasks: Collection[str] = (),
) -> RunView:
    """Return a run as its page shows it.

    Args:
        source: The stored run.
        activity: Its current status, and what workers do with it.
        sequence: Sequence number of the newest event in it.
        notices: Its newest messages.
        before: The timeline of an earlier view, from which unchanged tasks are copied.
        changed_tasks: The tasks that changed since.
    """
    source = replace(source, displayed_status=activity.displayed_status)
    view = timeline(source, now(), before=before, touched=changed_tasks)
    return RunView(view, source, sequence, activity, notices)


def read_changed_tasks(source: Source, store: Store, tasks: Collection[str]) -> Source:
    """Return a run with some of its tasks read again. Blocks."""
    run = source.run.id
    attempts = [item for item in source.attempts if item.task not in tasks]
    stored = [item for item in source.tasks if item.outcome.task not in tasks]
    steps = {**source.steps}
    for task in tasks:
        own = store.attempts(run, task)
        for attempt in own[-1:]:
            steps[task, attempt.number] = store.steps(run, task, attempt.number)
        attempts += own
        stored += store.tasks(run, task)
    attempts.sort(key=lambda item: item.started_at)
    is_checked = any(attempt.base_checks for attempt in attempts)
    checks = store.base_checks(run) if is_checked else source.base_checks
    return replace(source, attempts=attempts, steps=steps, tasks=stored, base_checks=checks)


def render_changes(
    before: RunView,
    after: RunView,
    changed_tasks: Iterable[str],
    links: PageLinks,
    *,
    page_frame: str | None = None,
) -> str:
    """Return the HTML that updates a page from one view to the next.

    `page_frame` is the frame of the timeline on a page that is older than `before`; the HTML then has all that
    may have changed.
    """
    view, own, old = after.timeline, set(changed_tasks), before.timeline if page_frame is None else None
    earlier = {row.task: row for row in old.rows} if old else {}
    rows = [row for row in view.rows if row.task in own or (old and earlier.get(row.task) is not row)]
    own |= {row.task for row in rows}
    return render(
        "changes.html",
        {
            "page": after,
            "timeline": view,
            "first_bar": first_bar(view),
            "links": links,
            "rows": rows,
            "bars": [bar for lane in view.lanes for bar in lane.bars if bar.task in own],
            "turned": [row for row in rows if _is_new_state(earlier.get(row.task), row)],
            "stages": [stage for stage in view.stages if old is None or stage not in old.stages],
            "redraw": view.frame != (before.timeline.frame if page_frame is None else page_frame),
            "counted": old is None or view.counts != old.counts,
            "troubled": old is None
            or (view.verdict.troubles, before.problem, before.expects_changes)
            != (old.verdict.troubles, after.problem, after.expects_changes),
        },
    )


def _is_new_state(before: Row | None, after: Row) -> bool:
    """Whether an attempt of a task started or ended, so that its panel is loaded again."""
    return before is None or (before.state, before.attempts) != (after.state, after.attempts)
