"""Compare mode `dagger` with container-use and with a bare `dagger-io` script on the same engine.

Whole commands are measured in turn, from start to exit; the result is the median of the rounds. Each task is
`sleep 1` in a container of its own, all at the same time. A cold task is new to the engine, a cached one is the
same plan again, whose outcomes the program itself does not restore. The worktrees exist; container-use, which
keeps none, works on a fresh copy of the repository each time. Needs an engine
(`_EXPERIMENTAL_DAGGER_RUNNER_HOST`, or the one that the `dagger` command line starts) and an image with git.

Usage: python benchmarks/engine.py [--rounds N] [--tasks N,N] [--image REF] [--container-use PROGRAM] [--module]
       [--page docs/scale.md] [--json FILE [--add]]
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import anyio
from container_use import IMAGE_FILE, Server, image_file
from load import put_into
from run import PATCHYARD, SMALL, Scratch, Table, about, scratch, timed

from containers.dagger_engine.session import CLI, Session

CONTAINER_USE = "CONTAINER_USE"
"""Variable that names the program of container-use."""
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


Figures = dict[str, list[float]]
"""Seconds of each round, by what was measured."""


class Bench:
    """A repository, and what is measured on it."""

    def __init__(self, repo: Scratch, image: str, container_use: Path | None) -> None:
        self._repo = repo
        self._image = image
        self._container_use = container_use
        self._environ = _environment(repo)
        self._script = repo.directory / "script.py"
        self._script.write_text(SCRIPT)
        self._turn = 0

    def measures(self, tasks: int) -> dict[str, Callable[[], float]]:
        """Return what is measured for a number of tasks; a cached run follows its cold one."""
        plans: list[Path] = []

        def cold() -> float:
            plans[:] = [self._plan(tasks)]
            return self._patchyard(plans[0], tasks, cached=False)

        measures: dict[str, Callable[[], float]] = {
            "script": partial(self._bare_script, tasks),
            "patchyard": cold,
            "cached": lambda: self._patchyard(plans[0], tasks, cached=True),
            "connection": self._connection,
        }
        if self._container_use:
            measures["container-use"] = partial(self._environments, self._container_use, tasks)
        return measures

    def module_measures(self, tasks: int) -> dict[str, Callable[[], float]]:
        """Return what is measured for a number of tasks of the module."""
        return {
            "empty": self.empty_function,
            "script": partial(self._bare_script, tasks),
            "module": partial(self.module, tasks),
        }

    def _plan(self, tasks: int) -> Path:
        return self._repo.plan(tasks, f"sleep 1; echo {new_mark()} > made-{{n}}")

    def _patchyard(self, plan: Path, tasks: int, *, cached: bool) -> float:
        flags = ("--mode", "dagger", "--pool-size", str(tasks), "--image", self._image, "--json", "--no-cache")
        seconds, output = timed(
            [PATCHYARD, "run", plan, "--repo", self._repo.repository, *flags], self._environ
        )
        outcomes = json.loads(output.splitlines()[-1])["outcomes"]
        if [(one["status"], one["cached"]) for one in outcomes] != [("changed", cached)] * tasks:
            sys.exit(f"the run did not do its work: {output}")
        return seconds

    def _bare_script(self, tasks: int) -> float:
        out = self._repo.directory / "out"
        out.mkdir(exist_ok=True)
        command: list[str | Path] = [
            sys.executable,
            self._script,
            self._repo.repository,
            self._image,
            out,
            new_mark(),
            str(tasks),
        ]
        return timed(command, self._environ)[0]

    def _environments(self, program: Path, tasks: int) -> float:
        """Run the commands in environments of container-use."""
        self._turn += 1
        copy = self._repo.directory / f"copy-{self._turn}"
        subprocess.run(["git", "clone", "--quiet", self._repo.repository, copy], check=True, env=self._environ)
        (copy / IMAGE_FILE).parent.mkdir()
        (copy / IMAGE_FILE).write_text(image_file(self._image))
        for arguments in (
            ["remote", "remove", "origin"],  # container-use would fetch from it
            ["add", "--all"],
            ["commit", "--quiet", "--message", "image"],
        ):
            subprocess.run(["git", "-C", copy, *arguments], check=True, env=self._environ)
        mark = new_mark()
        began = time.perf_counter()
        with Server(program, copy, self._environ) as server:
            server.run([f"sleep 1 # {mark} {number}" for number in range(tasks)])
        return time.perf_counter() - began

    def _connection(self) -> float:
        """Open a session with the engine, and close it."""

        async def connect() -> None:
            log = self._repo.directory / "session.log"
            await (await Session.open(None, self._environ, log)).aclose()

        began = time.perf_counter()
        anyio.run(connect)
        return time.perf_counter() - began

    def module(self, tasks: int) -> float:
        """Call the module on a new plan."""
        plan = self._plan(tasks)
        root = Path(__file__).parents[1]
        flags = (
            "--plan",
            str(plan),
            "--source",
            str(self._repo.repository),
            "--pool-size",
            str(tasks),
            "--image",
            self._image,
        )
        return timed([self._environ[CLI], "-s", "call", "-m", str(root), "run", *flags], self._environ)[0]

    def empty_function(self) -> float:
        """Call a function that does nothing."""
        path = self._repo.directory / "empty"
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
            subprocess.run(["git", "init", "-q"], cwd=path, check=True, env=self._environ)
        return timed([self._environ[CLI], "-s", "call", "-m", str(path), "nothing"], self._environ)[0]


def _environment(repo: Scratch) -> dict[str, str]:
    """Return the environment of the commands, with the `dagger` that is used; the SDK would download one."""
    environ = {**repo.environ, "DO_NOT_TRACK": "1", "DAGGER_NO_NAG": "1"}
    found = environ.get(CLI) or shutil.which("dagger", path=environ.get("PATH"))
    if not found:
        sys.exit(f"no dagger command line: put it on PATH, or set {CLI}")
    return {**environ, CLI: found}


def new_mark() -> str:
    """Return a text that is new to every engine."""
    return uuid.uuid4().hex


def in_turn(rounds: int, measures: Mapping[str, Callable[[], float]]) -> Figures:
    """Measure in turn for several rounds."""
    taken: Figures = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            taken[name].append(measure())
    return taken


def middle(figures: Figures) -> dict[str, float]:
    """Return the medians."""
    return {name: statistics.median(values) for name, values in figures.items()}


def _host_row(tasks: int, found: Mapping[str, float]) -> tuple[str, ...]:
    own, other = found["patchyard"], found.get("container-use")
    return (
        f"{tasks} x `sleep 1`",
        f"{other:.2f} s" if other else "not measured",
        f"{found['script']:.2f} s",
        f"{own:.2f} s",
        f"{own / other:.2f} times" if other else "",
        f"{own / found['script']:.2f} times",
        f"{found['cached']:.2f} s",
    )


def host_mode(figures: Mapping[int, Figures]) -> str:
    """Return the table of whole commands from the host, and what follows from it."""
    found = {tasks: middle(one) for tasks, one in figures.items()}
    columns = ("tasks", "container-use", "script", "patchyard", "to container-use", "to the script", "cached")
    rows = [_host_row(tasks, one) for tasks, one in found.items()]
    few, many = min(found), max(found)
    text = f"{Table('From the host, whole commands', columns, rows)}\n"
    connection = statistics.median(one["connection"] for one in found.values())
    text += f"Of the first cached run, {connection:.2f} s are the connection."
    if many > few:
        each = (found[many]["cached"] - found[few]["cached"]) / (many - few)
        text += f" A further cached task takes {each * 1000:.0f} ms (from {few} to {many})."
    return f"{text}\n"


def module_mode(figures: Mapping[int, Figures]) -> str:
    """Return the table that compares the module with an empty function and the script together."""
    rows = []
    for tasks, found in ((tasks, middle(one)) for tasks, one in figures.items()):
        both = found["empty"] + found["script"]
        seconds = (f"{found[name]:.2f} s" for name in ("empty", "script", "module"))
        rows.append((f"{tasks} x `sleep 1`", *seconds, f"{found['module'] / both:.2f} times"))
    columns = ("tasks", "empty function", "script", "`dagger call run`", "to both together")
    return f"{Table('The module, whole commands', columns, rows)}\n"


def _read(path: Path) -> dict[str, dict[int, Figures]]:
    """Return the figures of an earlier call."""
    found = json.loads(path.read_text())
    return {name: {int(tasks): one for tasks, one in found[name].items()} for name in ("host", "module")}


def main() -> None:
    """Measure, print, and update the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each measure; the median counts")
    parser.add_argument("--tasks", default="1,4,8", help="numbers of tasks")
    parser.add_argument("--image", default=os.environ.get("PATCHYARD_TEST_IMAGE", "python:3.13"))
    parser.add_argument("--container-use", type=Path, default=os.environ.get(CONTAINER_USE), help="its program")
    parser.add_argument("--module", action="store_true", help="measure the module, too")
    parser.add_argument("--page", type=Path, help="put the tables into this page, too")
    parser.add_argument("--json", type=Path, help="write the figures into this file, too")
    parser.add_argument("--add", action="store_true", help="with the figures that the file has: other numbers")
    given = parser.parse_args()
    program = Path(given.container_use) if given.container_use else None
    numbers = [int(number) for number in given.tasks.split(",")]
    figures: dict[str, dict[int, Figures]] = _read(given.json) if given.add else {"host": {}, "module": {}}
    with scratch(SMALL) as repo:
        on = Bench(repo, given.image, program)
        in_turn(1, on.measures(max(numbers)))  # the image and the worktrees are there from now on
        figures["host"] |= {tasks: in_turn(given.rounds, on.measures(tasks)) for tasks in numbers}
        if given.module:
            in_turn(1, on.module_measures(1))  # both modules are loaded now
            figures["module"] |= {tasks: in_turn(given.rounds, on.module_measures(tasks)) for tasks in numbers}
    if not program:
        print(f"container-use is not measured: name its program with --container-use or {CONTAINER_USE}")
    version = subprocess.run([_environment(repo)[CLI], "version"], check=True, capture_output=True, text=True)
    rounds = {len(values) for mode in figures.values() for one in mode.values() for values in one.values()}
    least = "" if len(rounds) == 1 else "at least "
    named = version.stdout.split(" (")[0].strip().capitalize()
    head = f"{named}. {about()} Median of {least}{min(rounds)} rounds.\n\n"
    for mark, text in (("engine", host_mode), ("module", module_mode)):
        found = dict(sorted(figures["host" if mark == "engine" else mark].items()))
        if found:
            print(f"{head}{text(found)}")
        if found and given.page:
            put_into(given.page, f"{head}{text(found)}", mark)
    if given.json:
        given.json.write_text(json.dumps({"cores": os.cpu_count(), **figures}, indent=2))


if __name__ == "__main__":
    main()
