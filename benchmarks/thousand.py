"""Measure a run of many tasks: the cost of a task and the memory, window by window.

Each task is `true`, or with `--patches` writes a file of its own, so that only the program's own work is
measured. Processor time is that of the program and of every process that it started.

Usage: python benchmarks/thousand.py [--tasks N] [--batches N] [--pool N] [--window N] [--patches]
                                     [--sandbox off] [--json FILE]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from run import PATCHYARD, Scratch

TICKS = os.sysconf("SC_CLK_TCK")
UTIME, PARENT = 13, 3
"""Places of fields in `/proc/PID/stat`, counted from 0."""


@dataclass(frozen=True)
class Sample:
    """What a run has used by now: times in seconds, memory and the size of its database in MB."""

    tasks: int
    wall: float
    user: float
    system: float
    memory: float
    peak: float
    database: float


@dataclass(frozen=True)
class Window:
    """The cost of a task, in ms, between two samples, and the memory at its end, in MB."""

    first: int
    last: int
    wall: float
    user: float
    system: float
    memory: float
    peak: float
    database: float


def plan_of(tasks: int, *, batches: int = 10, patches: bool = False) -> str:
    """Return a plan with a number of tasks that do nothing, or that write a file each."""
    lines = ["# Many tasks\n"]
    for batch in range(1, batches + 1):
        lines.append(f"## Batch {batch}: Part {batch}\n")
        for number in range(1, tasks // batches + 1):
            command = f"echo {number} > b{batch}-{number}.txt" if patches else "true"
            lines.append(f"### Task {batch}.{number}: Small\n\n**Run:** `{command}`\n")
    return "\n".join(lines)


def stat_of(pid: int) -> list[str]:
    """Return the fields of `/proc/PID/stat`; the name of the process is one of them."""
    start, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    return [*start.split(" (", 1), *rest.split()]


def descendants(pid: int) -> Iterator[list[str]]:
    """Yield the fields of a process and of those that it started and that still run."""
    found: dict[int, list[str]] = {}
    for name in filter(str.isdigit, (path.name for path in Path("/proc").iterdir())):
        try:
            found[int(name)] = stat_of(int(name))
        except OSError:
            continue
    pending = [pid]
    while pending:
        one = pending.pop()
        if one in found:
            yield found[one]
        pending += [other for other, fields in found.items() if int(fields[PARENT]) == one]


def sample_of(pid: int, tasks: int, began: float, database: Path) -> Sample:
    """Return what a run has used by now."""
    user = system = 0
    for fields in descendants(pid):
        own_user, own_system, ended_user, ended_system = map(int, fields[UTIME : UTIME + 4])
        user, system = user + own_user + ended_user, system + own_system + ended_system
    sizes = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    memory, peak = (int(sizes[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    size = database.stat().st_size / 1e6 if database.exists() else 0.0
    return Sample(tasks, time.perf_counter() - began, user / TICKS, system / TICKS, memory, peak, size)


def measure(options: argparse.Namespace) -> tuple[list[Sample], float, float]:
    """Run the plan, and return the samples, the seconds it took, and the peak of its memory in MB."""
    with tempfile.TemporaryDirectory() as directory:
        repo = Scratch(Path(directory))
        repo.repository.mkdir()
        repo.git("init", "--quiet", "--initial-branch", "main")
        (repo.repository / "README.md").write_text("# Sample\n")
        repo.git("add", "--all")
        repo.git("commit", "--quiet", "--message", "first")
        plan = Path(directory, "plan.md")
        plan.write_text(plan_of(options.tasks, batches=options.batches, patches=options.patches))
        command = [PATCHYARD, "run", plan, "--json", "--no-cache", "--pool-size", str(options.pool)]
        command += ["--sandbox", options.sandbox]
        database = repo.repository / ".git" / "patchyard" / "patchyard.db"
        wanted = "changed" if options.patches else "unchanged"
        began = time.perf_counter()
        process = subprocess.Popen(
            [*map(str, command)], cwd=repo.repository, env=repo.environ, stdout=subprocess.PIPE, text=True
        )
        samples, ended = [], 0
        for line in process.stdout or ():
            if not line.startswith('{"event": "task_finished"'):
                continue
            ended += json.loads(line)["status"] == wanted
            if ended == 1 or ended % options.window == 0:
                samples.append(sample_of(process.pid, ended, began, database))
        if process.wait():
            sys.exit(f"the run ended with exit code {process.returncode}")
        if ended != options.tasks:
            sys.exit(f"{ended} of {options.tasks} tasks are {wanted}, as they should")
        return samples, time.perf_counter() - began, samples[-1].peak


def windows_of(samples: list[Sample]) -> list[Window]:
    """Return the cost of a task between each two samples."""
    found = []
    for one, other in pairwise(samples):
        count = other.tasks - one.tasks
        cost = [
            round((getattr(other, name) - getattr(one, name)) * 1000 / count, 2)
            for name in ("wall", "user", "system")
        ]
        sizes = [round(value, 1) for value in (other.memory, other.peak, other.database)]
        found.append(Window(one.tasks, other.tasks, *cost, *sizes))
    return found


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--pool", type=int, default=8)
    parser.add_argument("--window", type=int, default=100, help="tasks over which the cost is averaged")
    parser.add_argument("--sandbox", choices=("auto", "off"), default="auto")
    parser.add_argument("--patches", action="store_true", help="each task writes a file")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    samples, whole, peak = measure(options)
    windows = windows_of(samples)
    kind = "tasks that write a file" if options.patches else "x `true`"
    print(f"{options.tasks} {kind}, {options.batches} batches, pool of {options.pool}: ", end="")
    print(f"{whole:.1f} s, {peak:.0f} MB at the peak\n")
    print("| from task | to task | a task: wall | user | system | memory | database |")
    print("|---|---|---|---|---|---|---|")
    for one in windows:
        times = f"{one.wall:.1f} ms | {one.user:.1f} ms | {one.system:.1f} ms"
        print(f"| {one.first} | {one.last} | {times} | {one.memory:.0f} MB | {one.database:.1f} MB |")
    if options.json:
        given = {name: getattr(options, name) for name in ("tasks", "batches", "pool", "patches")}
        rows = [asdict(one) for one in windows]
        found = {**given, "seconds": round(whole, 2), "peak": round(peak, 1), "windows": rows}
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
