"""Where a push goes is decided before tasks run: what a task writes to a configuration has no effect on it."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from github_server import TOKEN, GitHubServer
from project import Project
from repositories import Clone, User

from pipeline.store.store import Store

NAME = "octo/demo"


class Elsewhere:
    """A host that a task names; it records each request that it gets, and asks for a password."""

    def __init__(self) -> None:
        seen = self.seen = list[str]()

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                seen.append(f"{self.path} {self.headers.get('Authorization')}")
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="x"')
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST = do_CONNECT = answer  # noqa: N815 - the names of the library

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    host = Elsewhere()
    thread = threading.Thread(target=host.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield host
    host.http.shutdown()
    thread.join()
    host.http.server_close()


@pytest.mark.parametrize("scope", ["--local", "--global"])
@pytest.mark.parametrize(
    "setting",
    [
        "remote.origin.pushurl {elsewhere}/octo/demo.git",
        "remote.origin.url {elsewhere}/octo/demo.git",
        "remote.origin.proxy {elsewhere}",
        "url.{elsewhere}/.insteadOf {hub}/",
        "url.{elsewhere}/.pushInsteadOf {hub}/",
        "http.proxy {elsewhere}",
        "http.{hub}/.proxy {elsewhere}",
        "http.sslVerify false",
        "credential.helper !touch$IFS$SHARED/stolen;:",
    ],
)
def test_setting_that_a_task_changes_stops_the_push(
    hosted: Project, github: GitHubServer, elsewhere: Elsewhere, scope: str, setting: str
) -> None:
    key, value = setting.format(elsewhere=elsewhere.url, hub=github.web).split(" ")
    config = hosted.root / ".git/config" if scope == "--local" else hosted.clone.user.home / ".gitconfig"
    before, where = config.read_text(), f'--file "{config}"'
    plan = hosted.tasks({"1.1": f"git config {where} '{key}' '{value}'; echo 1 > one.txt"})

    done = hosted.run(plan, "--publish").expect(3)

    assert elsewhere.seen == []
    assert github.pull_requests(NAME) == []
    errors = [record["message"] for record in done.events("notice") if record["level"] == "error"]
    section, _, variable = key.rpartition(".")
    assert "the configuration of git for the remote origin was changed after it was checked" in errors[0]
    assert f"({section}.{variable.lower()})" in errors[0]
    assert not (hosted.shared / "stolen").exists()
    config.write_text(before)
    hosted.call("publish", done.run).expect(0)
    assert len(github.pull_requests(NAME)) == 1


def test_settings_that_do_not_concern_the_remote_may_change(hosted: Project, github: GitHubServer) -> None:
    change = f'git config --file "{hosted.root}/.git/config"'
    script = f"{change} remote.fork.url x; {change} remote.origin.gh-resolved base; {change} user.name Other"

    hosted.run(hosted.tasks({"1.1": f"{script}; echo 1 > one.txt"}), "--publish").expect(0)

    assert len(github.pull_requests(NAME)) == 1


def test_no_trace_that_a_task_turns_on_has_the_token(hosted: Project, github: GitHubServer) -> None:
    script = (
        'for kind in event normal perf; do git config --global "trace2.${kind}Target" "$SHARED/trace"; done\n'
        'git config --global trace2.envVars "PATCHYARD_GIT_PASSWORD,GITHUB_TOKEN"; echo 1 > one.txt'
    )

    hosted.run(hosted.tasks({"1.1": script}), "--publish").expect(0)

    assert len(github.pull_requests(NAME)) == 1
    traces = hosted.shared / "trace"
    assert not traces.exists() or TOKEN not in traces.read_text()


def test_header_of_the_configuration_does_not_precede_the_token(hosted: Project, github: GitHubServer) -> None:
    """As `actions/checkout` leaves it; the other header is for a gateway of the user's."""
    hosted.clone.git("config", f"http.{github.web}/.extraHeader", "AUTHORIZATION: basic d3Jvbmc6d3Jvbmc=")
    hosted.clone.git("config", "--add", "http.extraHeader", "X-Gateway: open")

    hosted.run(hosted.tasks({"1.1": "echo 1 > one.txt"}), "--publish").expect(0)

    (push,) = github.calls("POST", "git-receive-pack$")
    assert push.headers["X-Gateway"] == "open"
    assert "d3Jvbmc6d3Jvbmc" not in push.headers["Authorization"]


def test_token_is_not_sent_to_the_url_for_reading(
    hosted: Project, github: GitHubServer, elsewhere: Elsewhere
) -> None:
    hosted.clone.git("config", "remote.origin.pushurl", github.clone_url(NAME))
    hosted.clone.git("config", "remote.origin.url", f"{elsewhere.url}/octo/demo.git")

    hosted.run(hosted.tasks({"1.1": "echo 1 > one.txt"}), "--publish").expect(0)

    assert elsewhere.seen == []
    assert len(github.pull_requests(NAME)) == 1


MOVES = (
    "remote.origin.pushurl {elsewhere}/octo/demo.git",
    "remote.origin.url {elsewhere}/octo/demo.git",
    "remote.origin.url {hub}/octo/other.git",
    "url.{elsewhere}/.insteadOf {hub}/",
    "url.{elsewhere}/.pushInsteadOf {hub}/",
)


@pytest.mark.parametrize(
    ("command", "move"),
    [*(("publish", move) for move in MOVES), ("resume", MOVES[0]), ("retry", MOVES[1])],
)
def test_remote_that_moved_since_the_run_is_refused(
    hosted: Project, github: GitHubServer, elsewhere: Elsewhere, command: str, move: str
) -> None:
    """Another process publishes or resumes: it compares with what the run has stored."""
    script = "echo 1 > one.txt; test -e $SHARED/go"
    first = hosted.run(hosted.tasks({"1.1": script}), "--publish").expect(1)
    (hosted.shared / "go").touch()
    github.add_repository("octo/other")
    key, value = move.format(elsewhere=elsewhere.url, hub=github.web).split(" ")
    hosted.clone.git("config", key, value)
    asked = len(github.requests)

    done = hosted.call(command, first.run).expect(3)

    assert elsewhere.seen == []
    assert len(github.requests) == asked
    moved = value if key.startswith("remote.") else f"{elsewhere.url}/octo/demo"
    assert done.err == (
        f"patchyard: the remote origin is {moved.removesuffix('.git')}.git now, and was "
        f"{github.clone_url(NAME)} when run {first.run} started, so nothing was sent there; correct it with "
        "`git remote set-url origin`, or add `--remote origin` if it is right as it is\n"
    )


@pytest.mark.parametrize("command", ["publish", "resume", "retry"])
def test_remote_that_moved_is_used_when_it_is_named(
    hosted: Project, github: GitHubServer, command: str
) -> None:
    script = "echo 1 > one.txt; test -e $SHARED/go"
    first = hosted.run(hosted.tasks({"1.1": "echo 1 > a.txt", "1.2": script}), "--publish").expect(1)
    (hosted.shared / "go").touch()
    github.add_repository("octo/other")
    hosted.clone.git("push", "--quiet", github.repository("octo/other").path, "main")
    hosted.clone.git("remote", "set-url", "origin", github.clone_url("octo/other"))

    done = hosted.call(command, first.run, "--remote", "origin")

    done.expect(1 if command == "resume" else 0)  # the failed task has its result

    heads = {pull.head for pull in github.pull_requests("octo/other")}
    assert "patchyard/demo/1.1" in heads
    assert ("patchyard/demo/1.2" in heads) == (command == "retry")
    if command != "publish":  # which stores nothing about the run
        hosted.call("publish", first.run).expect(0)


def test_remote_in_another_form_has_not_moved(hosted: Project, github: GitHubServer) -> None:
    done = hosted.run(hosted.tasks({"1.1": "echo 1 > one.txt"})).expect(0)
    hosted.clone.git("remote", "set-url", "origin", github.clone_url(NAME).replace("://", "://me@"))

    hosted.call("publish", done.run).expect(0)

    assert len(github.pull_requests(NAME)) == 1


def test_stored_url_has_no_credential(hosted: Project, github: GitHubServer) -> None:
    hosted.clone.git("remote", "set-url", "origin", github.clone_url(NAME).replace("://", "://user:pass-word@"))
    hosted.run(hosted.tasks({"1.1": "echo 1 > one.txt"})).expect(0)
    with Store.beside(hosted.root / ".git") as store:
        assert store.run().call.remote_urls == (github.clone_url(NAME),) * 2


@pytest.mark.parametrize("moved", [False, True])
def test_base_is_fetched_with_the_token_from_where_the_run_was(  # noqa: PLR0913 - fixtures and cases
    hosted: Project, github: GitHubServer, elsewhere: Elsewhere, user: User, tmp_path: Path, *, moved: bool
) -> None:
    """Another clone resumes the run; its own configuration says otherwise."""
    user.git("clone", "--quiet", github.repository(NAME).path, tmp_path / "two", cwd=tmp_path)
    hosted.environ |= {"PATCHYARD_DATABASE": f"sqlite:///{tmp_path}/runs.db"}
    two = Project(Clone(user, tmp_path / "two"), hosted.environ)
    two.clone.git("remote", "set-url", "origin", github.clone_url(NAME))
    two.clone.git("config", f"http.{github.web}/.extraHeader", "AUTHORIZATION: basic d3Jvbmc6d3Jvbmc=")
    hosted.clone.commit({"new.txt": "new"})
    hosted.clone.git("push", "--quiet", github.repository(NAME).path, "main")
    run = hosted.run(hosted.tasks({"1.1": "echo 1 > one.txt; test -e $SHARED/go"})).expect(1).run
    (hosted.shared / "go").touch()
    if moved:
        two.clone.git("config", "remote.origin.pushurl", f"{elsewhere.url}/octo/demo.git")

    done = two.call("retry", run).expect(2 if moved else 0)

    assert elsewhere.seen == []
    assert ("when run" in done.err) == moved
    fetches = github.calls("GET", "info/refs")
    assert all("d3Jvbmc6d3Jvbmc" not in call.headers.get("Authorization", "") for call in fetches)
    assert bool(fetches) != moved
