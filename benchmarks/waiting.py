"""Measure the processor time of a run that waits for the provider of its agent, and count its events.

Two tasks of an agent run into a usage limit; after a few seconds, in which the run settles, all processes of
the run are watched for a while: their processor time from `/proc`, and the events that are stored. A run of the
command line writes JSON lines or draws its live table; that of a server is watched with the server, without and
with a page that is open.

Usage: python benchmarks/waiting.py [--seconds N]
"""

import argparse
import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from run import PATCHYARD, Table, about, environment

SETTLE = 5.0
"""Seconds after the first wait until the measurement begins."""
PATIENCE = 60.0
TASKS = 2
LIMIT = "usage limit reached, wait for (?P<seconds>[0-9]+) seconds"
PLAN = "# Waiting\n\n### Task 1: One\n\nDo it.\n\n### Task 2: Two\n\nDo it, too.\n"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Place:
    """A scratch repository whose agent is at its usage limit."""

    root: Path
    environ: dict[str, str]

    @property
    def plan(self) -> Path:
        """The plan."""
        return self.root.parent / "plan.md"

    def events(self) -> list[str]:
        """Return the kinds of the stored events."""
        path = self.root / ".git" / "patchyard" / "patchyard.db"
        with suppress(sqlite3.Error):
            database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            try:
                return [
                    json.loads(record)["event"] for (record,) in database.execute("SELECT record FROM events")
                ]
            finally:
                database.close()
        return []

    def wait(self) -> None:
        """Wait until both tasks do, and the run has settled."""
        end = time.monotonic() + PATIENCE
        while self.events().count("task_waiting") < TASKS:
            if time.monotonic() > end:
                sys.exit(f"no task waits: {self.events()}")
            time.sleep(0.1)
        time.sleep(SETTLE)


@contextmanager
def place(seconds: float) -> Iterator[Place]:
    """Provide a repository whose agent has to wait for some seconds; everything is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="patchyard-waiting-") as name:
        root = Path(name, "repository")
        root.mkdir()
        environ = environment(Path(name)) | {"PATCHYARD_TRUST": "true"}
        agent = f"echo usage limit reached, wait for {seconds:.0f} seconds; exit 1"
        text = f"agent = 'mine'\n[agents.mine]\ncommand = '{agent}'\nlimit = '{LIMIT}'\n"
        (root / "patchyard.toml").write_text(text)
        for arguments in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "base"]):
            subprocess.run(["git", "-C", str(root), *arguments], check=True, env=environ)
        Path(name, "plan.md").write_text(PLAN)
        yield Place(root, environ)


def processor_seconds(process: int) -> float:
    """Return the processor time of a process and all below it, also of those that have ended, in seconds."""
    with suppress(OSError):
        values = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        own = sum(map(int, values[11:15])) / TICKS
        below = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        return own + sum(processor_seconds(int(child)) for child in below)
    return 0.0


def measure(found: Place, process: int, seconds: float) -> tuple[float, int]:
    """Return processor seconds per minute while the run waits, and how many events there were."""
    found.wait()
    before, known, began = processor_seconds(process), len(found.events()), time.monotonic()
    time.sleep(seconds)
    used, took = processor_seconds(process) - before, time.monotonic() - began
    return used / took * 60, len(found.events()) - known


@contextmanager
def running(found: Place, *arguments: str, terminal: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """Run the program, and end it afterwards."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    command = [str(PATCHYARD), *arguments]
    stdin = theirs if terminal else subprocess.DEVNULL
    process = subprocess.Popen(
        command, cwd=found.root, env=found.environ, stdin=stdin, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    reader = threading.Thread(target=_drain, args=(ours,), daemon=True)
    reader.start()
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
        reader.join(PATIENCE)
        os.close(ours)


def _drain(descriptor: int) -> None:
    with suppress(OSError):  # the end of a terminal is an error
        while os.read(descriptor, 65536):
            pass


def of_command(seconds: float, *, terminal: bool) -> tuple[float, int]:
    """Measure `patchyard run`."""
    options = () if terminal else ("--json",)
    with (
        place(seconds + PATIENCE) as found,
        running(found, "run", str(found.plan), *options, terminal=terminal) as process,
    ):
        return measure(found, process.pid, seconds)


def of_server(seconds: float, *, page: bool) -> tuple[float, int]:
    """Measure `patchyard serve` with the process of a run, and a page that follows it."""
    with place(seconds + PATIENCE) as found:
        arguments = ("serve", "--port", "0", "--root", str(found.root), "--root", str(found.root.parent))
        process = subprocess.Popen(
            [str(PATCHYARD), *arguments], cwd=found.root, env=found.environ, stdout=subprocess.PIPE, text=True
        )
        try:
            address = (process.stdout.readline() if process.stdout else "").split()[2].rstrip("/")
            body = json.dumps({"plan_path": str(found.plan)}).encode()
            url, json_type = f"{address}/api/v1/autonomous/start", {"Content-Type": "application/json"}
            request = urllib.request.Request(url, body, json_type)  # noqa: S310 - the scheme is ours
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - the scheme is ours
                run = json.load(answer)["execution_id"]
            if page:
                url = f"{address}/runs/{run}/changes"
                threading.Thread(target=_follow, args=(url,), daemon=True).start()
            return measure(found, process.pid, seconds)
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _follow(url: str) -> None:
    with suppress(OSError), urllib.request.urlopen(url, timeout=600) as stream:  # noqa: S310 - the scheme is ours
        while stream.read1():
            pass


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description="Measures the processor time of a run that waits.")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each measurement")
    given = parser.parse_args()
    ways: dict[str, Callable[[], tuple[float, int]]] = {
        "`run --json`": lambda: of_command(given.seconds, terminal=False),
        "`run` on a terminal": lambda: of_command(given.seconds, terminal=True),
        "`serve`, with its run": lambda: of_server(given.seconds, page=False),
        "`serve`, with a page that follows": lambda: of_server(given.seconds, page=True),
    }
    rows = []
    for name, way in ways.items():
        used, events = way()
        rows.append((name, f"{used:.2f} s", f"{used / 0.6:.1f} %", str(events)))
        print(*rows[-1], flush=True)
    columns = ("two tasks wait", "processor time in a minute", "of one core", "events in that minute")
    text = f"{about()}\n\n{Table('What a run uses while it waits', columns, rows)}\n"
    print(text)


if __name__ == "__main__":
    main()
