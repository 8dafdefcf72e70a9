"""Load: every subscriber gets each event once and in order, while other clients poll and tasks run."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from project import Project, wait_for
from served import Sent, Serving, gate

from pipeline.store.store import Store

FOLLOWING, POLLING, TASKS, STEPS = 12, 12, 4, 25


def plan_of(project: Project) -> Path:
    """Write a plan of tasks with many short steps that start when all clients are connected."""
    lines = ["# Many steps", ""]
    for task in range(1, TASKS + 1):
        lines += [f"### Task 1.{task}: Task {task}", "", "**Run:**", "", "```sh", gate(), "```", ""]
        lines[-4:] = [f"- `{gate().strip().replace(chr(10), ' ')}`", *["- `sleep 0.01`"] * STEPS, ""]
    return project.plan("\n".join(lines))


def follow(server: Serving, run: str, into: list[Sent], *, slow: float = 0.0, until: int | None = None) -> None:
    """Receive events after the last one in `into`, to the end of the run or up to a number of events."""
    with server.stream(f"/{run}/events", into[-1].id if into else None) as events:
        for event in events:
            into.append(event)
            time.sleep(slow)
            if until is not None and len(into) >= until:
                return


def guarded(call: Callable[[], None], failures: list[BaseException]) -> None:
    """Call a function and store what it raises."""
    try:
        call()
    except BaseException as error:  # noqa: BLE001 - the test fails by it
        failures.append(error)


def test_no_event_is_lost_or_out_of_order(project: Project, server: Serving) -> None:
    run = server.start(plan_of(project), pool_size=TASKS)
    wait_for(lambda: all((project.shared / f"1.{task}.in").exists() for task in range(1, TASKS + 1)))
    seen: list[list[Sent]] = [[] for _ in range(FOLLOWING)]
    statuses: list[str] = []
    failures: list[BaseException] = []

    def reconnect(into: list[Sent]) -> None:
        for until in range(5, 100, 7):
            follow(server, run, into, until=until)
        follow(server, run, into)

    def polls() -> None:
        while not statuses or statuses[-1] == "executing":
            statuses.append(server.status(run)["status"])

    calls = [lambda into=into: reconnect(into) for into in seen[:3]]
    calls += [lambda into=into: follow(server, run, into, slow=0.01) for into in seen[3:5]]
    calls += [lambda into=into: follow(server, run, into) for into in seen[5:]]
    threads = [
        threading.Thread(target=guarded, args=(call, failures), daemon=True)
        for call in [*calls, *[polls] * POLLING]
    ]
    for thread in threads:
        thread.start()
    wait_for(lambda: all(seen[5:]), "everybody")
    (project.shared / "go").touch()
    for thread in threads:
        thread.join(60)

    assert failures == []
    assert server.status(run)["status"] == "complete"
    with Store.beside(project.root / ".git") as store:
        stored = store.events(run, limit=10_000)
    assert len(stored) >= TASKS * STEPS * 2
    assert [event.sequence for event in stored] == list(range(1, len(stored) + 1))
    for events in seen:
        assert [int(event.id) for event in events] == [event.sequence for event in stored]
        assert [event.json for event in events] == [event.record for event in stored]
    assert set(statuses) == {"executing", "complete"}


def test_log_is_streamed_while_it_grows(project: Project, server: Serving) -> None:
    script = (
        f"printf 'gr\\303'; {gate('one')} printf '\\266\\303\\237e\\r\\n'; {gate('two')} echo last; echo b > b"
    )
    run = server.start(project.tasks({"1.1": script}))
    wait_for((project.shared / "1.1.in").exists)
    text, offsets = "", []
    with server.stream(f"/{run}/tasks/1.1/log/follow") as events:
        for event in events:
            if event.name == "end":
                break
            text += event.json["text"]
            offsets.append(int(event.id))
            if "gr" in text and not (project.shared / "one").exists():
                assert not text.endswith("\ufffd"), "an incomplete character is held back"
                (project.shared / "one").touch()
            if "größe" in text:
                (project.shared / "two").touch()
        assert list(events) == []
    log = (project.state / "runs" / run / "1.1.log").read_bytes()
    assert text == log.decode()
    assert offsets == sorted(offsets)
    assert offsets[-1] == len(log)
    half = next(offset for offset in offsets if offset < len(log))
    with server.stream(f"/{run}/tasks/1.1/log/follow", str(half)) as events:
        rest = [event.json["text"] for event in events if event.name == "log"]
    assert "".join(rest) == log[half:].decode()


def test_log_stream_waits_for_the_log(project: Project, server: Serving) -> None:
    run = server.start(project.tasks({"1.1": gate(), "2.1": "echo said"}))
    wait_for((project.shared / "1.1.in").exists)
    server.get(f"/{run}/tasks/2.1/log", 404)
    with server.stream(f"/{run}/tasks/2.1/log/follow") as events:
        (project.shared / "go").touch()
        received = list(events)
    assert [event.name for event in received][-1] == "end"
    assert "said" in "".join(event.json.get("text", "") for event in received)


def test_stream_of_an_ended_run_ends_and_is_not_repeated(project: Project, server: Serving) -> None:
    run = server.start(project.tasks({"1.1": "true"}))
    server.wait(run)
    events = server.events(run)
    assert (events[0].name, events[-1].name) == ("run_started", "run_finished")
    assert [event.id for event in server.events(run, "3")] == [event.id for event in events[3:]]
    assert [event.id for event in server.events(run, "999999")] == [event.id for event in events]
    assert [event.id for event in server.events(run, "x")] == [event.id for event in events]
    response = server.client.get(f"/api/v1/autonomous/{run}/events", headers={"Last-Event-ID": events[-1].id})
    assert (response.status_code, response.content) == (204, b"")
    after = server.client.get(f"/api/v1/autonomous/{run}/events?after={events[-2].id}")
    assert after.text.count("id: ") == 1
