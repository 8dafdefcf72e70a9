"""Count what commands cost that does not depend on the machine, and compare it with a committed table.

Counted are the modules of patchyard and the libraries that a command imports, the git processes and SQL
statements of each further task, and in mode `dagger` the requests to an engine and their bytes, to a stand-in
for one. `tests/test_counts.py` fails when one of them grows.

Usage: python benchmarks/counts.py [--write]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("counts.json")
OWN = ("tasks", "containers", "pipeline")
LIBRARIES = (
    *("alembic", "anyio", "click", "dagger", "fastapi", "github", "graphql", "h11", "httpx", "jinja2"),
    *("markdown_it",),
    *("psutil", "pydantic", "requests", "rich", "sqlalchemy", "starlette", "tomlkit", "uvicorn", "yaml"),
)
"""Libraries whose import is counted by name."""
FEW, MANY = 2, 8
"""Numbers of tasks; their difference gives the counts of each further task."""
RUN = ("run", "--no-cache", "--pool-size", "2")
PROBE = r"""
import json, os, sys
counts = {"git": 0, "sql": 0, "bytes": 0, "rows": 0}
after_task = []
def note_start(event, arguments):
    if event in ("subprocess.Popen", "os.posix_spawn"):
        first = arguments[1] if isinstance(arguments[1], str) else arguments[1][0]
        counts["git"] += os.path.basename(os.fsdecode(first)) == "git"
sys.addaudithook(note_start)
def count_sql():
    import sqlite3
    connect = sqlite3.connect
    def traced(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.set_trace_callback(note)
        connection.row_factory = count_row
        return connection
    def count_row(cursor, row):
        counts["rows"] += 1
        return row
    def note(statement):
        counts["sql"] += not statement.startswith(("BEGIN", "COMMIT", "ROLLBACK", "PRAGMA"))
        counts["bytes"] += len(statement)
        if statement.startswith("INSERT INTO tasks "):
            after_task.append(dict(counts))
    sqlite3.connect = traced
def write():
    loaded = set(sys.modules)
    with open(os.environ["COUNTS"], "w") as file:
        json.dump({**counts, "modules": sorted(loaded), "after each task": after_task}, file)
leave = os._exit
def exit_with_counts(code):
    write()
    leave(code)
os._exit = exit_with_counts
if os.environ.get("COUNT_SQL"):
    count_sql()
sys.argv = ["patchyard", *sys.argv[1:]]
from pipeline.__main__ import main
main()
"""


def measure(
    arguments: Sequence[str], cwd: Path, environ: Mapping[str, str], *, sql: bool = False
) -> dict[str, Any]:
    """Run a command, and return its counts and the modules that it imported. Blocking."""
    counts = Path(environ["HOME"], "counts.json")
    more = {"COUNTS": str(counts), **({"COUNT_SQL": "1"} if sql else {})}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        cwd=cwd,
        env={**environ, **more},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"patchyard {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}")
    found: dict[str, Any] = json.loads(counts.read_text())
    return found


def imports(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the number of patchyard's own modules that were imported, and the libraries."""
    return {
        "own modules": sum(name.partition(".")[0] in OWN for name in found["modules"]),
        "libraries": [name for name in LIBRARIES if name in found["modules"]],
    }


def plan(directory: Path, tasks: int, batches: int = 0) -> Path:
    """Write a plan of small tasks that do not conflict, in as many batches as is said."""
    path, lines = directory / f"plan-{tasks}.md", [f"# Of {tasks} tasks\n"]
    each = tasks // (batches or 1)
    for number in range(tasks):
        if batches and number % each == 0:
            lines.append(f"## Batch {number // each + 1}: B\n")
        name = f"{number // each + 1}.{number % each + 1}" if batches else number
        lines.append(f"### Task {name}: T\n\n**Run:** `echo {number} > {number}.txt`\n")
    path.write_text("\n".join(lines))
    return path


def in_containers(environ: Mapping[str, str], repository: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the imports of a run in mode `dagger`, and what a further task sends to the engine. Blocking."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
    from stand_in_engine import StandIn, command_line  # noqa: PLC0415 - its place is not on the path before

    from containers.dagger_engine.step_script import MARK  # noqa: PLC0415 - likewise, where it is a script

    said = f"{MARK}run earlier mark\n{MARK}step 1\n{MARK}end 1 0 0 1\n"
    answers = {"stdout": lambda _: said, "imageRef": lambda name: f"{name}@sha256:{'0' * 64}"}
    sent: list[tuple[int, int]] = []
    with StandIn(answers) as engine:
        place = {
            "_EXPERIMENTAL_DAGGER_CLI_BIN": str(command_line(repository.parent)),
            "_EXPERIMENTAL_DAGGER_RUNNER_HOST": engine.address,
        }
        for tasks in (FEW, MANY):
            engine.bodies.clear()
            arguments = [*RUN, "--mode", "dagger", str(plan(repository.parent, tasks))]
            found = measure(arguments, repository, {**environ, **place})
            sent.append((len(engine.bodies), sum(map(len, engine.bodies))))
    requests, size = ((many - few) / (MANY - FEW) for few, many in zip(*sent, strict=True))
    return imports(found), {"requests": round(requests, 1), "bytes": round(size)}


def growth(tasks: int, batches: int) -> list[dict[str, int]]:
    """Return the counts of a run after each of its tasks: git processes, SQL, its bytes, rows. Blocking."""
    with _scratch() as (environ, repository):
        path = plan(repository.parent, tasks, batches)
        found = measure([*RUN, str(path)], repository, environ, sql=True)["after each task"]
    return [{name: int(count) for name, count in one.items()} for one in found]


def count() -> dict[str, Any]:
    """Return all counts. Blocking."""
    with _scratch() as (environ, repository):
        few, many = (plan(repository.parent, number) for number in (FEW, MANY))
        measure([*RUN, str(many)], repository, environ)  # the worktrees exist afterwards
        commands = {
            "--help": ["--help"],
            "--version": ["--version"],
            "run --help": ["run", "--help"],
            "check": ["check", str(few)],
            "run": [*RUN, str(few)],
            "runs": ["runs"],
            "status": ["status"],
            "logs": ["logs", "latest", "1"],
        }
        found = {name: imports(measure(arguments, repository, environ)) for name, arguments in commands.items()}
        found["run --mode dagger"], to_engine = in_containers(environ, repository)
        one, other = (measure([*RUN, str(path)], repository, environ, sql=True) for path in (few, many))
    each = {key: round((other[key] - one[key]) / (MANY - FEW), 1) for key in ("git", "sql")}
    return {
        **found,
        "each further task": {"git processes": each["git"], "SQL statements": each["sql"]},
        "each further task of an engine": to_engine,
    }


@contextmanager
def _scratch() -> Iterator[tuple[dict[str, str], Path]]:
    """Yield an environment with a home of its own, and a repository with one commit."""
    with tempfile.TemporaryDirectory() as name:
        home, repository = Path(name, "home"), Path(name, "repository")
        home.mkdir()
        environ = _environment(home)
        subprocess.run(["git", "init", "-q", str(repository)], env=environ, check=True)
        subprocess.run(["git", "commit", "-qm", "x", "--allow-empty"], cwd=repository, env=environ, check=True)
        yield environ, repository


def _environment(home: Path) -> dict[str, str]:
    names = [f"GIT_{role}_{part}" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")]
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "GIT_CONFIG_NOSYSTEM": "1",
        "PATCHYARD_SANDBOX": "off",
        **dict.fromkeys(names, "bench"),
    }


def main() -> None:
    """Print the counts, or write them to the table."""
    parser = argparse.ArgumentParser(description="Count what commands cost on every machine alike.")
    parser.add_argument("--write", action="store_true", help="write the table instead of printing it")
    text = json.dumps(count(), indent=2) + "\n"
    if parser.parse_args().write:
        TABLE.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
