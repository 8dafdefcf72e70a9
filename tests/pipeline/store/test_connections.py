"""Test a PostgreSQL server that is missing, becomes unavailable, or closes connections."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from postgres import Cluster
from project import Project, runs, wait_for
from relay import Relay

from pipeline.store.records import Run
from pipeline.store.store import Store, StoreError
from tasks.outcome import RunStatus

pytestmark = pytest.mark.postgres
SOCKET = ".s.PGSQL.5432"
PASSWORD = "hunter2"
RUN = Run(
    *("run", "plan.md", "plan", "Plan", "# Plan\n", "a" * 40, "main", 3, RunStatus.RUNNING),
    datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
)


def with_password(url: str) -> str:
    """Return a URL with a password, which the test server ignores."""
    return url.replace("tests@", f"tests:{PASSWORD}@")


@pytest.fixture
def relay(cluster: Cluster) -> Iterator[Relay]:
    """A relay to the server, which can be cut."""
    with (
        TemporaryDirectory(prefix="r-", dir="/tmp") as place,
        Relay(Path(place) / SOCKET, f"unix://{cluster.host}/{SOCKET}") as relay,
    ):
        yield relay


def through(relay: Relay, cluster: Cluster, url: str) -> str:
    """Return the URL of a database through a relay."""
    return url.replace(cluster.host, str(Path(relay.address.removeprefix("unix://")).parent))


def test_idle_connection_that_was_cut_is_reopened(cluster: Cluster, postgres: str) -> None:
    with Store(postgres) as store:
        store.open_run(RUN)
        assert cluster.cut(postgres) == 1
        store.set_status(RUN.id, RunStatus.PAUSED)
        assert cluster.cut(postgres) == 1
        assert store.run().status is RunStatus.PAUSED


def test_connection_cut_during_a_write_is_reported(cluster: Cluster, postgres: str) -> None:
    errors: list[str] = []

    def write(store: Store) -> None:
        try:
            store.set_status(RUN.id, RunStatus.PAUSED)
        except StoreError as error:
            errors.append(str(error))

    with Store(with_password(postgres)) as store:
        store.open_run(RUN)
        with psycopg.connect(postgres) as blocker:
            blocker.execute("SELECT * FROM runs FOR UPDATE")
            thread = threading.Thread(target=write, args=(store,))
            thread.start()
            waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname IS NOT NULL"
            wait_for(lambda: cluster.do(waiting), "the writer to wait for the lock")
            cluster.do("SELECT pg_terminate_backend(%s)", cluster.do(waiting)[0][0])
            thread.join(60)

        assert len(errors) == 1
        assert errors[0].startswith("the database postgresql+psycopg://tests:***@/t")
        assert errors[0].endswith("cannot be used: terminating connection due to administrator command")
        assert "\n" not in errors[0]
        assert store.run().status is RunStatus.RUNNING
        store.set_status(RUN.id, RunStatus.PAUSED)


def test_process_stopped_during_a_write_does_not_block_others_for_long(postgres: str) -> None:
    """The server rolls its transaction back, so that others can claim its run."""
    code = (
        "import os, signal, sys\n"
        "from pipeline.store.store import Store\n"
        "store = Store(sys.argv[1])\n"
        "with store._write(run='run'):\n"
        "    print('in', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGSTOP)\n"
    )
    with Store(postgres) as store:
        store.open_run(RUN)
        with subprocess.Popen([sys.executable, "-c", code, postgres], stdout=subprocess.PIPE) as still:
            try:
                assert still.stdout is not None
                assert still.stdout.readline() == b"in\n"
                assert store.claim(RUN.id, "another", "host", 60)
            finally:
                still.kill()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda url: url.replace("/t", "/nosuch"), "database"),
        (lambda url: url.replace("host=/tmp/", "host=/nowhere/"), "No such file or directory"),
        (lambda _: "postgresql://tests:hunter2@127.0.0.1:1/name", "Connection refused"),
        (lambda url: url.replace("tests:", "nobody:"), "role"),
        (lambda url: f"{url}&nonsense=1", "invalid connection option"),
    ],
)
def test_missing_database_is_reported_without_the_password(
    project: Project, postgres: str, change: Callable[[str], str], reason: str
) -> None:
    url = change(with_password(postgres))
    plan = project.tasks({"1.1": "true"})
    for arguments in (["run", plan], ["runs"], ["status"], ["resume", "x"]):
        done = project.call(*arguments, environ={"PATCHYARD_DATABASE": url})
        assert done.code == 1, done
        assert done.err.startswith("patchyard: the database postgresql+psycopg://"), done
        assert reason in done.err
        assert len(done.err.splitlines()) == 1
        assert PASSWORD not in done.out + done.err


def test_run_survives_cut_connections(project: Project, cluster: Cluster, postgres: str) -> None:
    plan = project.tasks(
        {
            "1.1": 'touch "$SHARED/in"; while [ ! -e "$SHARED/go" ]; do sleep 0.02; done; echo a > a',
            "2.1": "cat a",
        }
    )
    with project.start("run", plan, "--json", environ={"PATCHYARD_DATABASE": postgres}) as started:
        wait_for((project.shared / "in").exists)
        with Store(postgres) as store:
            wait_for(store.runs, "the run in the database")
        wait_for(lambda: cluster.cut(postgres) == 0, "all connections to be cut")
        (project.shared / "go").touch()
        done = started.done().expect(0)
    assert done.statuses == {"1.1": "changed", "2.1": "unchanged"}


def test_run_ended_by_an_unavailable_database_can_be_resumed(
    project: Project, cluster: Cluster, postgres: str, relay: Relay
) -> None:
    plan = project.tasks(
        {
            "1.1": 'echo x >> "$SHARED/first"; echo a > a',
            "2.1": 'touch "$SHARED/in"; while [ ! -e "$SHARED/go" ]; do sleep 0.02; done; cat a > b',
            "3.1": "cat b > c",
        }
    )
    url = with_password(through(relay, cluster, postgres))
    with project.start("run", plan, "--json", environ={"PATCHYARD_DATABASE": url}) as started:
        wait_for((project.shared / "in").exists)
        with Store(postgres) as store:
            wait_for(lambda: store.has_ended(store.run().id, "1.1"), "the first task in the database")
            run = store.run().id
        relay.cut()
        (project.shared / "go").touch()
        done = started.done()
    assert done.code == 1
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith("patchyard: the database postgresql+psycopg://tests:***@/")
    assert PASSWORD not in done.out + done.err

    resumed = project.call("resume", run, "--json", environ={"PATCHYARD_DATABASE": postgres}).expect(0)
    assert resumed.statuses == {"1.1": "changed", "2.1": "changed", "3.1": "changed"}
    assert (project.shared / "first").read_text() == "x\n"
    assert project.show("patchyard/demo/3.1:c") == "a"


def test_tasks_end_before_the_lease_when_the_server_does_not_answer(
    project: Project, cluster: Cluster, postgres: str
) -> None:
    plan = project.tasks({"1.1": 'echo $$ > "$SHARED/pid.new"; mv "$SHARED/pid.new" "$SHARED/pid"; sleep 600'})
    environ = {"PATCHYARD_DATABASE": postgres, "PATCHYARD_LEASE": "4", "PATCHYARD_GRACE": "0.2s"}
    with project.start("run", plan, environ=environ) as started:
        wait_for((project.shared / "pid").exists)
        with Store(postgres) as store:
            wait_for(store.runs, "the run in the database")
            run = store.run().id
            wait_for(lambda: store.attempts(run), "the attempt in the database")
        task = int((project.shared / "pid").read_text())
        serving = cluster.do("SELECT pid FROM pg_stat_activity WHERE application_name = 'patchyard'")
        assert runs([task]) == [task]
        try:
            for (pid,) in serving:
                os.kill(pid, signal.SIGSTOP)
            wait_for(lambda: not runs([task]), "the end of the task")
        finally:
            for (pid,) in serving:
                os.kill(pid, signal.SIGCONT)
        done = started.done().expect(1)
    assert re.fullmatch(
        rf"patchyard: the database did not answer for \d s, so another process may soon claim run {run}; "
        r"its tasks were ended here\n",
        done.err,
    ), done
