"""Measures the program as whole commands, and prints tables of ratios.

Every ratio comes from one run on one machine, with what it is compared to measured in turn with it; the
median of several rounds counts. Usage: python benchmarks/run.py [--rounds N] [--quick]
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PATCHYARD = shutil.which("patchyard", path=str(Path(sys.executable).parent)) or "patchyard"
SLEEPS = ((2, 3), (3, 3), (4, 2), (16, 2))
FEW, MANY = 8, 40
"""Numbers of tasks whose difference gives what each further task costs."""


@dataclass(frozen=True)
class Measured:
    """A whole command: its wall time in seconds, and what its last JSON line said."""

    seconds: float
    finished: dict[str, float]


def environment(home: Path) -> dict[str, str]:
    """Return an environment in which nobody's git configuration counts."""
    own = {"HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    who = {f"GIT_{role}_{part}": "bench" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    return {**os.environ, **own, **who}


@contextmanager
def repository(files: int) -> Iterator[Path]:
    """Make a repository of that many small files; it is removed with everything around it."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "repository"
        path.mkdir()
        for number in range(files):
            file = path / f"d{number % 97}" / f"f{number}.txt"
            file.parent.mkdir(exist_ok=True)
            file.write_text(f"file {number}\n")
        git = ["git", "-C", str(path)]
        for arguments in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "base"]):
            subprocess.run([*git, *arguments], check=True, env=environment(Path(name)))
        yield path


def plan(tasks: int, command: str) -> str:
    """Return a plan of tasks that all run one command; `{n}` is the task's number."""
    lines = ["# Bench", "", "## Batch 1: all", ""]
    for number in range(1, tasks + 1):
        lines += [f"### Task 1.{number}: task {number}", "**Run:**", f"- `{command.format(n=number)}`", ""]
    return "\n".join(lines)


def patchyard(repo: Path, text: str, *flags: str) -> Measured:
    """Run a plan as a whole command."""
    path = repo.parent / "plan.md"
    path.write_text(text)
    began = time.perf_counter()
    done = subprocess.run(
        [PATCHYARD, "run", str(path), "--repo", str(repo), "--json", *flags],
        check=True,
        capture_output=True,
        text=True,
        env=environment(repo.parent),
    )
    seconds = time.perf_counter() - began
    return Measured(seconds, json.loads(done.stdout.splitlines()[-1]))


def shell(repo: Path, tasks: int, command: str) -> float:
    """Do the same git work in a bare shell script; returns its wall time in seconds."""
    worktree = repo.parent / "shell-worktree"
    steps = [
        "set -e",
        f'cd "{repo}"',
        "base=$(git rev-parse HEAD)",
        f'[ -d "{worktree}" ] || git worktree add -q --detach "{worktree}" "$base"',
        f'cd "{worktree}"',
    ]
    for number in range(1, tasks + 1):
        steps += [
            'git reset -q --hard "$base"',
            "git clean -ffdxq",
            f"sh -e -c '{command.format(n=number)}'",
            "git add -A",
            "tree=$(git write-tree)",
            f'git diff-tree -r -p --binary --full-index "$base" "$tree" > ../shell-{number}.patch',
            f'commit=$(echo "task {number}" | git commit-tree "$tree" -p "$base")',
            f'git update-ref "refs/heads/shell/{number}" "$commit"',
        ]
    began = time.perf_counter()
    subprocess.run(["sh", "-c", "\n".join(steps)], check=True, env=environment(repo.parent))
    return time.perf_counter() - began


def each(rounds: int, *measures: Callable[[], float]) -> list[float]:
    """Take measures in turn, several rounds, and return the median of each."""
    taken: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for values, measure in zip(taken, measures, strict=True):
            values.append(measure())
    return [statistics.median(values) for values in taken]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    print(f"| {' | '.join(columns)} |")
    print(f"|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print(flush=True)


def side_by_side(rounds: int) -> None:
    """Sleeping tasks: side by side against one by one."""
    rows = []
    for tasks, seconds in SLEEPS:
        with repository(10) as repo:
            text = plan(tasks, f"sleep {seconds}")
            inside: list[float] = []

            def together(
                text: str = text, repo: Path = repo, tasks: int = tasks, inside: list[float] = inside
            ) -> float:
                measured = patchyard(repo, text, "--mode", "parallel", "--pool-size", str(tasks))
                inside.append(measured.finished["efficiency"])
                return measured.seconds

            def one_by_one(text: str = text, repo: Path = repo) -> float:
                return patchyard(repo, text, "--mode", "local").seconds

            alone, beside = each(rounds, one_by_one, together)
            speedup = alone / beside
            rows.append(
                (
                    f"{tasks} x {seconds} s",
                    f"{speedup:.2f} times",
                    f"{speedup / tasks * 100:.1f} %",
                    f"{statistics.median(inside) * 100:.1f} %",
                )
            )
    print("### Side by side against one by one\n")
    table(("tasks", "faster, whole command", "of the pool", "of the pool, inside the run"), rows)


def own_cost(rounds: int) -> None:
    """What each further task costs, against a bare shell script that does the same git work."""
    rows = []
    command = "echo {n} > new-{n}.txt"
    for files, name in ((10, "10 files"), (20_000, "20,000 files")):
        with repository(files) as repo:

            def ours(tasks: int, repo: Path = repo) -> Callable[[], float]:
                return lambda: patchyard(repo, plan(tasks, command), "--mode", "local").seconds

            def theirs(tasks: int, repo: Path = repo) -> Callable[[], float]:
                return lambda: shell(repo, tasks, command)

            for warm in (ours(1), theirs(1)):
                warm()
            few, many, bare_few, bare_many = each(rounds, ours(FEW), ours(MANY), theirs(FEW), theirs(MANY))
            own, bare = (many - few) / (MANY - FEW), (bare_many - bare_few) / (MANY - FEW)
            rows.append((name, f"{own / bare:.2f} times", f"{own * 1000:.0f} ms", f"{bare * 1000:.0f} ms"))
    print("### What each further task costs, against a bare shell script with the same git work\n")
    table(("repository", "ratio", "patchyard", "script"), rows)


def start_up(rounds: int) -> None:
    """`patchyard --help` against an interpreter that does nothing."""

    def timed(*command: str) -> Callable[[], float]:
        def measure() -> float:
            began = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            return time.perf_counter() - began

        return measure

    shown, bare = each(max(rounds, 5), timed(PATCHYARD, "--help"), timed(sys.executable, "-c", "pass"))
    print("### Start-up\n")
    table(
        ("command", "seconds", "against `python -c pass`"),
        [("`patchyard --help`", f"{shown:.2f}", f"{shown / bare:.1f} times")],
    )


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each measure; the median counts")
    parser.add_argument("--quick", action="store_true", help="one round of each measure")
    given = parser.parse_args()
    rounds = 1 if given.quick else given.rounds
    side_by_side(rounds)
    own_cost(rounds)
    start_up(rounds)


if __name__ == "__main__":
    main()
