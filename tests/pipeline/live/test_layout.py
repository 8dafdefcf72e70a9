"""The lines of the live table at different sizes of the terminal."""

import re
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from pipeline.cells import both, clock, end, fitted, start, width
from pipeline.events import (
    BaseCheckFinished,
    BaseCheckStarted,
    BatchStarted,
    RunStarted,
    StepFinished,
    StepStarted,
    TaskFinished,
    TaskStarted,
    TaskWaiting,
)
from pipeline.live.board import Board
from pipeline.live.layout import frame
from pipeline.live.tails import Output, last_line
from tasks.outcome import Outcome, Status

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def board(running: int, failed: int = 0, *, total: int = 100, mode: str = "parallel") -> Board:
    """Return the state of a run with tasks that run, and tasks that failed before."""
    made = Board()
    made.apply(
        RunStarted(
            run="r", plan="p", title="Demo", base="b", pool_size=9, tasks=total, worktrees="w", time=BEGAN
        )
    )
    made.apply(BatchStarted(batch=1, title="One", mode=mode, start="b", tasks=total, time=BEGAN))
    for number in range(1, failed + 1):
        outcome = Outcome(
            task=f"1.{number}",
            title="Do it",
            batch=1,
            status=Status.FAILED,
            worktree="wt-1",
            error=f"run step 1 `make` failed with exit code 2\n  more\n  error {number}: no rule",
        )
        made.apply(TaskFinished(outcome=outcome, time=BEGAN))
    for number in range(1, running + 1):
        task, worktree = f"2.{number}", f"wt-{number}"
        title = f"Write the parser of the configuration file, part {number}"
        made.apply(TaskStarted(task=task, title=title, batch=1, worktree=worktree, time=BEGAN))
        made.apply(
            StepStarted(
                task=task, worktree=worktree, number=2, kind="run", command=f"make part-{number}", time=at(5)
            )
        )
    return made


def shown(made: Board, columns: int, rows: int, outputs: dict[str, Output] | None = None) -> list[str]:
    """Return the text of a frame, a minute after the start."""
    lines = frame(made, outputs or {}, columns, rows, at(65))
    return ["".join(text for text, _ in line).rstrip() for line in lines]


def test_wide() -> None:
    outputs = {"wt-1": Output("compiling", 2.0), "wt-2": Output("linking", 40.9)}

    lines = shown(board(2, 1), 140, 24, outputs)

    assert lines[0].split() == ["worktree", "task", "title", "step", "time", "output"]
    assert lines[1].startswith("wt-1      2.1   Write the p")
    assert re.search(r"ile, part 1  run 2: make part-1 +1 min 05 s  compiling$", lines[1])
    assert lines[2].endswith("linking  silent for 40 s")
    assert lines[3] == "failed  1.1  run step 1 `make` failed with exit code 2: error 1: no rule"
    assert lines[4] == "0 of 100 tasks done, 1 failed, 2 running, 1 min 05 s"


def test_narrow() -> None:
    lines = shown(board(2), 60, 24, {"wt-1": Output("x" * 200, 0.0)})

    assert lines == [
        "wt-1  2.1  run 2: make part-1                    1 min 05 s",
        "      " + "x" * 52 + "…",
        "wt-2  2.2  run 2: make part-2                    1 min 05 s",
        "      silent for 1 min 00 s",
        "0 of 100 tasks done, 2 running, 1 min 05 s",
    ]


def test_titles_keep_their_ends() -> None:
    lines = shown(board(12), 80, 40)

    titles = {line.split("2.")[1].split("run 2")[0].strip() for line in lines if "run 2" in line}
    assert len(titles) == 12


@pytest.mark.parametrize(("running", "failed"), [(0, 0), (1, 1), (8, 3), (40, 0), (40, 40), (0, 40)])
def test_it_fits(running: int, failed: int) -> None:
    outputs = {f"wt-{number}": Output("語" * 300, 99.0) for number in range(41)}
    made = board(running, failed)

    for columns, rows in product((20, 40, 60, 80, 100, 200), (2, 5, 10, 24, 60)):
        lines = shown(made, columns, rows, outputs)

        assert len(lines) < rows
        assert all(width(line) < columns for line in lines), (columns, rows)
        assert lines[-1].startswith("0 of 100 tasks done"[: columns - 2])


def test_what_runs_and_what_failed_stays_in_view() -> None:
    lines = shown(board(40, 40), 80, 24)

    running = [line for line in lines if "run 2: make" in line]
    failed = [line for line in lines if line.startswith("failed ")]
    assert len(running) >= 12
    assert len(failed) >= 5
    assert "error 40: no rule" in failed[-1]
    assert any(line.startswith("and ") and f"more: 2.{len(running) + 1}," in line for line in lines)
    assert any("more failed: 1.1, 1.2, 1.3" in line for line in lines)
    assert len(lines) == 23


def test_silence_is_not_said_of_waits_and_containers() -> None:
    waits, contained, between = board(1), board(1, mode="dagger"), board(1)
    waits.apply(
        TaskWaiting(task="2.1", worktree="wt-1", until="2026-01-02T04:00:00Z", reason="limit", time=at(30))
    )
    between.apply(
        StepFinished(
            task="2.1", worktree="wt-1", number=2, kind="run", command="m", exit_code=0, seconds=1.0, time=at(6)
        )
    )

    for made in (waits, contained, between):
        assert "silent" not in " ".join(shown(made, 60, 24))
    assert "waiting until" in shown(waits, 60, 24)[0]


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (b"$ make\none\ntwo\n\n", "two"),
        (b"$ make\n", ""),
        (b"one\n[exit code 0, 1.00 s]\n", ""),
        (b"10 %\r20 %\r30 %", "30 %"),
        (b"\x1b[31mred\x1b[0m \x1b]0;title\x07 text\x00\n", "red text"),
        (b'{\n  "a": 1\n}\n', '"a": 1'),
        (b"\xff\n", "\ufffd"),
    ],
)
def test_last_line_of_a_log(log: bytes, line: str) -> None:
    assert last_line(log) == line


def test_an_event_of_an_agent_is_not_its_last_line() -> None:
    log = b'reading src/a.py\n{"type": "of a later version"}\n'

    assert last_line(log, is_agent=True) == "reading src/a.py"
    assert last_line(log) == '{"type": "of a later version"}'


def test_cuts() -> None:
    assert (start("abcdef", 4), end("abcdef", 4), both("abcdef", 4)) == ("abc…", "…def", "ab…f")
    assert (start("語語語", 4), end("語語語", 4)) == ("語…", "…語")
    assert start("abc", 3) == "abc"
    assert start("abc", 0) == ""


def test_times_of_a_clock() -> None:
    assert [clock(seconds) for seconds in (0.9, 59.9, 65, 3600 * 3 + 7 * 60)] == [
        "0 s",
        "59 s",
        "1 min 05 s",
        "3 h 07 min",
    ]


def test_verification_before_any_change_has_its_worktree() -> None:
    made = board(0)
    made.apply(BaseCheckStarted(task="1.1", worktree="wt-1", start="b", commands=["make test"], time=BEGAN))
    assert [(lane.task, lane.step) for lane in made.lanes] == [("1.1", "before any change: make test")]
    assert frame(made, {}, 100, 20, at(3))
    made.apply(BaseCheckFinished(task="1.1", worktree="wt-1", start="b", seconds=1, failed=[], results=[]))
    assert made.lanes == []


COLUMNS = ("task", "title", "status", "time", "worktree", "files", "branch, pull request or reason")
BRANCH, TITLE = (
    "patchyard/rework-the-configuration-reader-of-the-service/",
    "Write the parser of the file, part ",
)
ROWS = [
    ("1.1", f"{TITLE}1", "changed", "6.3 s", "wt-1", "1", f"{BRANCH}1.1"),
    ("1.2", f"{TITLE}2", "changed", "6.3 s", "wt-2", "1", f"{BRANCH}1.2"),
    ("1.3", "Fail", "failed", "0.2 s", "wt-1", "", "run step 1 `make` ended with exit code 2"),
]
LESS = ("worktree", "files", "time")


@pytest.mark.parametrize(
    ("cells", "left"),
    [
        (200, COLUMNS),
        (80, COLUMNS),
        (76, ("task", "title", "status", "time", "files", COLUMNS[-1])),
        (60, ("task", "title", "status", COLUMNS[-1])),
        (40, ("task", "status", COLUMNS[-1])),
    ],
)
def test_a_table_fits_and_tells_its_rows_apart(cells: int, left: tuple[str, ...]) -> None:
    columns, rows = fitted(COLUMNS, ROWS, cells, least=LESS)

    assert [name[:4] for name in columns] == [name[:4] for name in left]
    assert len({row[-1] for row in rows}) == 3
    assert [row[-1].endswith(f"/1.{number}") for number, row in enumerate(rows[:2], 1)] == [True, True]
    for line in (columns, *rows):
        widths = [max(width(row[at]) for row in (columns, *rows)) for at in range(len(columns))]
        assert sum(widths) + 2 * len(widths) <= cells, line
    if cells == 200:
        assert rows == [list(row) for row in ROWS]
    if "title" in columns:
        assert len({row[1] for row in rows}) == 3
