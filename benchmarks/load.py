"""Measure the server under load: a run with many polling clients and subscribers, against a run with none.

Polling clients request the run's status once per second, each at its own time; subscribers receive its events
as they occur. The tasks of the run sleep in steps, so that there are events all the time. Runs with and
without clients alternate; the efficiency is the one that the run reports. Every subscriber must receive every
event, once and in order; otherwise the benchmark fails.

Usage: python benchmarks/load.py [--rounds N] [--polling N] [--following N] [--page docs/service.md]
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

PATCHYARD = Path(sys.executable).with_name("patchyard")
TASKS, STEPS, STEP_SECONDS = 8, 10, 1
PERIOD = 1.0
"""Seconds between two requests of a polling client."""
API = "/api/v1/autonomous"
BOUND_MS, BOUND_POINTS = 50, 2
"""Limits: milliseconds of the 95th percentile of the answers, and percentage points of lost efficiency."""
MARK = "load"


@dataclass
class Seen:
    """The measurements of the clients."""

    answers: list[float] = field(default_factory=list)  # seconds that each answer took
    delays: list[float] = field(default_factory=list)  # seconds from an event to its arrival
    sequences: list[list[int]] = field(default_factory=list)  # what each follower got
    efficiency: float = 0.0
    events: int = 0


@dataclass(frozen=True)
class Server:
    """A running server on a scratch repository."""

    port: int
    directory: Path

    def call(self, path: str, body: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401 - any JSON value
        """Send a request to the API, and return its answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{API}{path}", data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - the scheme is ours
            return json.load(answer)

    def begin(self, number: int) -> str:
        """Start a new run, and return its id."""
        lines = [f"# Load {number}", ""]
        for task in range(1, TASKS + 1):
            lines += [f"### Task 1.{task}: sleeper {task}", "**Run:**"]
            lines += [f"- `sleep {STEP_SECONDS}; echo {number} >> step-{task}.txt`"] * STEPS + [""]
        plan = self.directory / f"plan-{number}.md"
        plan.write_text("\n".join(lines))
        return str(self.call("/start", {"plan_path": str(plan), "pool_size": TASKS})["execution_id"])


def environment(home: Path) -> dict[str, str]:
    """Return an environment without user configuration."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    own = {"HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    who = {f"GIT_{role}_{part}": "bench" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    return {**kept, **own, **who}


@contextmanager
def serving() -> Iterator[Server]:
    """Serve a scratch repository; everything is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="patchyard-load-") as name:
        directory = Path(name)
        environ = environment(directory)
        repository = directory / "repository"
        git = ["git", "-C", str(repository)]
        repository.mkdir()
        (repository / "a.txt").write_text("a\n")
        for arguments in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "base"]):
            subprocess.run([*git, *arguments], check=True, env=environ)
        command = [str(PATCHYARD), "serve", "--port", "0", "--root", str(repository), "--root", name]
        with subprocess.Popen(
            command, cwd=repository, env=environ, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                line = process.stdout.readline() if process.stdout else ""
                if not line.startswith("patchyard serves"):
                    sys.exit(f"the server did not start: {line}")
                yield Server(int(line.split()[2].rpartition(":")[2]), directory)
            finally:
                process.terminate()


async def connect(port: int, path: str, **headers: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection and send a request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(question(port, path, headers))
    return reader, writer


def question(port: int, path: str, headers: Mapping[str, str] | None = None) -> bytes:
    """Return a request."""
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    return f"GET {API}{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{more}\r\n".encode()


async def head(reader: asyncio.StreamReader) -> dict[str, str]:
    """Read the head of a response, which must be 200."""
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status, *lines = text.split("\r\n")
    if " 200 " not in status:
        raise RuntimeError(f"the server says {status}")
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


async def poll(port: int, run: str, wait: float, over: asyncio.Event, seen: Seen) -> None:
    """Request the status of a run once per period until it ends, over one connection."""
    await asyncio.sleep(wait)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while not over.is_set():
            began = time.perf_counter()
            writer.write(question(port, f"/{run}/status"))
            length = int((await head(reader))["content-length"])
            status = json.loads(await reader.readexactly(length))["status"]
            seen.answers.append(time.perf_counter() - began)
            if status in {"complete", "failed"}:
                over.set()
            await asyncio.sleep(max(0.0, PERIOD - (time.perf_counter() - began)))
    finally:
        writer.close()


async def chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield the chunks of a response."""
    while size := int(await reader.readline(), 16):
        yield (await reader.readexactly(size + 2))[:-2]


async def follow(port: int, run: str, seen: Seen) -> None:
    """Receive the events of a run until it ends."""
    reader, writer = await connect(port, f"/{run}/events")
    sequence: list[int] = []
    seen.sequences.append(sequence)
    pending = b""
    try:
        await head(reader)
        async for chunk in chunks(reader):
            arrived = time.time()
            *whole, pending = (pending + chunk).split(b"\n\n")
            for text in whole:
                lines = dict(line.partition(b": ")[::2] for line in text.split(b"\n"))
                if b"id" in lines:
                    sequence.append(int(lines[b"id"]))
                    moment = datetime.fromisoformat(json.loads(lines[b"data"])["time"])
                    seen.delays.append(arrived - moment.timestamp())
    finally:
        writer.close()


async def crowd(server: Server, run: str, polling: int, following: int) -> Seen:
    """Poll and subscribe to a run with many clients until it ends."""
    seen, over = Seen(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(following):
            group.create_task(follow(server.port, run, seen))
        for number in range(max(1, polling)):  # one asks in any case: it sees the end
            group.create_task(poll(server.port, run, PERIOD * number / max(1, polling), over, seen))
    return seen


def measure(server: Server, number: int, polling: int, following: int) -> Seen:
    """Measure a run with a number of clients; fail if a subscriber missed, repeated or reordered an event."""
    run = server.begin(number)
    seen = asyncio.run(crowd(server, run, polling, following))
    status = server.call(f"/{run}/status")
    if status["status"] != "complete":
        sys.exit(f"the run did not do its work: {status}")
    seen.efficiency = status["efficiency"]
    seen.events = 4 + TASKS * 2 + TASKS * STEPS * 2  # the run, its batch, a notice; tasks and their steps
    expected = list(range(1, seen.events + 1))
    if any(sequence != expected for sequence in seen.sequences):
        sys.exit("a follower lost an event, or got them out of order")
    return seen


def percentile(values: list[float], part: float) -> float:
    """Return a percentile in milliseconds."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))] * 1000


def row(name: str, rounds: list[Seen]) -> list[str]:
    """Return the measurements of several rounds as cells of the table."""
    answers = [value for seen in rounds for value in seen.answers]
    delays = [value for seen in rounds for value in seen.delays]
    events = sum(len(sequence) for seen in rounds for sequence in seen.sequences)
    return [
        name,
        f"{statistics.median(seen.efficiency for seen in rounds) * 100:.1f} %",
        f"{len(answers):,}",
        f"{percentile(answers, 0.5):.1f} / {percentile(answers, 0.95):.1f} / {percentile(answers, 1):.1f} ms",
        f"{events:,}",
        f"{percentile(delays, 0.5):.0f} / {percentile(delays, 0.95):.0f} ms" if delays else "-",
    ]


def table(rows: list[list[str]]) -> str:
    """Return the table in Markdown."""
    columns = [
        "clients",
        "efficiency",
        "answers",
        "answer, median / 95 % / longest",
        "events",
        "event, median / 95 %",
    ]
    cells = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def put_into(page: Path, text: str, mark: str = MARK) -> None:
    """Insert the table between the marks of a page."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(f"<!-- {mark} -->\n")
    _, end, after = rest.partition(f"<!-- /{mark} -->")
    page.write_text(f"{before}{begin}{text}{end}{after}", encoding="utf-8")


def main() -> None:
    """Measure, print, and update the page."""
    parser = argparse.ArgumentParser(description="Measures the server under load.")
    parser.add_argument("--rounds", type=int, default=3, help="runs with clients, and as many without")
    parser.add_argument("--polling", type=int, default=100, help="clients that poll the status")
    parser.add_argument("--following", type=int, default=50, help="clients that follow the events")
    parser.add_argument("--page", type=Path, help="put the table into this page, too")
    given = parser.parse_args()
    alone: list[Seen] = []
    watched: list[Seen] = []
    with serving() as server:
        for number in range(given.rounds):
            alone.append(measure(server, 2 * number, 0, 0))
            watched.append(measure(server, 2 * number + 1, given.polling, given.following))
    name = f"{given.polling} poll, {given.following} follow"
    text = (
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()}. "
        f"{given.rounds} rounds of {TASKS} tasks of {STEPS} s.\n\n"
        f"{table([row('1 polls', alone), row(name, watched)])}\n"
    )
    print(text)
    lost = statistics.median(seen.efficiency for seen in alone) - statistics.median(
        seen.efficiency for seen in watched
    )
    slow = percentile([value for seen in watched for value in seen.answers], 0.95)
    if given.page:
        put_into(given.page, text)
    if slow >= BOUND_MS or lost * 100 > BOUND_POINTS:
        sys.exit(f"too slow: {slow:.1f} ms, and {lost * 100:.1f} points of efficiency lost")


if __name__ == "__main__":
    main()
