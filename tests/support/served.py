"""A real `patchyard serve` for a project, and a client for it."""

import json
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
from preloaded import IS_USABLE
from project import PATIENCE, Project, started, wait_for

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
        """The data, parsed as JSON."""
        found: Json = json.loads(self.data)
        return found


def sent_events(lines: Iterator[str]) -> Iterator[Sent]:
    """Parse an event stream; comments and `retry` are not events.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
    """
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
    """A context manager that runs the server, stops it with SIGTERM, and checks that it ends cleanly."""

    project: Project
    options: Sequence[str | Path] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    token: str | None = None
    preloaded: bool = IS_USABLE
    killed: bool = False

    def __enter__(self) -> Self:
        """Start the server, and wait until it listens."""
        arguments = ("serve", "--port", "0", *self.options)
        self.process = started(
            arguments,
            self.project.root,
            {**self.project.environ, **self.environ},
            session=True,
            preloaded=self.preloaded,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("patchyard serves "):
            self.process.kill()
            _, error = self.process.communicate(timeout=PATIENCE)
            raise AssertionError(f"the server did not start: {line}{error}")
        self.url = line.split()[2]
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        # With more idle connections than its limit the pool closes one, which another thread may have just got.
        limits = httpx.Limits(max_keepalive_connections=None)
        self.client = httpx.Client(
            base_url=self.url, headers=headers, timeout=PATIENCE, trust_env=False, limits=limits
        )
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Stop the server."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)  # also if the test failed: it stops its workers
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
        """Kill the server; the context then does not check how it ended."""
        self.killed = True
        self.process.kill()
        self.process.wait(PATIENCE)

    def get(self, path: str, status: int = 200, **options: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own
        """Send a GET request to a path of the API, and check the status."""
        return _checked(self.client.get(f"{API}{path}", **options), status)

    def post(self, path: str, status: int = 200, **options: Any) -> httpx.Response:  # noqa: ANN401 - likewise
        """Send a POST request to a path of the API, and check the status."""
        return _checked(self.client.post(f"{API}{path}", **options), status)

    def start(self, plan: Path, **options: object) -> str:
        """Start a run, and return its id."""
        return str(self.post("/start", json={"plan_path": str(plan), **options}).json()["execution_id"])

    def status(self, run: str) -> Json:
        """Return the status of a run."""
        found: Json = self.get(f"/{run}/status").json()
        return found

    def tasks(self, run: str) -> dict[str, Json]:
        """Return the tasks of a run, by number."""
        return {
            task["task_number"]: task for batch in self.get(f"/{run}/batches").json() for task in batch["tasks"]
        }

    def wait(self, run: str, *statuses: str) -> Json:
        """Wait until a run has one of the statuses, or is over if none is given. Return its status."""
        found: Json = {}

        def is_there() -> bool:
            found.update(self.status(run))
            assert found["status"] in (statuses or OVER) or found["status"] not in OVER, found
            return found["status"] in (statuses or OVER)

        wait_for(is_there, f"{statuses} of {run}")
        return found

    @contextmanager
    def stream(self, path: str, last: str | None = None) -> Iterator[Iterator[Sent]]:
        """Open an event stream; `last` is the `Last-Event-ID`."""
        headers = {"Last-Event-ID": last} if last is not None else {}
        with self.client.stream("GET", f"{API}{path}", headers=headers) as response:
            assert response.status_code == 200, response.read()
            assert response.headers["content-type"].startswith("text/event-stream")
            yield sent_events(response.iter_lines())

    def events(self, run: str, last: str | None = None) -> list[Sent]:
        """Return all events of a run, until its end."""
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
    """Return a script that signals its start, and waits until a test creates the file `name`."""
    return GATE.format(name=name)


def workers_of(server: Serving) -> list[int]:
    """Return the running child processes of the server."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended in between
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == server.process.pid and state not in "ZX":
                found.append(int(path.parent.name))
    return found
