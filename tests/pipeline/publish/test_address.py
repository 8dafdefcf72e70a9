"""Where a push goes is decided before tasks run: what a task writes to a configuration has no effect on it."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from github_server import GitHubServer
from project import Project

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
