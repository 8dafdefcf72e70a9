"""A real `patchyard serve` on a project, and a client of it."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
from project import COMMAND, PATIENCE, Project, wait_for

API = "/api/v1/autonomous"
Json = dict[str, Any]
OVER = frozenset({"complete", "failed"})


@dataclass(frozen=True)
class Sent:
    """A server-sent event."""

    id: str
    name: str
    data: str

    @property
    def json(self) -> Json:
        """Its data."""
        found: Json = json.loads(self.data)
        return found


def sent_events(lines: Iterator[str]) -> Iterator[Sent]:
    """Yield the events of a stream as its standard says to read it; comments and `retry` are none."""
    fields: dict[str, list[str]] = {}
    for line in lines:
        if not line:
            if "data" in fields:
                yield Sent(
                    fields.get("id", [""])[-1], fields.get("event", ["message"])[-1], "\n".join(fields["data"])
                )
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))


@dataclass
class Serving:
    """A server; a context manager that ends it with TERM, and fails if it does not end as it should."""

    project: Project
    options: Sequence[str | Path] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    token: str | None = None
    killed: bool = False

    def __enter__(self) -> Self:
        """Start it, and wait until it listens."""
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--port", "0", *self.options],
            cwd=self.project.root,
            env={**self.project.environ, **self.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("patchyard serves "):
            self.process.kill()
            _, error = self.process.communicate(timeout=PATIENCE)
            raise AssertionError(f"it does not serve: {line}{error}")
        self.url = line.split()[2]
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        self.client = httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE, trust_env=False)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """End it."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)  # also when the test failed: it takes its workers along
        try:
            out, error = self.process.communicate(timeout=PATIENCE)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.communicate()
        if kind is None and not self.killed:
            assert (self.process.returncode, out, error) == (0, "", "")
        elif error:
            sys.stderr.write(error)

    def kill(self) -> None:
        """Kill it, and let the context end without a word."""
        self.killed = True
        self.process.kill()
        self.process.wait(PATIENCE)

    def get(self, path: str, status: int = 200, **options: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own
        """Get something below the API's prefix."""
        return _checked(self.client.get(f"{API}{path}", **options), status)

    def post(self, path: str, status: int = 200, **options: Any) -> httpx.Response:  # noqa: ANN401 - likewise
        """Post something below the API's prefix."""
        return _checked(self.client.post(f"{API}{path}", **options), status)

    def start(self, plan: Path, **options: object) -> str:
        """Start a run, and return its id."""
        return str(self.post("/start", json={"plan_path": str(plan), **options}).json()["execution_id"])

    def status(self, run: str) -> Json:
        """Return where a run stands."""
        found: Json = self.get(f"/{run}/status").json()
        return found

    def tasks(self, run: str) -> dict[str, Json]:
        """Return the tasks of a run, by number."""
        return {
            task["task_number"]: task for batch in self.get(f"/{run}/batches").json() for task in batch["tasks"]
        }

    def wait(self, run: str, *statuses: str) -> Json:
        """Wait until a run has one of the statuses; without any, until it is over. Return where it stands."""
        found: Json = {}

        def is_there() -> bool:
            found.update(self.status(run))
            assert found["status"] in (statuses or OVER) or found["status"] not in OVER, found
            return found["status"] in (statuses or OVER)

        wait_for(is_there, f"{statuses} of {run}")
        return found

    @contextmanager
    def stream(self, path: str, last: str | None = None) -> Iterator[Iterator[Sent]]:
        """Follow something."""
        headers = {"Last-Event-ID": last} if last is not None else {}
        with self.client.stream("GET", f"{API}{path}", headers=headers) as response:
            assert response.status_code == 200, response.read()
            assert response.headers["content-type"].startswith("text/event-stream")
            yield sent_events(response.iter_lines())

    def events(self, run: str, last: str | None = None) -> list[Sent]:
        """Follow a run to its end."""
        with self.stream(f"/{run}/events", last) as events:
            return list(events)


def _checked(response: httpx.Response, status: int) -> httpx.Response:
    assert response.status_code == status, f"{response.status_code}: {response.text}"
    if status >= 400:
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == status
    return response


def in_background(*calls: Any) -> list[threading.Thread]:  # noqa: ANN401 - anything to call
    """Start threads."""
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    return threads


GATE = 'touch "$SHARED/$PATCHYARD_TASK.in"; while [ ! -e "$SHARED/{name}" ]; do sleep 0.02; done\n'


def gate(name: str = "go") -> str:
    """Return a script that says that it is there, and waits until a test opens the gate."""
    return GATE.format(name=name)


def workers_of(server: Serving) -> list[int]:
    """Return the processes that the server started and that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == server.process.pid and state not in "ZX":
                found.append(int(path.parent.name))
    return found
