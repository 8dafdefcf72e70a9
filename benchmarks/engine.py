"""Measures the dagger mode against a bare `dagger-io` script that does the same execs on the same engine.

Whole commands, start to exit, in turn with each other, in one run; the median of several rounds counts. Needs
an engine (`_EXPERIMENTAL_DAGGER_RUNNER_HOST`) and the `dagger` command line. Usage: python benchmarks/engine.py
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
import uuid
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGE = os.environ.get("PATCHYARD_TEST_IMAGE", "python:3.13")
DAGGER = os.environ.get("_EXPERIMENTAL_DAGGER_CLI_BIN") or shutil.which("dagger") or "dagger"
TASKS = (1, 2, 4, 8)
BARE = """
import sys, anyio, dagger

async def main(repo, image, marks):
    config = dagger.Config(retry=None, log_output=open(repo + "/../bare.log", "w"))
    async with dagger.Connection(config) as client:
        unneeded = ["worktrees", "hooks", "patchyard"]
        git = client.host().directory(repo + "/.git", exclude=unneeded, no_cache=True)
        tree = git.as_git().head().tree(depth=1)

        async def task(mark):
            command = f"sleep 1; echo {mark} > {mark}.txt"
            done = (
                client.container().from_(image).with_workdir("/work").with_mounted_directory("/work", tree)
                .with_exec(["sh", "-e", "-c", command])
            )
            await done.stdout()
            bare = lambda directory: directory.without_directory(".git")
            changes = bare(done.directory("/work")).changes(bare(tree))
            await changes.export(f"{repo}/../out-{mark}")

        async with anyio.create_task_group() as group:
            for mark in marks:
                group.start_soon(task, mark)

anyio.run(main, sys.argv[1], sys.argv[2], sys.argv[3:])
"""
EMPTY = """
from dagger import function, object_type

@object_type
class Empty:
    @function(cache="never")
    async def nothing(self) -> str:
        return "nothing"
"""


def plan(marks: Sequence[str]) -> str:
    """Return a plan with a task for each mark."""
    lines = ["# Bench"]
    for number, mark in enumerate(marks, 1):
        lines += [f"### Task {number}: T{number}", "**Run:**", f"- `sleep 1; echo {mark} > {mark}.txt`"]
    return "\n".join([*lines, ""])


def timed(command: Sequence[str], cwd: Path) -> tuple[float, str]:
    """Run a whole command; returns its seconds and its standard output."""
    began = time.perf_counter()
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=cwd, stdin=subprocess.DEVNULL
    )
    return time.perf_counter() - began, done.stdout


class Bench:
    """A scratch repository, and the three ways to run the same tasks over it."""

    def __init__(self, home: Path) -> None:
        self.repo = home / "repository"
        self.repo.mkdir()
        for number in range(10):
            (self.repo / f"f{number}.txt").write_text(f"{number}\n")
        (self.repo / ".gitignore").write_text("plan.md\n")
        who = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
        for arguments in (["init", "-q", "-b", "main"], ["add", "-A"], [*who, "commit", "-q", "-m", "base"]):
            subprocess.run(["git", *arguments], check=True, cwd=self.repo)
        self.script = home / "bare.py"
        self.script.write_text(BARE)
        self.empty = home / "empty"
        (self.empty / "src" / "empty").mkdir(parents=True)
        (self.empty / "src" / "empty" / "__init__.py").write_text(EMPTY)
        (self.empty / "dagger.json").write_text(
            json.dumps({"name": "empty", "engineVersion": "v0.21.8", "sdk": {"source": "python"}})
        )
        (self.empty / "pyproject.toml").write_text(
            '[project]\nname = "empty"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = ["dagger-io"]\n'
            '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
            '[tool.hatch.build.targets.wheel]\npackages = ["src/empty"]\n'
            f'[tool.dagger]\nbase-image = "{IMAGE}"\n'
            '[project.entry-points."dagger.mod"]\nmain_object = "empty:Empty"\n'
        )

    def bare(self, marks: Sequence[str]) -> float:
        """The script."""
        return timed([sys.executable, str(self.script), str(self.repo), IMAGE, *marks], self.repo)[0]

    def host(self, marks: Sequence[str]) -> tuple[float, list[float]]:
        """`patchyard run --mode dagger`; also the seconds of each task."""
        (self.repo / "plan.md").write_text(plan(marks))
        flags = ["--mode", "dagger", "--image", IMAGE, "--pool-size", str(len(marks)), "--json"]
        seconds, out = timed([sys.executable, "-m", "pipeline", "run", "plan.md", *flags], self.repo)
        finished = json.loads(out.splitlines()[-1])
        return seconds, [outcome["seconds"] for outcome in finished["outcomes"]]

    def module(self, marks: Sequence[str]) -> float:
        """`dagger call run`."""
        (self.repo / "plan.md").write_text(plan(marks))
        flags = ["run", "--plan", "plan.md", "--image", IMAGE, "--pool-size", str(len(marks))]
        return timed([DAGGER, "--silent", "call", "-m", str(ROOT), *flags], self.repo)[0]

    def nothing(self) -> float:
        """`dagger call` of a function that does nothing."""
        return timed([DAGGER, "--silent", "call", "-m", str(self.empty), "nothing"], self.repo)[0]


def rows_of(bench: Bench, rounds: int) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Measure, and return the rows of the two tables."""
    host: list[tuple[str, ...]] = []
    module: list[tuple[str, ...]] = []
    bench.bare(["warm"])
    bench.host(["warm"])
    bench.module(["warm"])
    bench.nothing()
    for count in TASKS:
        taken: dict[str, list[float]] = {
            name: [] for name in ("bare", "host", "again", "each", "module", "nothing")
        }
        bare_again: list[float] = []
        for _ in range(rounds):
            marks = [[f"{name}-{uuid.uuid4().hex[:8]}-{n}" for n in range(count)] for name in "bhm"]
            taken["bare"].append(bench.bare(marks[0]))
            bare_again.append(bench.bare(marks[0]))
            taken["host"].append(bench.host(marks[1])[0])
            seconds, each = bench.host(marks[1])
            taken["again"].append(seconds)
            taken["each"].append(statistics.mean(each) / count)
            taken["module"].append(bench.module(marks[2]))
            taken["nothing"].append(bench.nothing())
        mid = {name: statistics.median(values) for name, values in taken.items()}
        bare_cached = statistics.median(bare_again)
        host.append(
            (
                str(count),
                f"{mid['host'] / mid['bare']:.2f}",
                f"{mid['again'] / bare_cached:.2f}",
                f"{mid['each']:.3f} s",
                f"{mid['bare']:.1f} s",
            )
        )
        module.append(
            (str(count), f"{mid['module'] / (mid['nothing'] + mid['bare']):.2f}", f"{mid['nothing']:.1f} s")
        )
    return host, module


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print(flush=True)


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each measure; the median counts")
    rounds = parser.parse_args().rounds
    version = subprocess.run([DAGGER, "version"], check=True, capture_output=True, text=True).stdout.split()[1]
    with tempfile.TemporaryDirectory() as home:
        host, module = rows_of(Bench(Path(home)), rounds)
    print(f"Dagger {version}, tasks of `sleep 1`, whole commands\n")
    table(
        ("tasks", "host mode / bare script", "the same, cached", "a cached task", "the script itself"),
        host,
    )
    table(("tasks", "module / (empty function + bare script)", "the empty function"), module)


if __name__ == "__main__":
    main()
