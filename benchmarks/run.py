"""Measure whole commands of the program, and print the tables of the README.

Every figure is a ratio within one run on one machine: the candidates are measured in turn, round by round,
and the result is the median of the rounds. Each measured command runs a new plan in a repository whose
worktrees exist; the run that creates them is measured separately. The result of a command is checked before
its time is used.

Usage: python benchmarks/run.py [--rounds N] [--only sleep|cost|start] [--files N] [--readme README.md]
       [--json FILE]
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from pipeline.store.records import Run
from pipeline.store.store import FILE, Store
from tasks.outcome import Outcome, RunStatus, Status

PATCHYARD = Path(sys.executable).with_name("patchyard")
SLEEPS = ((2, 3), (3, 3), (4, 2), (16, 2))
FEW, MANY = 8, 40
"""Numbers of tasks; their difference gives the cost of each further task."""
SMALL = 10
"""Files in the small repository."""
RUNS, LARGE = 300, 1000
"""Runs of the repository, and tasks of the plan, that the commands of the table of starts are called for."""
Measure = Callable[[], float]


def environment(home: Path) -> dict[str, str]:
    """Return an environment without user configuration, in which compiled modules are kept."""
    ours = ("PATCHYARD_", "GIT_", "PYTHON", "GITHUB_", "GH_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    own = {"HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    who = {f"GIT_{role}_{part}": "bench" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    return {**kept, **own, **who}


@dataclass
class Scratch:
    """A scratch repository, and the directory around it."""

    directory: Path
    numbers: Iterator[int] = field(default_factory=count)

    @property
    def repository(self) -> Path:
        """The repository."""
        return self.directory / "repository"

    @property
    def environ(self) -> dict[str, str]:
        """The environment of the commands."""
        return environment(self.directory)

    def git(self, *arguments: str) -> str:
        """Run git in the repository and return what it writes."""
        return subprocess.run(
            ["git", "-C", str(self.repository), *arguments],
            check=True,
            env=self.environ,
            capture_output=True,
            text=True,
        ).stdout

    def plan(self, tasks: int, command: str, steps: int = 1) -> Path:
        """Write a new plan of tasks that run one command in each step; `{n}` is the number of the task."""
        turn = next(self.numbers)
        lines = [f"# Bench {turn}", "", "## Batch 1: all", ""]
        for number in range(1, tasks + 1):
            item = f"- `{command.format(n=number)}`"
            lines += [f"### Task 1.{number}: task {number}", "**Run:**", *[item] * steps, ""]
        path = self.directory / f"plan-{turn}.md"
        path.write_text("\n".join(lines))
        return path


@contextmanager
def scratch(files: int) -> Iterator[Scratch]:
    """Yield a repository with a number of small files, and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="patchyard-bench-") as name:
        repo = Scratch(Path(name))
        for number in range(files):
            file = repo.repository / f"d{number % 97}" / f"f{number}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"file {number}\n")
        repo.git("init", "--quiet", "--initial-branch", "main")
        repo.git("add", "--all")
        repo.git("commit", "--quiet", "--message", "base")
        yield repo


def timed(command: Sequence[str | Path], environ: Mapping[str, str]) -> tuple[float, str]:
    """Run a command, and return its wall time in seconds and its output.

    The output goes to a file, so that reading a pipe does not affect the time.
    """
    with tempfile.TemporaryFile("w+") as output:
        began = time.perf_counter()
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=output, env=environ)
        seconds = time.perf_counter() - began
        output.seek(0)
        return seconds, output.read()


def patchyard(repo: Scratch, tasks: int, command: str, *flags: str) -> tuple[float, dict[str, Any]]:
    """Run a new plan, and return the wall time in seconds and the `run_finished` of its JSON lines."""
    plan = repo.plan(tasks, command)
    arguments: list[str | Path] = [
        PATCHYARD,
        "run",
        plan,
        "--repo",
        repo.repository,
        "--json",
        "--no-cache",
        *flags,
    ]
    seconds, output = timed(arguments, repo.environ)
    finished: dict[str, Any] = json.loads(output.splitlines()[-1])
    commits = {outcome["commit"] for outcome in finished["outcomes"] if outcome["status"] == "changed"}
    branches = repo.git("for-each-ref", "--format=%(objectname)", "refs/heads/patchyard").split()
    if finished["status"] != "succeeded" or len(commits) != tasks or not commits <= set(branches):
        sys.exit(f"the run did not do its work: {finished}")
    return seconds, finished


def shell(repo: Scratch, tasks: int, command: str) -> float:
    """Do the same git work sequentially in a shell script, and return its wall time in seconds."""
    worktree = repo.directory / "shell-worktree"
    name = f"shell-{next(repo.numbers)}"
    patches = repo.directory / name
    steps = [
        "set -e",
        f'mkdir "{patches}"',
        f'cd "{repo.repository}"',
        "base=$(git rev-parse HEAD)",
        f'[ -d "{worktree}" ] || git worktree add -q --detach "{worktree}" "$base"',
        f'cd "{worktree}"',
    ]
    for number in range(1, tasks + 1):
        steps += [
            "git clean -ffdxq",
            'git reset -q --hard "$base"',
            f"sh -e -c '{command.format(n=number)}'",
            "git add -A",
            "tree=$(git write-tree)",
            f'git diff-tree -r -p --binary --full-index "$base" "$tree" > "{patches}/{number}.patch"',
            f'commit=$(echo "task {number}" | git commit-tree "$tree" -p "$base")',
            f'git update-ref "refs/heads/{name}/{number}" "$commit"',
        ]
    seconds, _ = timed(["sh", "-c", "\n".join(steps)], repo.environ)
    if sum(1 for patch in patches.iterdir() if patch.stat().st_size) != tasks:
        sys.exit("the script did not do its work")
    return seconds


def each(rounds: int, *measures: Measure) -> list[float]:
    """Measure in turn for several rounds, and return the median of each measure."""
    taken: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for values, measure in zip(taken, measures, strict=True):
            values.append(measure())
    return [statistics.median(values) for values in taken]


@dataclass(frozen=True)
class Table:
    """A table of figures."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        """Return it as Markdown, under its title."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        return "\n".join([f"**{self.title}**", "", *(f"| {' | '.join(cells)} |" for cells in lines), ""])

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object: an object for each row, by the columns."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return {"title": self.title, "rows": rows}


def sleeping(rounds: int, tasks: int, seconds: int) -> tuple[str, ...]:
    """Compare sleeping tasks in parallel with the same tasks in sequence."""
    command = f"sleep {seconds}; echo {{n}} > new-{{n}}.txt"
    inside: list[float] = []
    with scratch(SMALL) as repo:

        def together(sandbox: str = "off") -> float:
            flags = ("--mode", "parallel", "--pool-size", str(tasks), "--sandbox", sandbox)
            taken, finished = patchyard(repo, tasks, command, *flags)
            if sandbox == "off":
                inside.append(finished["efficiency"])
            return taken

        def one_by_one() -> float:
            return patchyard(repo, tasks, command, "--mode", "local", "--sandbox", "off")[0]

        first = together()
        inside.clear()
        measures: list[Measure] = [one_by_one, together, partial(together, "on")]
        alone, beside, *sandboxed = each(rounds, *measures[: None if shutil.which("bwrap") else -1])
    return (
        f"{tasks} x {seconds} s",
        f"{alone / beside:.2f} times",
        f"{alone / beside / tasks * 100:.1f} %",
        f"{alone / sandboxed[0] / tasks * 100:.1f} %" if sandboxed else "no bubblewrap",
        f"{alone / first / tasks * 100:.1f} %",
        f"{statistics.median(inside) * 100:.1f} %",
    )


def further_task(rounds: int, files: int) -> tuple[str, ...]:
    """Compare the cost of each further task with a shell script that does the same git work."""
    command = "echo {n} > new-{n}.txt"
    with scratch(files) as repo:

        def ours(tasks: int) -> Measure:
            return lambda: patchyard(repo, tasks, command, "--mode", "local", "--sandbox", "off")[0]

        def theirs(tasks: int) -> Measure:
            return lambda: shell(repo, tasks, command)

        for warm in (ours(1), theirs(1)):
            warm()
        few, bare_few, many, bare_many = each(rounds, ours(FEW), theirs(FEW), ours(MANY), theirs(MANY))
    own, bare = (many - few) / (MANY - FEW), (bare_many - bare_few) / (MANY - FEW)
    return f"{files:,} files", f"{own / bare:.2f} times", f"{own * 1000:.0f} ms", f"{bare * 1000:.0f} ms"


def start_up(rounds: int) -> Iterator[tuple[str, ...]]:
    """Compare commands that only read, in a repository with `RUNS` runs, with an idle interpreter."""
    with scratch(SMALL) as repo:
        add_runs(repo, RUNS)
        large = repo.plan(LARGE, "echo {n} > new-{n}.txt")
        completion = {
            "_PATCHYARD_COMPLETE": "bash_complete",
            "COMP_WORDS": "patchyard run --mo",
            "COMP_CWORD": "2",
        }
        commands: dict[str, tuple[list[str | Path], dict[str, str]]] = {
            "`patchyard --help`": (["--help"], {}),
            "completion of an option": ([], completion),
            f"`check` of {LARGE:,} tasks": (["check", large, "--repo", repo.repository], {}),
            f"`runs`, with {RUNS} runs": (["runs", "--repo", repo.repository], {}),
            "`status`, with as many": (["status", "--repo", repo.repository], {}),
            "`logs`, with as many": (["logs", "--repo", repo.repository], {}),
        }

        def whole(arguments: list[str | Path], more: dict[str, str]) -> Measure:
            return lambda: timed([PATCHYARD, *arguments], {**repo.environ, **more})[0]

        measures = [whole(*call) for call in commands.values()]
        for measure in measures:
            measure()
        bare, *seconds = each(
            max(rounds, 9), lambda: timed([sys.executable, "-c", "pass"], repo.environ)[0], *measures
        )
    for name, taken in zip(commands, seconds, strict=True):
        yield name, f"{taken:.2f} s", f"{taken / bare:.1f} times"


def add_runs(repo: Scratch, number: int) -> None:
    """Store a number of ended runs, and run the last one."""
    started = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    path = repo.repository / ".git" / "patchyard" / FILE
    path.parent.mkdir(exist_ok=True)
    with Store(f"sqlite:///{path}") as store:
        for turn in range(number - 1):
            run = Run(
                id=f"20260102-030405-{turn:04x}",
                plan_path="plan.md",
                plan_name=f"plan-{turn}",
                plan_title=f"Plan {turn}",
                plan_text="# Plan\n",
                base="a" * 40,
                base_name="main",
                pool_size=3,
                status=RunStatus.SUCCEEDED,
                started_at=started,
                seconds=1.0,
            )
            store.open_run(run)
            store.keep_outcome(run.id, 0, Outcome("1.1", "task", 1, Status.UNCHANGED))
    patchyard(repo, 2, "echo {n} | tee new-{n}.txt", "--mode", "local")


def about() -> str:
    """Return the versions and the machine of the measurement."""
    git = subprocess.run(["git", "version"], check=True, capture_output=True, text=True).stdout.strip()
    return f"Python {platform.python_version()}, {git}, {os.cpu_count()} cores, {platform.system()}."


def tables(given: argparse.Namespace) -> Iterator[Table]:
    """Yield the selected tables."""
    rounds: int = given.rounds
    if given.only in {None, "sleep"}:
        yield Table(
            "Tasks that sleep, side by side against one by one",
            (
                "tasks",
                "faster",
                "of the pool",
                "of the pool, in the sandbox",
                "of the pool, making the worktrees",
                "of the pool, inside the run",
            ),
            [sleeping(rounds, tasks, seconds) for tasks, seconds in SLEEPS],
        )
    if given.only in {None, "cost"}:
        yield Table(
            "What each further task costs, against a bare shell script with the same git work",
            ("repository", "ratio", "patchyard", "script"),
            [further_task(rounds, files) for files in (SMALL, given.files)],
        )
    if given.only in {None, "start"}:
        yield Table("Start", ("command", "time", "against `python -c pass`"), [*start_up(rounds)])


def put_into(page: Path, text: str) -> None:
    """Insert the tables between the marks of a page."""
    before, begin, rest = page.read_text(encoding="utf-8").partition("<!-- benchmark -->\n")
    _, end, after = rest.partition("<!-- /benchmark -->")
    page.write_text(f"{before}{begin}{text}{end}{after}", encoding="utf-8")


def main() -> None:
    """Measure, print, and update the README."""
    parser = argparse.ArgumentParser(description="Measures the program as whole commands, as ratios.")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each measure; the median counts")
    parser.add_argument("--only", choices=["sleep", "cost", "start"], help="one of the tables")
    parser.add_argument("--files", type=int, default=20_000, help="files in the large repository")
    parser.add_argument("--json", type=Path, help="write the figures into this file, too")
    parser.add_argument("--readme", type=Path, help="put the tables into this page, too")
    given = parser.parse_args()
    if not PATCHYARD.exists() or shutil.which("git") is None:
        sys.exit(f"install patchyard beside {sys.executable}, and git, first: `make wheel`")
    head = f"{about()} Median of {given.rounds} rounds.\n"
    print(head, flush=True)
    found = []
    for part in tables(given):
        found.append(part)
        print(part, flush=True)
    if given.readme:
        put_into(given.readme, "".join(f"{part}\n" for part in (head, *found)))
    if given.json:
        figures = {"about": head.strip(), "tables": [part.as_json() for part in found]}
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
