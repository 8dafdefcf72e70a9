"""Small stored runs, for the tests of pages and reports."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.store.records import Run, StoredAttempt, StoredStep, StoredTask
from pipeline.view.source import Source
from pipeline.view.timeline import Timeline
from pipeline.view.timeline_builder import timeline
from tasks.model import Batch, Plan, Task
from tasks.outcome import Conflict, Outcome, Patch, PullRequest, RunStatus, Status
from tasks.patch_data import InlineData

ZERO = datetime(2026, 1, 1, 12, tzinfo=UTC)
NASTY = "<script>alert(1)</script> & \"quotes\" 'too' {{ 7 * 7 }} \x1b[31m\x00 \udcff </style> ]]>"


def at(seconds: float) -> datetime:
    """Return the time some seconds after the start of the run."""
    return ZERO + timedelta(seconds=seconds)


def run(**more: Any) -> Run:  # noqa: ANN401 - any of its fields
    """Return a run."""
    values: dict[str, Any] = {
        "id": "r-1",
        "plan_path": "plan.md",
        "plan_name": "plan",
        "plan_title": "Plan",
        "plan_text": "# Plan",
        "base": "b" * 40,
        "base_name": "main",
        "pool_size": 3,
        "status": RunStatus.RUNNING,
        "started_at": ZERO,
        **more,
    }
    return Run(**values)


def attempt(task: str, start: float, end: float | None, **more: Any) -> StoredAttempt:  # noqa: ANN401 - likewise
    """Return an attempt at a task; its batch is the first number of its id."""
    values: dict[str, Any] = {
        "task": task,
        "number": 1,
        "title": f"Do {task}",
        "batch": int(task.partition(".")[0]),
        "started_at": at(start),
        "worktree": "wt-1",
        "finished_at": None if end is None else at(end),
        "status": None if end is None else Status.CHANGED,
        "seconds": 0.0 if end is None else end - start,
        **more,
    }
    return StoredAttempt(**values)


def ended(task: str, status: Status = Status.CHANGED, **more: Any) -> StoredTask:  # noqa: ANN401 - of the outcome
    """Return a finished task."""
    request = more.pop("request", None)
    values = {"task": task, "title": f"Do {task}", "batch": int(task.partition(".")[0]), "status": status}
    return StoredTask(Outcome(**{**values, **more}), pull_request=request)


def plan(*tasks: str) -> Plan:
    """Return a plan of tasks, in the batches of the first numbers of their ids."""
    numbers = dict.fromkeys(int(task.partition(".")[0]) for task in tasks)
    batches = tuple(
        Batch(
            number,
            f"Part {number}",
            tuple(Task(t, f"Do {t}", number) for t in tasks if t.startswith(f"{number}.")),
        )
        for number in numbers
    )
    return Plan("plan", "Plan", "plan.md", batches)


def nasty_run() -> tuple[Timeline, list[StoredTask]]:
    """Return a run with every status, in which every text contains markup that must be escaped."""
    diff = f"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@ {NASTY}\n-{NASTY}\n+{NASTY}\n"
    patch = Patch("s", "t", InlineData(diff.encode(errors="surrogateescape")), ("x",))
    request = PullRequest("1.1", 7, "javascript:alert(1)//https://x.test", NASTY, "main")
    tasks = [
        ended(
            "1.1",
            title=NASTY,
            worktree="wt-1",
            seconds=1.0,
            files=(NASTY,),
            branch=NASTY,
            commit="c",
            patch=patch,
            request=request,
        ),
        ended("1.2", Status.FAILED, error=f"{NASTY}\n{NASTY}", worktree="wt-2", seconds=1.5, exit_code=3),
        ended("1.3", Status.TIMED_OUT, error=NASTY, worktree="wt-1", seconds=1.0),
        ended("2.1", Status.SKIPPED, error="it depends on 1.2"),
        ended("2.2", Status.CANCELLED, error="it did not start"),
        ended("2.3", Status.UNCHANGED, worktree="wt-2", seconds=0.5),
    ]
    source = Source(
        run=run(
            status=RunStatus.FAILED,
            plan_title=NASTY,
            plan_path=NASTY,
            base_name=NASTY,
            finished_at=at(4),
            seconds=4.0,
            speedup=1.0,
            efficiency=0.5,
        ),
        displayed_status=RunStatus.FAILED,
        plan=plan("1.1", "1.2", "1.3", "2.1", "2.2", "2.3", "2.4"),
        attempts=[
            attempt("1.1", 0, 1, title=NASTY),
            attempt("1.2", 0, 1.5, worktree="wt-2", status=Status.FAILED),
            attempt("1.3", 1, 2, status=Status.TIMED_OUT),
            attempt("2.3", 2, 2.5, worktree="wt-2", status=Status.UNCHANGED),
        ],
        steps={("1.1", 1): [StoredStep(1, "run", NASTY, 0, 0.5, None, finished_at=at(0.75))]},
        tasks=tasks,
        conflicts=[Conflict(1, ("1.1", "1.2"), (NASTY,))],
    )
    return timeline(source, at(100)), tasks
