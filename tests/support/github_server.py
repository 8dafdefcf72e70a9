"""A small GitHub: an HTTP server with its REST and GraphQL endpoints, backed by git.

Branches are in real bare repositories; pushes go through `git http-backend` and need a token.
"""

import base64
import binascii
import json
import re
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic
from typing import Any, Self, cast
from urllib.parse import parse_qs, urlencode, urlsplit

import github_answers as answers
from github_rules import DOCS, GraphqlError, Hub, Pull, RefusalError, Repo, git_environment, not_found

LOGIN = "octocat"
TOKEN = "ghp_0123456789abcdefghijABCDEFGHIJ012345"
RATE_LIMIT = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "4999", "X-RateLimit-Reset": "2000000000"}


@dataclass(frozen=True)
class Recorded:
    """A received request; its target is the path with the query."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    status: int
    at: float  # seconds on the monotonic clock, when it arrived

    @property
    def path(self) -> str:
        """The path without the query."""
        return urlsplit(self.target).path


@dataclass
class Fault:
    """An injected fault: the requests that it affects, and the response that they get instead.

    With `late` the server processes the request first. `drop` closes the connection. The first `skip` matching
    requests succeed, then `times` fail.
    """

    status: int = 500
    message: str = "Server Error"
    method: str = ".*"
    path: str = ".*"
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int = 1
    skip: int = 0
    drop: bool = False
    late: bool = False
    raw: object = None  # the whole body of the response, instead of an error object

    def strikes(self, method: str, path: str) -> bool:
        """Return whether this request is affected; counts the requests."""
        if not re.fullmatch(self.method, method) or not re.search(self.path, path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return self.times >= 0


@dataclass(frozen=True)
class Answer:
    """A response."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


class GitHubServer:
    """GitHub on 127.0.0.1. A context manager.

    Args:
        root: The directory for the bare repositories.
        base: Prefix of the REST API: empty as for api.github.com, `/api/v3` as for GitHub Enterprise.
    """

    def __init__(self, root: Path, base: str = "") -> None:
        self.root = root
        self.tokens = {TOKEN: LOGIN}
        self.faults: list[Fault] = []
        self.requests: list[Recorded] = []
        self._base = base
        self._repos: dict[str, Repo] = {}
        self._moved: dict[str, str] = {}
        self._lock = threading.RLock()
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.hub_server = self
        self._http.idle = self.idle = threading.Event()
        self.port = int(self._http.server_address[1])
        self.web = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.web}{base}"  # what GITHUB_API_URL is set to
        self.hub = Hub(self.web, self.url)
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def add_repository(self, full_name: str, branch: str = "main") -> Path:
        """Create an empty repository, and return the path of its bare repository."""
        owner, name = full_name.split("/")
        path = self.root / owner / f"{name}.git"
        path.mkdir(parents=True)
        subprocess.run(
            ["git", "init", "--quiet", "--bare", f"--initial-branch={branch}", str(path)], check=True
        )
        subprocess.run(["git", "-C", str(path), "config", "http.receivepack", "true"], check=True)
        self._repos[full_name] = Repo(len(self._repos) + 1, owner, name, path, self.hub, {LOGIN})
        return path

    def repository(self, full_name: str) -> Repo:
        """Return GitHub's state of a repository, for tests to change."""
        return self._repos[full_name]

    def rename(self, old: str, new: str) -> None:
        """Rename a repository; the old name redirects to it."""
        repo = self._repos[new] = self._repos.pop(old)
        repo.owner, repo.name = new.split("/")
        self._moved[old] = new

    def clone_url(self, full_name: str) -> str:
        """Return the URL for git, without credentials."""
        return f"{self.web}/{full_name}.git"

    def pull_requests(self, full_name: str) -> list[Pull]:
        """Return the current pull requests of a repository, the oldest first."""
        with self._lock:
            repo = self._repos[full_name]
            repo.refresh()
            return list(repo.pulls)

    def inject(self, fault: Fault) -> Fault:
        """Add a fault."""
        self.faults.append(fault)
        return fault

    def calls(self, method: str, path: str) -> list[Recorded]:
        """Return the requests with a method and a path that matches a pattern."""
        return [one for one in self.requests if one.method == method and re.search(path, one.path)]

    def fault_for(self, method: str, path: str) -> Fault | None:
        """Return the fault that affects a request, if any."""
        with self._lock:
            return next((fault for fault in self.faults if fault.strikes(method, path)), None)

    def answer(self, method: str, target: str, token: str | None, body: bytes) -> Answer:
        """Process a request to the API."""
        with self._lock:
            try:
                return self._answer(method, target, token, body)
            except RefusalError as refusal:
                return Answer(refusal.status, refusal.body, refusal.headers)

    def _answer(self, method: str, target: str, token: str | None, body: bytes) -> Answer:
        login = self.tokens.get(token or "")
        if login is None:
            raise RefusalError(401, "Bad credentials" if token else "Requires authentication")
        parts = urlsplit(target)
        data = json.loads(body) if body else {}
        if parts.path == f"{self._base.removesuffix('/v3')}/graphql" and method == "POST":
            return self._graphql(login, data)
        if not parts.path.startswith(f"{self._base}/"):
            raise not_found()
        repo, rest = self._find(method, parts.path.removeprefix(self._base))
        repo.refresh()
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        for pattern, verb, action in ROUTES:
            if verb == method and (found := re.fullmatch(pattern, rest)):
                pull = repo.pull(int(found["number"])) if "number" in found.groupdict() else None
                return action(_Call(self.hub, repo, login, cast("Pull", pull), data, query, parts.path))
        raise not_found()

    def _find(self, method: str, path: str) -> tuple[Repo, str]:
        if found := re.fullmatch(r"/repositories/(\d+)(.*)", path):
            for repo in self._repos.values():
                if repo.id == int(found[1]):
                    return repo, found[2]
        found = re.fullmatch(r"/repos/([^/]+/[^/]+)(.*)", path)
        if found and (new := self._moved.get(found[1])):
            url = f"{self.url}/repositories/{self._repos[new].id}{found[2]}"
            raise RefusalError(301 if method == "GET" else 307, "Moved Permanently", Location=url)
        if not found or found[1] not in self._repos:
            raise not_found()
        return self._repos[found[1]], found[2]

    def _graphql(self, login: str, data: dict[str, Any]) -> Answer:
        name = "enablePullRequestAutoMerge"
        wanted = data.get("variables", {}).get("input", {})
        every = ((repo, pull) for repo in self._repos.values() for pull in repo.pulls)
        error: dict[str, Any] = {"path": [name], "locations": [{"line": 1, "column": 60}]}
        if f"{name}(input: $input)" not in data.get("query", ""):
            raise not_found()
        try:
            repo, pull = next(one for one in every if one[0].node_id(one[1]) == wanted.get("pullRequestId"))
            repo.refresh()
            repo.enable_auto_merge(login, pull, wanted)
        except StopIteration:
            error |= {"type": "NOT_FOUND", "message": "Could not resolve to a node with the global id"}
        except GraphqlError as refusal:
            error |= {"type": "UNPROCESSABLE", "message": str(refusal)}
        else:
            actor = {"avatarUrl": self.web, "login": login, "resourcePath": f"/{login}", "url": self.web}
            return Answer(200, {"data": {name: {"actor": actor, "clientMutationId": None}}})
        return Answer(200, {"data": {name: None}, "errors": [error]})


@dataclass(frozen=True)
class _Call:
    """The arguments of an endpoint."""

    hub: Hub
    repo: Repo
    login: str
    pull: Pull
    data: Any
    query: dict[str, str]
    path: str


def _get_repository(call: _Call) -> Answer:
    return Answer(200, answers.full_repository(call.hub, call.repo, call.login))


def _list_pulls(call: _Call) -> Answer:
    state, head, base = call.query.get("state", "open"), call.query.get("head", ""), call.query.get("base")
    found = [
        pull
        for pull in reversed(call.repo.pulls)
        if state in {"all", pull.state}
        and (":" not in head or head == f"{call.repo.owner}:{pull.head}")
        and base in {None, pull.base}
    ]
    size, page = min(100, int(call.query.get("per_page", "30"))), int(call.query.get("page", "1"))
    shown = found[(page - 1) * size : page * size]
    links = []
    if page * size < len(found):
        last = -(-len(found) // size)
        for relation, number in (("next", page + 1), ("last", last)):
            query = urlencode({**call.query, "page": str(number)})
            links.append(f'<{call.hub.web}{call.path}?{query}>; rel="{relation}"')
    headers = {"Link": ", ".join(links)} if links else {}
    return Answer(200, [answers.simple_pull(call.hub, call.repo, pull) for pull in shown], headers)


def _create_pull(call: _Call) -> Answer:
    pull = call.repo.create(call.login, call.data)
    return Answer(201, answers.full_pull(call.hub, call.repo, pull, fresh=True))


def _get_pull(call: _Call) -> Answer:
    return Answer(200, answers.full_pull(call.hub, call.repo, call.pull))


def _edit_pull(call: _Call) -> Answer:
    call.repo.edit(call.login, call.pull, call.data)
    return Answer(200, answers.full_pull(call.hub, call.repo, call.pull, fresh=True))


def _merge_pull(call: _Call) -> Answer:
    commit = call.repo.merge(call.login, call.pull, call.data)
    return Answer(200, {"sha": commit, "merged": True, "message": "Pull Request successfully merged"})


def _add_labels(call: _Call) -> Answer:
    labels = call.data if isinstance(call.data, list) else call.data["labels"]  # GitHub takes both
    call.repo.label(call.login, call.pull, labels)
    return Answer(200, [answers.label(call.hub, call.repo, name) for name in call.pull.labels])


def _request_reviews(call: _Call) -> Answer:
    call.repo.ask(call.login, call.pull, call.data)
    return Answer(201, answers.simple_pull(call.hub, call.repo, call.pull))


def _list_reviews(call: _Call) -> Answer:
    return Answer(200, [answers.review(call.hub, call.repo, call.pull, login) for login in call.pull.reviews])


ROUTES: tuple[tuple[str, str, Callable[[_Call], Answer]], ...] = (
    ("", "GET", _get_repository),
    ("/pulls", "GET", _list_pulls),
    ("/pulls", "POST", _create_pull),
    (r"/pulls/(?P<number>\d+)", "GET", _get_pull),
    (r"/pulls/(?P<number>\d+)", "PATCH", _edit_pull),
    (r"/pulls/(?P<number>\d+)/merge", "PUT", _merge_pull),
    (r"/pulls/(?P<number>\d+)/requested_reviewers", "POST", _request_reviews),
    (r"/pulls/(?P<number>\d+)/reviews", "GET", _list_reviews),
    (r"/issues/(?P<number>\d+)/labels", "POST", _add_labels),
)


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    hub_server: GitHubServer
    idle: threading.Event  # set while there is no connection

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the signature of the base class
        """Serve a connection until it is closed."""
        self.idle.clear()
        super().finish_request(request, client_address)
        self.idle.set()


class _Handler(BaseHTTPRequestHandler):
    """Receives requests for the API and for git."""

    protocol_version = "HTTP/1.1"
    server: _Http

    def handle_one_request(self) -> None:
        """Handle one request; a disconnected client is not an error."""
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _serve(self) -> None:
        hub, at = self.server.hub_server, monotonic()
        body = self._read()
        fault = hub.fault_for(self.command, urlsplit(self.path).path)
        git = re.match(r"/([^/]+/[^/]+?)\.git/", self.path)
        if fault is None or fault.late:
            answer = self._git(body) if git else hub.answer(self.command, self.path, self._token(), body)
        if fault is not None:
            error = {"message": fault.message, "documentation_url": DOCS, "status": str(fault.status)}
            answer = Answer(fault.status, error if fault.raw is None else fault.raw, fault.headers)
        recorded = Recorded(self.command, self.path, dict(self.headers), body, answer.status, at)
        hub.requests.append(recorded)
        if fault is not None and fault.drop:
            self.close_connection = True
        else:
            self._send(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the names that http.server looks for

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _token(self) -> str | None:
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "basic":
            try:
                return base64.b64decode(value).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                return None
        return value or None

    def _send(self, answer: Answer) -> None:
        raw = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        headers = {"Content-Type": "application/json; charset=utf-8", **RATE_LIMIT, **answer.headers}
        self.send_response(answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _git(self, body: bytes) -> Answer:
        """Pass a request of git to `git http-backend`, if its token has the permission."""
        hub = self.server.hub_server
        parts = urlsplit(self.path)
        login = hub.tokens.get(self._token() or "")
        if login is None:
            demand = {"WWW-Authenticate": 'Basic realm="GitHub"', "Content-Type": "text/plain"}
            return Answer(401, b"Repository not found.", demand)
        names = parts.path.strip("/").split("/")
        try:
            repo = hub.repository(f"{names[0]}/{names[1].removesuffix('.git')}")
        except KeyError:
            return Answer(404, b"Repository not found.", {"Content-Type": "text/plain"})
        if "git-receive-pack" in self.path and login not in repo.writers:
            return Answer(403, f"Permission to {repo.full_name}.git denied to {login}.".encode())
        return self._backend(repo, "/".join(names[2:]), parts.query, login, body)

    def _backend(self, repo: Repo, rest: str, query: str, login: str, body: bytes) -> Answer:
        environment = {
            **git_environment(),
            "GIT_PROJECT_ROOT": str(repo.path),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{rest}",
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "REMOTE_USER": login,
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(
            ["git", "http-backend"], env=environment, input=body, capture_output=True, check=True
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        return Answer(int(headers.pop("Status", "200").split()[0]), content, headers)
