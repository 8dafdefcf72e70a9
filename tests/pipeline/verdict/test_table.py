"""The table of tasks fits into the terminal."""

from io import StringIO

import pytest
from rich.console import Console

from pipeline.console import outcome_table
from pipeline.verdict.model import Verdict
from tasks.agent_report import Tokens
from tasks.outcome import Conflict, Outcome, PullRequest, RunStatus, Status

DONE = Outcome(
    "1.1",
    "Say hello to everybody who is there",
    1,
    Status.CHANGED,
    worktree="wt-12",
    seconds=12.5,
    files=("a", "b"),
    branch="patchyard/a-plan-with-a-name/1.1",
    added=12,
    removed=3,
    cost=0.42,
    tokens=Tokens(12_000, 1500),
)


def shown(verdict: Verdict, width: int) -> list[str]:
    """Return the lines of the table in a terminal of a width."""
    console = Console(file=StringIO(), width=width)
    with console.capture() as captured:
        console.print(outcome_table(verdict))
    return captured.get().splitlines()


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (150, "task title status time worktree files lines cost tokens"),
        (118, "task title status time files lines cost"),
        (90, "task title status lines cost"),
        (60, "task title status"),
    ],
)
def test_columns_that_matter_less_go_first(width: int, columns: str) -> None:
    lines = shown(Verdict("r", RunStatus.SUCCEEDED, [DONE]), width)

    assert max(map(len, lines)) <= width
    (header,) = [line for line in lines if "title" in line]  # that of the last column may be above it
    assert header.split()[: len(columns.split())] == columns.split()
    words = set(" ".join(lines).split())
    assert not words & ({"worktree", "files", "time", "cost", "tokens"} - set(columns.split()))


def test_last_column_says_where_the_result_is() -> None:
    late = Outcome("1.2", "B", 1, Status.CHANGED, branch="b/1.2")
    built = Outcome("2.1", "C", 2, Status.CHANGED, branch="b/2.1")
    verdict = Verdict(
        "r",
        RunStatus.FAILED,
        [DONE, late, built],
        conflicts=[Conflict(1, ("1.1", "1.2"), ("a",))],
        requests=[PullRequest("1.1", 7, "https://github.test/7", "b", "main")],
        without={"2.1": ("1.2",)},
    )
    text = "\n".join(shown(verdict, 200))
    assert "https://github.test/7" in text
    assert "in conflict" in text
    assert "b/1.2: conflicts with task 1.1 in a" in text
    assert "b/2.1, without task 1.2" in text


def test_last_row_has_the_sums() -> None:
    other = Outcome("1.2", "B", 1, Status.CHANGED, added=1, removed=0, cost=0.08)
    verdict = Verdict("r", RunStatus.SUCCEEDED, [DONE, other], usage=DONE.usage + other.usage)
    last = shown(verdict, 200)[-1]
    assert last.split() == ["sum", "+13", "\N{MINUS SIGN}3", "$0.50", "12k", "in,", "1.5k", "out"]
    assert "sum" not in " ".join(shown(Verdict("r", RunStatus.SUCCEEDED, [DONE]), 200))
    nothing = Outcome("1.1", "A", 1, Status.UNCHANGED)
    assert "sum" not in " ".join(shown(Verdict("r", RunStatus.SUCCEEDED, [nothing, nothing]), 200))
