"""Compare mode `dagger` with a bare `dagger-io` script that runs the same execs on the same engine.

Whole commands are measured in turn; the result is the median of several rounds. A cold task is new to the
engine, a cached one is the same plan again. Needs an engine (`_EXPERIMENTAL_DAGGER_RUNNER_HOST`, or the one
that the `dagger` command line starts) and an image with git.

Usage: python benchmarks/engine.py [--rounds N] [--image REF] [--module]
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

PATCHYARD = shutil.which("patchyard", path=str(Path(sys.executable).parent)) or "patchyard"
CLI = "_EXPERIMENTAL_DAGGER_CLI_BIN"
TASKS = (1, 2, 4, 8)
SCRIPT = '''
"""The shortest equivalent: the tree of a repository, one container per task, and its changes back."""
import sys
from pathlib import Path
import anyio
import dagger

async def main(repo: str, image: str, out: str, mark: str, number: int) -> None:
    async with dagger.Connection(dagger.Config(log_output=open(f"{out}/log", "w"))) as client:
        git = client.host().directory(f"{repo}/.git").as_git()
        tree = git.head().tree(depth=1)

        async def task(name: str) -> None:
            command = f"sleep 1; echo {mark} > made-{name}"
            container = client.container().from_(image).with_workdir("/work")
            container = container.with_mounted_directory("/work", tree)
            done = container.with_exec(["sh", "-c", command], expect=dagger.ReturnType.ANY)
            assert await done.exit_code() == 0
            await done.directory("/work").changes(tree).as_patch().export(f"{out}/{name}.patch")

        async with anyio.create_task_group() as group:
            for index in range(number):
                group.start_soon(task, str(index + 1))

anyio.run(main, *sys.argv[1:5], int(sys.argv[5]))
'''
EMPTY_MODULE = '''
"""A function that does nothing."""
from dagger import function, object_type

@object_type
class Empty:
    @function(cache="never")
    async def nothing(self) -> str:
        """Do nothing."""
        return "done"
'''


EMPTY_PROJECT = """
[project]
name = "empty"
version = "0"
requires-python = ">=3.13"
dependencies = ["dagger-io"]
[build-system]
requires = ["uv_build>=0.8.4,<0.11.0"]
build-backend = "uv_build"
"""


class Bench:
    """A scratch directory with a repository, a plan and the bare script."""

    def __init__(self, directory: Path, image: str) -> None:
        self.directory = directory
        self.image = image
        self.repo = directory / "repo"
        self.environ = _environment(directory)
        self._make_repository()
        (directory / "script.py").write_text(SCRIPT)
        (directory / "out").mkdir()

    def _make_repository(self) -> None:
        self.repo.mkdir()
        for number in range(10):
            (self.repo / f"f{number}.txt").write_text(f"file {number}\n")
        for arguments in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "base"]):
            subprocess.run(["git", *arguments], cwd=self.repo, check=True, env=self.environ)

    def plan(self, tasks: int, mark: str) -> Path:
        """Write a plan of tasks that sleep for a second and write a file."""
        lines = ["# Bench", "", "## Batch 1: all", ""]
        for number in range(1, tasks + 1):
            command = f"sleep 1; echo {mark} > made-{number}"
            lines += [f"### Task 1.{number}: task {number}", "**Run:**", f"- `{command}`", ""]
        path = self.directory / "plan.md"
        path.write_text("\n".join(lines))
        return path

    def patchyard(self, tasks: int, mark: str) -> float:
        """Run the plan from this host."""
        flags = ("--mode", "dagger", "--pool-size", str(tasks), "--image", self.image, "--json")
        return self._timed(
            [PATCHYARD, "run", str(self.plan(tasks, mark)), "--repo", str(self.repo), "--no-cache", *flags]
        )

    def script(self, tasks: int, mark: str) -> float:
        """Run the bare script."""
        out = str(self.directory / "out")
        script = str(self.directory / "script.py")
        return self._timed([sys.executable, script, str(self.repo), self.image, out, mark, str(tasks)])

    def module(self, tasks: int, mark: str) -> float:
        """Call the module on the same plan."""
        plan = self.plan(tasks, mark)
        root = Path(__file__).parents[1]
        flags = (
            "--plan",
            str(plan),
            "--source",
            str(self.repo),
            "--pool-size",
            str(tasks),
            "--image",
            self.image,
        )
        return self._timed([_dagger(self.environ), "-s", "call", "-m", str(root), "run", *flags])

    def empty_function(self) -> float:
        """Call a function that does nothing."""
        path = self.directory / "empty"
        if not path.exists():
            (path / "src" / "empty").mkdir(parents=True)
            (path / "src" / "empty" / "__init__.py").write_text(EMPTY_MODULE)
            shutil.copy(Path(__file__).parents[1] / "dagger.json", path)
            described = json.loads((path / "dagger.json").read_text())
            (path / "dagger.json").write_text(
                json.dumps(
                    {"name": "empty", "engineVersion": described["engineVersion"], "sdk": described["sdk"]}
                )
            )
            (path / "pyproject.toml").write_text(EMPTY_PROJECT)
            subprocess.run(["git", "init", "-q"], cwd=path, check=True, env=self.environ)
        return self._timed([_dagger(self.environ), "-s", "call", "-m", str(path), "nothing"])

    def _timed(self, command: Sequence[str]) -> float:
        began = time.perf_counter()
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=self.environ)
        seconds = time.perf_counter() - began
        if done.returncode:
            raise SystemExit(f"{command} failed:\n{done.stdout}\n{done.stderr}")
        return seconds


def _environment(home: Path) -> dict[str, str]:
    own = {"HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "DO_NOT_TRACK": "1"}
    who = {f"GIT_{role}_{part}": "bench" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    environ = {**os.environ, **own, **who, "DAGGER_NO_NAG": "1"}
    return {**environ, CLI: _dagger(environ)}  # the SDK would download one of its own


def _dagger(environ: Mapping[str, str]) -> str:
    found = environ.get(CLI) or shutil.which("dagger", path=environ.get("PATH"))
    if not found:
        raise SystemExit(f"no dagger command line: put it on PATH, or set {CLI}")
    return found


@contextmanager
def bench(image: str) -> Iterator[Bench]:
    """Yield a bench, and remove it afterwards."""
    with tempfile.TemporaryDirectory() as name:
        yield Bench(Path(name), image)


def new_mark() -> str:
    """Return a text that is new to every engine."""
    return uuid.uuid4().hex


def medians(rounds: int, measures: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """Measure in turn for several rounds, and return the median of each measure."""
    taken: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            taken[name].append(measure())
    return {name: statistics.median(values) for name, values in taken.items()}


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    print(f"| {' | '.join(columns)} |")
    print(f"|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print(flush=True)


def _cold_and_cached(on: Bench, tasks: int) -> dict[str, Callable[[], float]]:
    """Return the measures for a number of tasks; each cached one follows its cold one."""
    marks: dict[str, str] = {}

    def cold(name: str, run: Callable[[int, str], float]) -> float:
        marks[name] = new_mark()
        return run(tasks, marks[name])

    return {
        "script": lambda: cold("script", on.script),
        "patchyard": lambda: cold("patchyard", on.patchyard),
        "script, cached": lambda: on.script(tasks, marks["script"]),
        "patchyard, cached": lambda: on.patchyard(tasks, marks["patchyard"]),
    }


def host_mode(on: Bench, rounds: int) -> None:
    """Measure whole commands from the host, cold and cached."""
    rows = []
    cached: dict[int, float] = {}
    for tasks in TASKS:
        found = medians(rounds, _cold_and_cached(on, tasks))
        cached[tasks] = found["patchyard, cached"]
        rows.append(
            (
                f"{tasks} x `sleep 1`",
                f"{found['script']:.2f} s",
                f"{found['patchyard']:.2f} s",
                f"{found['patchyard'] / found['script']:.2f} times",
                f"{found['script, cached']:.2f} s",
                f"{found['patchyard, cached']:.2f} s",
            )
        )
    print("### From the host, whole commands\n")
    table(("tasks", "script", "patchyard", "ratio", "script, cached", "patchyard, cached"), rows)
    few, many = TASKS[0], TASKS[-1]
    each = (cached[many] - cached[few]) / (many - few)
    print(f"A cached task takes {each:.2f} s more (from {few} to {many} of them).\n", flush=True)


def module_mode(on: Bench, rounds: int) -> None:
    """Compare the module with an empty function plus the bare script."""
    rows = []
    on.empty_function()
    on.module(1, new_mark())  # both are loaded now
    for tasks in TASKS:
        found = medians(
            rounds,
            {
                "empty": on.empty_function,
                "script": lambda tasks=tasks: on.script(tasks, new_mark()),  # type: ignore[misc]  # a lambda's default
                "module": lambda tasks=tasks: on.module(tasks, new_mark()),  # type: ignore[misc]  # likewise
            },
        )
        both = found["empty"] + found["script"]
        rows.append(
            (
                f"{tasks} x `sleep 1`",
                f"{found['empty']:.2f} s",
                f"{found['script']:.2f} s",
                f"{found['module']:.2f} s",
                f"{found['module'] / both:.2f} times",
            )
        )
    print("### The module, whole commands\n")
    table(("tasks", "empty function", "script", "`dagger call run`", "against both together"), rows)


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each measure; the median counts")
    parser.add_argument("--image", default=os.environ.get("PATCHYARD_TEST_IMAGE", "python:3.13"))
    parser.add_argument("--module", action="store_true", help="measure the module, too")
    given = parser.parse_args()
    with bench(given.image) as on:
        on.script(1, new_mark())  # the image is there from now on
        on.patchyard(1, new_mark())
        host_mode(on, given.rounds)
        if given.module:
            module_mode(on, given.rounds)


if __name__ == "__main__":
    main()
