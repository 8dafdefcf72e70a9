"""Test runs of several hosts, each with its own clone, that share one PostgreSQL database."""

import re
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from github_server import TOKEN, GitHubServer
from project import Done, Project, Started, wait_for
from repositories import Clone, User
from repositories import make_repository as make

from pipeline.store.store import Store
from tasks.outcome import RunStatus

pytestmark = pytest.mark.postgres
SHORT, LONG = 8, 600
"""Leases in seconds: one whose end tests wait for, and one that does not end during a test."""
BLOCKED = """
echo "$PATCHYARD_HOST_OF_TEST" >> "$SHARED/$PATCHYARD_TASK.began"
touch "$SHARED/began"
tries=0
while [ ! -e "$SHARED/go" ]; do tries=$((tries + 1)); [ "$tries" -lt 1800 ] || exit 9; sleep 0.05; done
echo two > two.txt
"""
"""Commands of a task that continues when the file `go` exists."""
LOG_START = 'echo "$PATCHYARD_HOST_OF_TEST" >> "$SHARED/$PATCHYARD_TASK.began"; '


@dataclass
class Host:
    """A simulated machine: its name, and its clone of the repository."""

    name: str
    project: Project


@pytest.fixture
def host(user: User, tmp_path: Path, postgres: str) -> Callable[..., Host]:
    """Make a host: `host("one", lease)`; all have the same remote."""
    seed = make(user, tmp_path / "seed", {"README.md": "# Sample\n"})
    user.git("clone", "--quiet", "--bare", seed.path, tmp_path / "remote.git", cwd=tmp_path)

    def build(name: str, lease: int = SHORT) -> Host:
        user.git("clone", "--quiet", tmp_path / "remote.git", tmp_path / name, cwd=tmp_path)
        environ = {
            "PATCHYARD_DATABASE": postgres,
            "PATCHYARD_HOST": name,
            "PATCHYARD_HOST_OF_TEST": name,
            "PATCHYARD_LEASE": str(lease),
            "PATCHYARD_GRACE": "0.2s",
        }
        return Host(name, Project(Clone(user, tmp_path / name), environ))

    return build


def plan_on(host: Host) -> Path:
    """Write a plan of four tasks, the second of which blocks."""
    return host.project.tasks(
        {
            "1.1": LOG_START + "echo one > one.txt",
            "1.2": BLOCKED,
            "2.1": LOG_START + "cat one.txt two.txt > both.txt",
            "2.2": LOG_START + "echo four > four.txt",
        }
    )


def started_on(host: Host) -> dict[str, list[str]]:
    """Return the names of the hosts on which each task was started, in order."""
    return {
        path.name.removesuffix(".began"): path.read_text().split()
        for path in sorted(host.project.shared.glob("*.began"))
    }


def start_on(host: Host, postgres: str, *options: str) -> tuple[Started, str]:
    """Start the plan; wait until the first task has ended and the second is running."""
    started = host.project.start("run", plan_on(host), "--json", *options)
    wait_for((host.project.shared / "began").exists, "the second task")
    with Store(postgres) as store:
        wait_for(lambda: "1.1" in finished_tasks(store), "the first task")
        return started, store.run().id


def finished_tasks(store: Store) -> list[str]:
    """Return the tasks with a `task_finished` event, of all runs."""
    records = [event.record for run in store.runs() for event in store.events(run.id)]
    return [str(record["task"]) for record in records if record["event"] == "task_finished"]


def resume_after_lease(host: Host, run: str) -> Done:
    """Resume a run on a host as soon as its lease has expired, and unblock its tasks."""
    (host.project.shared / "go").touch()
    done: list[Done] = []

    def resumed() -> bool:
        done.append(host.project.call("resume", run, "--json"))
        return done[-1].code == 0

    wait_for(resumed, "the end of the lease")
    return done[-1]


def check_end(host: Host, postgres: str, run: str) -> None:
    """Check that every task of the run ended exactly once, and the outcomes."""
    with Store(postgres) as store:
        assert store.run(run).status is RunStatus.SUCCEEDED
        assert [(item.outcome.task, item.outcome.status) for item in store.tasks(run)] == [
            ("1.1", "changed"),
            ("1.2", "changed"),
            ("2.1", "changed"),
            ("2.2", "changed"),
        ]
        numbers = [event.sequence for event in store.events(run)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert sorted(finished_tasks(store)) == ["1.1", "1.2", "2.1", "2.2"]
    assert host.project.show("patchyard/demo/2.1:both.txt") == "one\ntwo"


def test_run_of_a_dead_host_is_resumed_by_another(host: Callable[..., Host], postgres: str) -> None:
    one, two = host("one"), host("two")
    started, run = start_on(one, postgres)
    with started:
        started.signal(signal.SIGKILL)
        started.process.wait()
        resume_after_lease(two, run)

    check_end(two, postgres, run)
    assert started_on(two) == {"1.1": ["one"], "1.2": ["one", "two"], "2.1": ["two"], "2.2": ["two"]}
    (listed,) = one.project.call("runs", "--json").expect(0).records
    assert (listed["run"], listed["status"]) == (run, "succeeded")


def test_stopped_host_that_lost_its_run_writes_nothing(host: Callable[..., Host], postgres: str) -> None:
    one, two = host("one"), host("two")
    started, run = start_on(one, postgres)
    with started:
        started.signal(signal.SIGSTOP)
        resume_after_lease(two, run)
        check_end(two, postgres, run)
        with Store(postgres) as store:
            before = (
                store.run(run),
                store.tasks(run),
                store.attempts(run),
                store.events(run),
                store.branches(),
            )
        started.signal(signal.SIGCONT)
        done = started.done()

    assert done.code == 1
    assert "Traceback" not in done.err
    assert len(done.err.splitlines()) == 1
    assert re.match(
        rf"patchyard: (run {run} was claimed by another process"
        rf"|run {run} was not looked after for \d+ s, so another process may have it"
        r"|the database .* cannot be used: terminating connection due to idle-in-transaction timeout)",
        done.err,
    )
    with Store(postgres) as store:
        assert before == (
            store.run(run),
            store.tasks(run),
            store.attempts(run),
            store.events(run),
            store.branches(),
        )
    check_end(two, postgres, run)


def test_running_run_is_not_resumed_by_another_host(host: Callable[..., Host], postgres: str) -> None:
    one, two = host("one", LONG), host("two", LONG)
    started, run = start_on(one, postgres)
    with started:
        refused = two.project.call("resume", run).expect(2)
        assert refused.err == (f"patchyard: run {run} is running on one; `patchyard cancel {run}` ends it\n")
        (listed,) = two.project.call("runs", "--json").expect(0).records
        assert (listed["run"], listed["status"]) == (run, "running")
        two.project.call("cancel", run).expect(0)
        done = started.done().expect(130)
    assert done.finished["status"] == "cancelled"


def resume_concurrently(hosts: Sequence[Host], run: str, go: Path) -> list[Done]:
    """Resume a run several times at once, and unblock it when all but one have exited; the winner is first."""
    with ExitStack() as stack:
        started = [stack.enter_context(each.project.start("resume", run, "--json")) for each in hosts]
        wait_for(
            lambda: len([each for each in started if each.process.poll() is not None]) >= len(hosts) - 1,
            "all but one to end",
        )
        go.touch()
        done = sorted((each.done() for each in started), key=lambda item: item.code)
    for item in done:
        assert "Traceback" not in item.err
        assert len(item.err.splitlines()) == (0 if item.code == 0 else 1), item
    return done


def test_one_of_many_hosts_resumes_a_run(host: Callable[..., Host], postgres: str) -> None:
    one, two, three = host("one"), host("two", LONG), host("three", LONG)
    started, run = start_on(one, postgres)
    with started, Store(postgres) as store:
        started.signal(signal.SIGKILL)
        started.process.wait()
        wait_for(lambda: not store.is_leased(run), "the end of the lease")
    done = resume_concurrently([two, three, two, three], run, one.project.shared / "go")

    assert [item.code for item in done] == [0, 2, 2, 2], done
    check_end(two if "two" in started_on(one)["2.1"] else three, postgres, run)
    assert [len(hosts) for hosts in started_on(one).values()] == [1, 2, 1, 1]


def test_one_of_many_processes_of_a_host_resumes_a_run(host: Callable[..., Host], postgres: str) -> None:
    """Before the lease expires, the lock in the run's directory decides."""
    one = host("one", LONG)
    started, run = start_on(one, postgres)
    with started:
        started.signal(signal.SIGKILL)
        started.process.wait()
    done = resume_concurrently([one] * 4, run, one.project.shared / "go")

    assert [item.code for item in done] == [0, 2, 2, 2], done
    check_end(one, postgres, run)
    assert started_on(one) == {"1.1": ["one"], "1.2": ["one"] * 2, "2.1": ["one"], "2.2": ["one"]}


def test_missing_base_is_fetched_from_the_remote(host: Callable[..., Host], postgres: str) -> None:
    one, two = host("one"), host("two")
    base = one.project.clone.commit({"new.txt": "new"})
    one.project.clone.git("push", "--quiet", "origin", "main")
    before = two.project.clone.git("for-each-ref")
    started, run = start_on(one, postgres)
    with started:
        started.signal(signal.SIGKILL)
        started.process.wait()
        done = resume_after_lease(two, run)

    assert done.events("run_started")[0]["base"] == base
    check_end(two, postgres, run)
    assert two.project.show("patchyard/demo/2.2:new.txt") == "new"
    assert set(before.splitlines()) <= set(two.project.clone.git("for-each-ref").splitlines())


def test_base_that_was_not_pushed_is_reported(host: Callable[..., Host], postgres: str) -> None:
    one, two = host("one"), host("two")
    base = one.project.clone.commit({"new.txt": "new"})
    started, run = start_on(one, postgres)
    with started:
        started.signal(signal.SIGKILL)
        started.process.wait()
        done = two.project.call("resume", run).expect(2)
    assert done.err.startswith(
        f"patchyard: run {run} starts from commit {base[:12]}, which is neither in this clone nor on origin: "
        "push its branch, or resume the run on one ("
    )
    assert len(done.err.splitlines()) == 1


def test_run_of_two_hosts_is_published_once(host: Callable[..., Host], postgres: str, tmp_path: Path) -> None:
    """The second host recreates the commits of the first from their patches, with the same ids."""
    with GitHubServer(tmp_path / "hub") as github:
        github.add_repository("octo/demo")
        one, two = host("one"), host("two")
        for each in (one, two):
            clone = each.project.clone
            clone.git("push", "--quiet", github.repository("octo/demo").path, "main")
            clone.git("remote", "set-url", "origin", github.clone_url("octo/demo"))
            each.project.environ |= {"GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": github.url}
        started, run = start_on(one, postgres, "--publish")
        with started:
            started.signal(signal.SIGKILL)
            started.process.wait()
            resume_after_lease(two, run)

        check_end(two, postgres, run)
        heads = sorted(pull.head for pull in github.pull_requests("octo/demo"))
        assert heads == [f"patchyard/demo/{task}" for task in ("1.1", "1.2", "2.1", "2.2")]
        with Store(postgres) as store:
            stored = store.tasks(run)
        remote = github.repository("octo/demo").path
        for item in stored:
            assert item.pull_request is not None
            pushed = two.project.clone.user.git("rev-parse", item.outcome.branch or "", cwd=remote)
            assert pushed == item.outcome.commit
        commit_of_one = one.project.branches()["patchyard/demo/1.1"]
        assert commit_of_one == stored[0].outcome.commit

        again = one.project.call("publish", run, "--json")
        assert again.code == 0, again
        assert len(github.pull_requests("octo/demo")) == 4
