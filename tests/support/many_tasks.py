"""Insert a run of many tasks directly into the store, to test how it is displayed."""

from datetime import UTC, datetime, timedelta

from project import Project, plan_text

from pipeline.store.connection import connection_to
from pipeline.store.database_url import url_of
from pipeline.store.records import Run, new_run_id
from pipeline.store.row_writes import insert_rows
from pipeline.store.rows import outcome_values
from pipeline.store.store import FILE, Store
from pipeline.store.tables import ATTEMPTS, STEPS, TASKS
from tasks.outcome import Outcome, RunStatus, Status

POOL = 8


def keep_run(project: Project, tasks: int) -> str:
    """Store a finished run with a number of tasks, and return its id."""
    start = datetime.now(UTC) - timedelta(hours=1)
    names = [f"{number // 100 + 1}.{number % 100 + 1}" for number in range(tasks)]
    run = Run(
        id=new_run_id(start),
        plan_path="many.md",
        plan_name="many",
        plan_title="Many",
        plan_text=plan_text(dict.fromkeys(names, "true"), title="Many"),
        base=project.clone.head,
        base_name="main",
        pool_size=POOL,
        status=RunStatus.SUCCEEDED,
        started_at=start,
    )
    with Store.beside(project.root / ".git") as store:
        store.open_run(run)
        store.close_run(run.id, RunStatus.SUCCEEDED, seconds=tasks / POOL, speedup=7.0, efficiency=7 / 8)
    rows = [_rows(run, name, position, start) for position, name in enumerate(names)]
    connection = connection_to(url_of(f"sqlite:///{project.state / FILE}"))
    with connection.transaction():
        for table, at in ((ATTEMPTS, 0), (STEPS, 1), (TASKS, 2)):
            insert_rows(connection, table, [row[at] for row in rows])
    connection.close()
    return run.id


def _rows(run: Run, task: str, position: int, start: datetime) -> tuple[dict[str, object], ...]:
    begin = start + timedelta(seconds=position // POOL)
    end = begin + timedelta(seconds=0.9)
    worktree = f"wt-{position % POOL + 1}"
    title, batch = f"Do {task}", int(task.partition(".")[0])
    attempt = {
        "run": run.id,
        "task": task,
        "number": 1,
        "title": title,
        "batch": batch,
        "worktree": worktree,
        "started_at": begin,
        "finished_at": end,
        "status": Status.UNCHANGED,
        "seconds": 0.9,
        "files": (),
    }
    outcome = Outcome(task, title, batch, Status.UNCHANGED, worktree, 0.9, begin, exit_code=0)
    step = {
        "run": run.id,
        "task": task,
        "attempt": 1,
        "number": 1,
        "kind": "run",
        "command": "true",
        "exit_code": 0,
        "seconds": 0.8,
        "finished_at": end,
    }
    stored = {"run": run.id, "task": task, "position": position, "builds_on": (), "attempt": 1}
    return attempt, step, {**stored, **outcome_values(outcome)}
