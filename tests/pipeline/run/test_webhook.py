"""The notification of a run's end: what is sent, how often it is tried, and that its address stays secret."""

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import pytest
from project import Project

from pipeline.config.converters import check_url
from pipeline.config.sources import ConfigError, load
from pipeline.events import RunFinished
from pipeline.run.webhook import Notification, NotifyError, notify
from tasks.outcome import Outcome, PullRequest, RunStatus, Status

SECRET = "T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"


@dataclass
class Hook:
    """A server that takes notifications, and gives the configured answers: a status with headers."""

    answers: list[tuple[int, Mapping[str, str]]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    heads: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    drop: int = 0

    def __enter__(self) -> Self:
        """Start it."""
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                if hook.drop:
                    hook.drop -= 1
                    self.close_connection = True
                    return
                hook.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                hook.heads.append((self.path, dict(self.headers)))
                status, headers = hook.answers.pop(0) if hook.answers else (200, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server.server_port}/services/{SECRET}"


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A server that takes notifications."""
    with Hook() as server:
        yield server


def end(status: RunStatus = RunStatus.FAILED, **more: object) -> Notification:
    """Return a run that has ended."""
    outcomes = (
        Outcome("1.1", "Say <!channel> hello", 1, Status.CHANGED, worktree="wt-1", seconds=2.0),
        Outcome("1.2", "Fail", 1, Status.FAILED, worktree="wt-2", seconds=1.0, error="it broke <b>\nlog\nlog"),
        Outcome("1.3", "Wait", 1, Status.TIMED_OUT, worktree="wt-1", seconds=1.0, error="x" * 500),
        Outcome("2.1", "Never", 2, Status.SKIPPED),
    )
    finished = RunFinished(
        run="r-1",
        status=status,
        seconds=2.5,
        speedup=1.6,
        efficiency=0.8,
        outcomes=outcomes,
        requests=(PullRequest("1.1", 7, "https://github.test/pull/7", "b", "main"),),
    )
    return Notification(finished, "Two <greetings>", "plan.md", **more)  # type: ignore[arg-type]  # its fields


def send(hook: Hook, notification: Notification | None = None) -> list[float]:
    """Send a notification, and return how long it waited between its tries."""
    waits: list[float] = []
    notify(hook.url, notification or end(), {}, sleep=waits.append)
    return waits


def test_the_body_has_a_text_and_the_facts(hook: Hook) -> None:
    assert send(hook, end(unpublished=2)) == []
    (body,) = map(json.loads, hook.bodies)
    verdict = "failed: 1 changed, 1 failed (1.2), 1 timed out (1.3), 1 skipped, 1 published, in 2.5 s"
    verdict = "failed: 1 changed, 1 failed (1.2), 1 timed out (1.3), 1 skipped, 1 published, in 2.5 s"
    figure = "3 tasks in 2.5 s: 1.6 times faster than one by one, 80 % of a pool of 2"
    assert body["text"].splitlines() == [
        f"Two \u2039greetings\u203a: {verdict}",
        "- 1.2 Fail: log",
        f"- 1.3 Wait: {'x' * 159}…",
        "- 1.1 #7 https://github.test/pull/7",
        "2 tasks could not be published",
        figure,
        "run r-1",
    ]
    assert body["counts"] == {"changed": 1, "failed": 1, "timed_out": 1, "skipped": 1}
    assert (body["run"], body["status"], body["plan"], body["seconds"]) == ("r-1", "failed", "plan.md", 2.5)
    assert body["pull_requests"] == [
        {"task": "1.1", "number": 7, "url": "https://github.test/pull/7", "action": "opened"}
    ]
    assert [one["task"] for one in body["failed"]] == ["1.2", "1.3"]
    ((path, headers),) = hook.heads
    assert path == f"/services/{SECRET}"
    assert headers["Content-Type"] == "application/json"


def test_failures_beyond_the_limit_are_counted(hook: Hook) -> None:
    outcomes = tuple(Outcome(f"1.{n}", "F", 1, Status.FAILED, error="no") for n in range(1, 31))
    finished = RunFinished(
        run="r", status=RunStatus.FAILED, seconds=1, speedup=0, efficiency=0, outcomes=outcomes
    )
    send(hook, Notification(finished, "", "plan.md"))
    lines = json.loads(hook.bodies[0])["text"].splitlines()
    assert lines[0] == "plan.md: failed: 30 failed (1.1, 1.2, 1.3, 1.4, 1.5 and 25 more), in 1.0 s"
    assert lines[-3:] == ["- and 20 more tasks", "0 tasks in 1.0 s", "run r"]


def test_temporary_error_is_retried(hook: Hook) -> None:
    hook.answers = [(503, {}), (429, {"Retry-After": "7"}), (500, {"Retry-After": "9999"}), (200, {})]
    assert send(hook) == [1.0, 7.0, 15.0]
    assert len(set(hook.bodies)) == 1
    assert len(hook.bodies) == 4


def test_dropped_connection_is_retried(hook: Hook) -> None:
    hook.drop = 2
    assert send(hook) == [1.0, 2.0]
    assert len(hook.bodies) == 1


def test_last_failure_is_reported_without_the_url(hook: Hook) -> None:
    hook.answers = [(503, {"Retry-After": "tomorrow"})] * 9
    with pytest.raises(NotifyError) as error:
        send(hook)
    assert str(error.value) == "the notification to 127.0.0.1 could not be sent, tried 4 times: it answered 503"
    assert len(hook.bodies) == 4


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_rejection_is_not_retried(hook: Hook, status: int) -> None:
    hook.answers = [(status, {})]
    with pytest.raises(NotifyError, match=f"was rejected: it answered {status}$"):
        send(hook)
    assert len(hook.bodies) == 1


def test_redirect_is_not_followed(hook: Hook) -> None:
    with Hook() as other:
        hook.answers = [(307, {"Location": other.url})]
        with pytest.raises(NotifyError, match="answered 307; set the URL that it redirects to"):
            send(hook)
        assert other.bodies == []


def test_refused_connection_is_reported_without_the_url(hook: Hook) -> None:
    hook.__exit__()
    with pytest.raises(NotifyError) as error:
        send(hook)
    assert str(error.value).endswith("tried 4 times: no connection")
    assert SECRET not in str(error.value)


def test_proxy_and_no_proxy_are_used(hook: Hook) -> None:
    with Hook() as proxy:
        address = f"http://127.0.0.1:{proxy.server.server_port}"
        notify("http://hooks.test/x", end(), {"HTTP_PROXY": address})
        assert [path for path, _ in proxy.heads] == ["http://hooks.test/x"]
        notify(hook.url, end(), {"http_proxy": address, "no_proxy": "example.test, 127.0.0.1"})
        assert (len(proxy.bodies), len(hook.bodies)) == (1, 1)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.slack.com/x",
        "ftp://x/secret",
        "file:///etc/passwd",
        "http://",
        "https://x:y/",
        "http://x/ y",
        "http://ü/",
    ],
)
def test_invalid_url_is_rejected_without_being_shown(url: str) -> None:
    with pytest.raises(ValueError, match="expected a URL that begins with https:// or http://"):
        check_url(url)


def test_invalid_setting_is_reported_without_its_value(project: Project) -> None:
    with pytest.raises(ConfigError) as error:
        load({"notify": f"mailto:{SECRET}"}, {}, project.root)
    assert str(error.value) == "--notify: expected a URL that begins with https:// or http://"


def test_run_notifies_and_hides_the_url_from_its_tasks(project: Project, hook: Hook) -> None:
    scripts = {"1.1": "env > env.txt; env; tr '\\0' '\\n' < /proc/$PPID/cmdline | cat", "1.2": "exit 3"}
    done = project.run(project.tasks(scripts), environ={"PATCHYARD_NOTIFY": hook.url}).expect(1)
    (body,) = map(json.loads, hook.bodies)
    assert (body["run"], body["status"]) == (done.run, "failed")
    assert body["counts"] == {"changed": 1, "failed": 1}
    assert SECRET not in done.out + done.err
    assert "PATCHYARD_NOTIFY" not in project.log(done.run, "1.1")
    assert "PATCHYARD_NOTIFY" not in project.show("patchyard/demo/1.1:env.txt")
    for path in project.state.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_url_from_option_and_configuration_file(project: Project, hook: Hook) -> None:
    plan = project.tasks({"1.1": "true"})
    project.run(plan, "--notify", hook.url).expect(0)
    project.configure(f'notify = "{hook.url}"\n')
    project.run(plan).expect(0)
    assert [json.loads(body)["status"] for body in hook.bodies] == ["succeeded", "succeeded"]
    for path in project.state.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_secret_url_is_masked_in_logs(project: Project, hook: Hook) -> None:
    plan = project.tasks({"1.1": f"echo {hook.url}"})
    done = project.run(plan, environ={"PATCHYARD_NOTIFY": hook.url}).expect(0)
    assert SECRET not in project.log(done.run, "1.1") + done.out
    assert "***" in project.log(done.run, "1.1")


def test_failed_notification_is_only_a_warning(project: Project, hook: Hook) -> None:
    hook.answers = [(404, {})]
    done = project.run(project.tasks({"1.1": "true"}), "--notify", hook.url).expect(0)
    assert done.finished["status"] == "succeeded"
    (warning,) = [record for record in done.events("notice") if record["level"] == "warning"]
    assert warning["message"] == "the notification to 127.0.0.1 was rejected: it answered 404"
    assert SECRET not in done.out + done.err


def test_cancelled_run_notifies(project: Project, hook: Hook) -> None:
    plan = project.tasks({"1.1": "exit 3", "1.2": "sleep 60"})
    project.run(plan, "--fail-fast", "--notify", hook.url).expect(1)
    assert json.loads(hook.bodies[0])["status"] == "failed"


def test_resumed_run_needs_the_url_again(project: Project, hook: Hook) -> None:
    plan = project.tasks({"1.1": 'test -e "$SHARED/go" || kill -9 $PPID; touch a'})
    project.call("run", plan, "--notify", hook.url).expect(-9)
    (project.shared / "go").touch()

    first = project.call("resume", "latest").expect(0)

    assert "give --notify again" in first.err
    assert hook.bodies == []
    again = project.call("retry", "latest", "1.1", "--notify", hook.url).expect(0)
    assert "--notify" not in again.err
    assert len(hook.bodies) == 1
