"""Write a value into every column of the store, to compare what releases write and read.

usage: every_column.py DIRECTORY

As a script it writes `DIRECTORY/patchyard/patchyard.db` and prints its rows: what the last release that wrote
them with SQLAlchemy printed is `tests/pipeline/store/release_0_2_0.jsonl`.
"""

import json
import re
import sqlite3
import sys
from collections.abc import Collection
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from pipeline.store.records import BaseCheck, Run, SharedBranch, StoredAttempt, StoredRound, format_time
from pipeline.store.run_options import Committer, PublishOptions, Selection, StoredCall
from pipeline.store.store import FILE, Store
from tasks.agent_report import Tokens
from tasks.conflicts import Cause
from tasks.keys import AgentUse, InputHashes
from tasks.model import Mode, Step, StepKind
from tasks.outcome import (
    Conflict,
    Failure,
    Outcome,
    Patch,
    PullRequest,
    PullRequestScope,
    Refusal,
    Request,
    RunStatus,
    Status,
    StepResult,
)
from tasks.patch_data import InlineData
from tasks.usage import Usage

ODD = "a\0b \udcff é \U0001f600 'x'; -- \\ % ? :name \r\n"
"""Text that a database or a driver could change."""
STARTED = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=timezone(timedelta(hours=2)))
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")
NOW = "(now)"
"""Replaces the times that are not among the values below."""
RUN = Run(
    id="20260102-030405-abcd",
    plan_path=ODD,
    plan_name="plan",
    plan_title="Plän",
    plan_text=ODD * 3,
    base="a" * 40,
    base_name="main",
    pool_size=3,
    status=RunStatus.PAUSED,
    started_at=STARTED,
    settings=PublishOptions("up", "o/r", ("x", "é"), ("r",), ("S",), *(True, True, True), "claude", True),  # noqa: FBT003 - a value
    repository="https://example.org/r",
    host="host",
    directory="/runs/\udcff",
    call=StoredCall(
        {"pool_size": 3, ODD: [ODD]},
        Selection(1, 2, ("1.1",)),
        *(True, True),
        Committer("N", "n@example.org", "+0200"),
        served=True,
        trusted=("d",),
        remote_urls=("u",),
    ),
    request=Request.STOP,
)
PLAIN = Run(
    *("plain", "p", "p", "P", "", "b" * 40, None, 1, RunStatus.RUNNING, STARTED.astimezone(UTC)),
    owner="one",
    lease_until=STARTED + timedelta(seconds=20),
)
PATCH = Patch("b" * 40, "c" * 40, InlineData(bytes(range(256))), ("a b", "\udcff", "é"))
OUTCOME = Outcome(
    "1.1",
    "T",
    1,
    Status.CHANGED,
    worktree="wt-1",
    seconds=1.25,
    started_at=STARTED,
    start="b" * 40,
    branch="patchyard/plan/1.1",
    commit="d" * 40,
    files=PATCH.files,
    exit_code=-9,
    step="make",
    error=ODD,
    patch=PATCH,
    cost=0.1 + 0.2,
    cached=True,
    rounds=2,
    tokens=Tokens(2**40, None, 0),
    said=ODD,
    added=2**40,
    removed=0,
    fails_before=("x",),
    refused=(Refusal("pypi.org", 2), Refusal("x:1", 1)),
)
ATTEMPT = StoredAttempt(
    *("1.1", 2, "T", 1, STARTED, "wt-1", Path("/w/\udcff"), "host", "b" * 40),
    log=Path("/l"),
    cause=Cause(("1.0",), ("f",)),
    base_checks=("k",),
    feedback=ODD,
)
FAILURE = Failure(StepKind.VERIFY, "make", None, timed_out=True, error="e", output=ODD)
ROUND = StoredRound("1.1", 2, 1, 1e9 + 0.25, 0.5, FAILURE, PATCH, Tokens(1, 2, 3), ODD)
CHECK = BaseCheck("k", "1.1", "b" * 40, "make", 0.5, 3, False, "e", ODD, "host", Path("/l"))  # noqa: FBT003 - a value
INPUTS = InputHashes("k", Mode.DAGGER, "t", "i", AgentUse("a", "a -p", "1"), ("A",), ("B", "C"))
SHARED = SharedBranch("plan", "p", "e" * 40, "s", ("1.1",), ("c1", "c2"), "f" * 40, ("c3",))
REQUEST = PullRequest("plan", 7, "u", "p", "main", "opened", tasks=("1.1",))


def fill(store: Store) -> None:
    """Write every value, with every method that writes one."""
    run = RUN.id
    store.open_run(RUN)
    store.open_run(PLAIN)
    store.close_run(PLAIN.id, RunStatus.SUCCEEDED, seconds=1.5, speedup=1, efficiency=1 / 3)
    store.begin_attempt(run, ATTEMPT)
    store.keep_wait(run, "1.1", 2, STARTED)
    step = Step(StepKind.AGENT, ODD, ("true",))
    store.keep_step(run, "1.1", 1, StepResult(step, None, 0.5, error=ODD), 2, usage=Usage(0.5, Tokens(1, 2, 3)))
    store.keep_step(run, "1.1", 2, StepResult(Step(StepKind.RUN, "true", ("true",)), 0, 0.25), 2)
    store.keep_round(run, ROUND)
    store.keep_round(run, StoredRound("1.1", 2, 2, 0.5))
    store.keep_base_check(run, CHECK)
    more: dict[str, Any] = {"start_branch": "s", "builds_on": ("1.0",), "log": Path("/l"), "inputs": INPUTS}
    store.keep_outcome(run, 0, OUTCOME, branches={"b": "1" * 40}, attempt=2, seconds=2.5, **more)
    store.keep_outcome(run, 1, Outcome("1.2", "T", 1, Status.SKIPPED))
    store.end_attempt(run, StoredAttempt("1.3", 1, "T", 1, STARTED, status=Status.CANCELLED, patch=PATCH))
    store.keep_branch("b", pushed="2" * 40)
    store.keep_shared_branches(run, [SHARED, SharedBranch("group-1", "g", "e" * 40)])
    store.keep_pull_request(run, REQUEST)
    store.mark_for_redo(run, ["1.2"], {"1.2": ODD})
    store.keep_conflicts(run, [Conflict(1, ("1.1", "1.2"), ("a b", "\udcff"))])
    store.keep_events(run, [{"event": "notice", "message": ODD, "n": 1.5}, {"event": "é"}])
    assert RUN.settings.pull_request is PullRequestScope.TASK


def stored_rows(path: Path, without: Collection[str] = ()) -> str:
    """Return the rows of a SQLite database as lines of JSON, sorted; bytes as `[HEX]`.

    Columns and tables whose names are in `without` are left out.
    """
    lines = []
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            if table in without:
                continue
            for row in connection.execute(f"SELECT * FROM {table}"):  # noqa: S608 - its own names
                names = [name for name in row.keys() if name not in without]  # noqa: SIM118 - a row is a sequence
                values = {name: plain(row[name]) for name in names}
                lines.append(json.dumps({"table": table, "row": values}, sort_keys=True) + "\n")
    return "".join(sorted(lines))


def plain(value: object) -> object:
    """Return a value of a column for JSON; a time that is not among the values above as `NOW`."""
    if isinstance(value, bytes):
        return [value.hex()]
    is_time = isinstance(value, str) and TIME.fullmatch(value)
    return NOW if is_time and value != format_time(STARTED) else value


if __name__ == "__main__":
    with Store.beside(Path(sys.argv[1])) as written:
        fill(written)
    sys.stdout.write(stored_rows(Path(sys.argv[1], "patchyard", FILE)))
