"""Rows whose values patchyard did not store: every command and the API say so in one sentence, with the run."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from project import Project, one_sentence, wait_for

from pipeline.store.damage import DamagedRowError
from pipeline.store.records import SharedBranch
from pipeline.store.store import Store

GARBAGE: tuple[object, ...] = (
    "\x7fgarbage",
    b"\xff\x00",
    '{"a": [1]}',
    '[{"x": 1}]',
    "9" * 40,
    9e300,
    "[" * 9999,
)
COLUMNS = {
    "runs": (
        "base",
        "status",
        "started_at",
        "finished_at",
        "seconds",
        "settings",
        "call",
        "request",
        "lease_until",
    ),
    "tasks": (
        "start",
        "commit",
        "tree",
        "status",
        "position",
        "seconds",
        "started_at",
        "builds_on",
        "files",
        "patch_size",
        "exit_code",
    ),
    "attempts": ("status", "number", "seconds", "started_at", "files"),
    "steps": ("number", "seconds", "finished_at", "exit_code"),
    "inputs": ("mode", "environment", "secrets"),
    "events": ("record",),
    "conflicts": ("batch", "tasks", "files"),
    "branches": ("commit", "pushed"),
    "shared_branches": ("start", "tasks", "commits", "tip", "left_out"),
}
READERS: Mapping[str, Callable[[Store, str], object]] = {
    "runs": lambda store, _: store.runs(),
    "tasks": lambda store, run: store.tasks(run),
    "attempts": lambda store, run: store.attempts(run),
    "steps": lambda store, run: store.steps_of_run(run),
    "inputs": lambda store, run: store.inputs(run),
    "events": lambda store, run: store.events(run),
    "conflicts": lambda store, run: store.conflicts(run),
    "branches": lambda store, _: store.branches(),
    "shared_branches": lambda store, run: store.shared_branches(run),
}
COMMANDS = (
    *(["runs"], ["status"], ["logs", "latest", "1.1"], ["diff", "latest"], ["report"]),
    *(
        ["resume", "latest"],
        ["retry", "latest", "1.1"],
        ["cancel", "latest"],
        ["patches", "latest", "-o", "out"],
    ),
    ["clean", "--older-than", "1d"],
)


def damage(path: Path, table: str, column: str, value: object) -> None:
    """Set a column of every row; the database may refuse it."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f'UPDATE {table} SET "{column}" = ?', (value,))  # noqa: S608 - names from above


def finished_run(project: Project) -> tuple[Path, str]:
    """Return a plan of two tasks that change the same file, and its run."""
    plan = project.tasks({"1.1": "echo a > same", "1.2": "echo b > same"})
    run = project.run(plan, "--on-conflict", "stop").run
    with Store.beside(project.root / ".git") as store:
        store.keep_shared_branches(run, [SharedBranch("plan", "b", "c" * 40, tip="d" * 40)])
    return plan, run


def failure(read: Callable[[], object]) -> str | None:
    """Return the message if a row cannot be read."""
    try:
        read()
    except DamagedRowError as error:
        return str(error)
    return None


@pytest.mark.parametrize("table", COLUMNS)
def test_every_value_is_read_or_reported_with_its_run(project: Project, table: str) -> None:
    _, run = finished_run(project)
    path = project.state / "patchyard.db"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] > 0  # noqa: S608 - as above
    reported = set()
    for column in COLUMNS[table]:
        for value in GARBAGE:
            kept = path.read_bytes()
            damage(path, table, column, value)
            with Store.beside(project.root / ".git") as store:
                message = failure(lambda: READERS[table](store, run))
            if message is not None:
                reported.add(column)
                assert f"column {column}" in message
                assert table == "branches" or f"`patchyard clean --run {run}`" in message
            path.write_bytes(kept)
    assert reported == set(COLUMNS[table])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_report_damaged_run_in_one_sentence(project: Project, command: list[str]) -> None:
    _, run = finished_run(project)
    damage(project.state / "patchyard.db", "runs", "status", "garbage")

    done = project.call(*command)

    done.expect(1)
    errors = [line for line in done.err.splitlines() if line.startswith("patchyard: ")]
    damaged = f"patchyard: run {run} is damaged in the database (table runs, column status): "
    advice = f"or remove the run, its logs and patches with `patchyard clean --run {run}`"
    assert errors == [f"{damaged}restore the database from a copy, {advice}"]


def test_new_run_does_not_read_a_damaged_one(project: Project) -> None:
    plan, _ = finished_run(project)
    damage(project.state / "patchyard.db", "runs", "status", "garbage")
    project.call("run", str(plan)).expect(0)


def test_damaged_run_is_removed_by_its_id(project: Project) -> None:
    plan, run = finished_run(project)
    damage(project.state / "patchyard.db", "runs", "settings", "garbage")
    branches = project.branches()

    assert f"would remove run {run}\n" in project.call("clean", "--run", run, "--dry-run").expect(0).out
    assert run in one_sentence(project.call("runs"), 1)
    assert f"removed run {run}\n" in project.call("clean", "--run", run).expect(0).out

    assert project.call("runs", "--json").records == []
    assert not (project.state / "runs" / run).exists()
    assert project.branches() == branches
    assert run in one_sentence(project.call("clean", "--run", run), 2)
    project.run(plan).expect(0)


def test_run_of_a_living_process_is_not_removed(project: Project) -> None:
    script = 'touch "$SHARED/started"; while ! test -e "$SHARED/go"; do sleep 0.02; done'
    with project.start("run", project.tasks({"1.1": script}), "--json") as started:
        assert started.process.stdout is not None
        run = json.loads(started.process.stdout.readline())["run"]
        wait_for(lambda: run in project.call("runs", "--json").out, "the run in the database")

        message = one_sentence(project.call("clean", "--run", run), 2)

        (project.shared / "go").touch()
        started.done().expect(0)
    assert message == f"run {run} is being worked on; wait for its end, or cancel it first"
