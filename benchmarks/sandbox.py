"""Measure what the sandbox costs a task, in pairs: the same plan with it and without, in turn.

Each task is `true`, or several steps of it. The figure of a round is the difference of the two runs of the
pair, divided by the number of tasks; the result is the median of the rounds. The first pair, which creates the
worktrees, does not count. Processor time is that of the program and of every process that it started.

Usage: python benchmarks/sandbox.py [--tasks N] [--pool N] [--steps N,N] [--rounds N] [--network off]
       [--page docs/sandbox.md] [--json FILE]
"""

import argparse
import json
import os
import resource
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from load import put_into
from run import PATCHYARD, SMALL, Scratch, Table, about, scratch, timed

HOME = (
    ".bashrc",
    ".config/tool/settings",
    ".config/gh/hosts.yml",
    ".ssh/id",
    ".local/share/tool/data",
    ".npmrc",
)
"""Files of the home directory, some of them secret."""


@dataclass(frozen=True)
class Cost:
    """What a run took: seconds of wall time and of processors."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Pair:
    """What the sandbox costs, in milliseconds a task, and how often it takes the time of the other run."""

    wall: float
    cpu: float
    ratio: float


def cost(repo: Scratch, tasks: int, steps: int, *flags: str) -> Cost:
    """Run a new plan, check that its tasks did what they should, and return what it took."""
    plan = repo.plan(tasks, "true", steps)
    arguments: list[str | Path] = [PATCHYARD, "run", plan, "--repo", repo.repository, "--json", "--no-cache"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, output = timed([*arguments, *flags], repo.environ)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    finished = json.loads(output.splitlines()[-1])
    statuses = [outcome["status"] for outcome in finished["outcomes"]]
    if statuses != ["unchanged"] * tasks:
        sys.exit(f"the run did not do its work: {finished}")
    return Cost(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def pairs(repo: Scratch, given: argparse.Namespace, steps: int) -> list[Pair]:
    """Run the plan in turn with the sandbox and without; return each difference."""
    found = []
    common = ("--pool-size", str(given.pool))
    for number in range(given.rounds + 1):
        tasks = given.tasks if number else given.pool
        inside, outside = ("--sandbox", "on", "--sandbox-network", given.network), ("--sandbox", "off")
        order = (inside, outside) if number % 2 else (outside, inside)
        costs = {flags: cost(repo, tasks, steps, *common, *flags) for flags in order}
        own, other = costs[inside], costs[outside]
        if number:
            wall, cpu = ((a - b) / tasks * 1000 for a, b in ((own.wall, other.wall), (own.cpu, other.cpu)))
            found.append(Pair(wall, cpu, own.wall / other.wall))
    return found


def row(steps: int, found: list[Pair]) -> tuple[str, ...]:
    """Return the cells of a number of steps."""
    middle = [statistics.median(getattr(pair, name) for pair in found) for name in ("wall", "cpu", "ratio")]
    walls = sorted(pair.wall for pair in found)
    return (
        "1 step" if steps == 1 else f"{steps} steps",
        f"{middle[0]:.1f} ms",
        f"{walls[0]:.1f} to {walls[-1]:.1f} ms",
        f"{middle[1]:.1f} ms",
        f"{middle[2]:.2f} times",
    )


def main() -> None:
    """Measure, print, and update the page."""
    parser = argparse.ArgumentParser(description="Measures what the sandbox costs a task.")
    parser.add_argument("--tasks", type=int, default=200, help="tasks of a run")
    parser.add_argument("--pool", type=int, default=8, help="tasks side by side")
    parser.add_argument("--steps", default="1,4", help="numbers of steps of a task")
    parser.add_argument("--rounds", type=int, default=5, help="pairs; the median counts")
    parser.add_argument("--network", default="on", help="the network of the sandbox: on, off, or a host")
    parser.add_argument("--page", type=Path, help="put the table into this page, too")
    parser.add_argument("--json", type=Path, help="write the figures into this file, too")
    given = parser.parse_args()
    measured: dict[int, list[Pair]] = {}
    with scratch(SMALL) as repo:
        for name in HOME:
            path = repo.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x\n")
        for steps in map(int, given.steps.split(",")):
            measured[steps] = pairs(repo, given, steps)
    table = Table(
        f"What the sandbox adds to each of {given.tasks} tasks `true`, {given.pool} side by side",
        ("a task of", "wall time", "of the pairs", "processor time", "of the whole run"),
        [row(steps, found) for steps, found in measured.items()],
    )
    text = f"{about()} Median of {given.rounds} pairs.\n\n{table}\n"
    print(text)
    if given.page:
        put_into(given.page, text, "sandbox")
    if given.json:
        figures = {name: getattr(given, name) for name in ("tasks", "pool", "rounds", "network")}
        rows = {str(steps): [asdict(pair) for pair in found] for steps, found in measured.items()}
        given.json.write_text(json.dumps({**figures, "cores": os.cpu_count(), "steps": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
