"""What happens in a run, as data, and the Observer that is told of it.

An event becomes a JSON line by `as_json`; its fields are an interface and stand in docs/output.md.
"""

import json
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self

from tasks.model import Conflict, Outcome, PullRequest, RunStatus


def now() -> datetime:
    """Return the present moment, in UTC."""
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """Return a moment as RFC 3339 has it: UTC, with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened; `time` is when."""

    time: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A run has begun. `base` is a commit id."""

    run: str
    plan: str
    title: str
    base: str
    pool_size: int
    tasks: int
    worktrees: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStarted(Event):
    """A batch has begun. `start` is the commit that its tasks start from."""

    batch: int
    title: str
    mode: str
    start: str
    tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStarted(Event):
    """A task has its worktree."""

    task: str
    title: str
    batch: int
    worktree: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted(Event):
    """A step is about to begin; `number` counts from 1 within the task, `command` is one line."""

    task: str
    worktree: str
    number: int
    kind: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished(Event):
    """A step has ended; `seconds` is its wall time."""

    task: str
    worktree: str
    number: int
    kind: str
    command: str
    exit_code: int | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFinished(Event):
    """A task has its outcome, and it is stored."""

    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictFound(Event):
    """Patches of a batch do not go together."""

    conflict: Conflict


@dataclass(frozen=True, slots=True, kw_only=True)
class Published(Event):
    """A pull request was opened or updated."""

    request: PullRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Event):
    """A sentence for people; `level` is `info`, `warning` or `error`."""

    message: str
    level: str = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """The run is over. `seconds` is its wall time without publishing; `efficiency` is 0 to 1."""

    run: str
    status: RunStatus
    seconds: float
    speedup: float
    efficiency: float
    outcomes: tuple[Outcome, ...]


NAMES = {
    RunStarted: "run_started",
    BatchStarted: "batch_started",
    TaskStarted: "task_started",
    StepStarted: "step_started",
    StepFinished: "step_finished",
    TaskFinished: "task_finished",
    ConflictFound: "conflict",
    Published: "pull_request",
    Notice: "notice",
    RunFinished: "run_finished",
}


def outcome_fields(outcome: Outcome) -> dict[str, object]:
    """Return what a JSON line says of an outcome."""
    return {
        "task": outcome.task,
        "title": outcome.title,
        "batch": outcome.batch,
        "worktree": outcome.worktree,
        "status": str(outcome.status),
        "seconds": round(outcome.seconds, 3),
        "branch": outcome.branch,
        "commit": outcome.commit,
        "files": list(outcome.files),
        "exit_code": outcome.exit_code,
        "step": outcome.step,
        "error": outcome.error,
        "cached": outcome.cached,
        **({} if outcome.cost is None else {"cost": round(outcome.cost, 6)}),
    }


def as_record(event: Event) -> dict[str, object]:
    """Return an event as the mapping that its JSON line holds: `event` and `time` first."""
    record: dict[str, object] = {"event": NAMES[type(event)], "time": timestamp(event.time)}
    for item in fields(event):
        value = getattr(event, item.name)
        match value:
            case datetime():
                continue
            case Outcome():
                record |= outcome_fields(value)
            case Conflict():
                record |= {
                    "batch": value.batch,
                    "tasks": list(value.tasks),
                    "files": list(value.files),
                    "message": str(value),
                }
            case PullRequest():
                record |= {field.name: getattr(value, field.name) for field in fields(value)}
            case tuple():
                record[item.name] = [outcome_fields(outcome) for outcome in value]
            case float():
                record[item.name] = round(value, 4)
            case _:
                record[item.name] = value
    return record


def as_json(event: Event) -> str:
    """Return an event as one line of JSON, in ASCII."""
    return json.dumps(as_record(event))


class Observer(Protocol):
    """Is told what happened, in order, always from one thread."""

    def notify(self, event: Event) -> None:
        """Take note of an event. May block: it is never called on the event loop."""

    def close(self) -> None:
        """Show what is still held back; no event comes after this."""


class Listener(Protocol):
    """Whoever takes events on the event loop; must not block."""

    def notify(self, event: Event) -> None:
        """Take note of an event."""


class Broadcast:
    """Hands events to observers in a thread of its own, so that whoever tells never waits for a slow reader.

    A context manager: leaving it waits until every event was handed over. An observer that raises is told no
    more; the run goes on.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = list(observers)
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="observers", daemon=True)
        self.failure: BaseException | None = None

    def notify(self, event: Event) -> None:
        """Queue an event; returns at once."""
        self._queue.put(event)

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hand over what is queued, and close the observers."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (event := self._queue.get()) is not None:
            for observer in list(self._observers):
                try:
                    observer.notify(event)
                except Exception as error:  # noqa: BLE001 - whatever it is, the run does not end for it
                    self.failure = error
                    self._observers.remove(observer)
        for observer in self._observers:
            try:
                observer.close()
            except Exception as error:  # noqa: BLE001 - likewise
                self.failure = error
