"""Pull requests on GitHub: found, opened, updated, merged; and what is said where it does not work."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import requests
from github_rules import Pull, Repo
from github_server import TOKEN, Fault, GitHubServer

from pipeline.forge.base import ForgeError, PullRequestDraft, UnreachableError
from pipeline.forge.github_client import GitHub
from pipeline.forge.github_errors import GitHubRepositoryRef, translate_errors
from pipeline.forge.note import read_note, without_note
from tasks.outcome import PullRequest

NAME = "octo/demo"
DRAFT = PullRequestDraft("1.1", "work", "main", "Add b", "What was asked")


class Clients:
    """Makes clients that do not wait between their requests, and closes them."""

    def __init__(self) -> None:
        self.opened: list[GitHub] = []

    def __call__(self, server: GitHubServer, name: str = NAME, token: str = TOKEN, **options: Any) -> GitHub:  # noqa: ANN401 - as GitHub has it
        forge = GitHub(server.url, name, token, between_requests=0, between_writes=0, backoff=0, **options)
        self.opened.append(forge)
        return forge


@pytest.fixture
def client() -> Iterator[Clients]:
    clients = Clients()
    yield clients
    for forge in clients.opened:
        forge.close()


def seed(server: GitHubServer) -> Repo:
    """A repository with `main` and a branch `work` that has one commit more."""
    server.add_repository(NAME)
    repo = server.repository(NAME)
    repo.write("main", {"a.txt": "one\n"})
    repo.write("work", {"b.txt": "two\n"}, onto="main")
    return repo


@pytest.fixture
def repo(github: GitHubServer) -> Repo:
    return seed(github)


@pytest.fixture
def forge(github: GitHubServer, repo: Repo, client: Clients) -> GitHub:
    del repo
    return client(github)


def only(server: GitHubServer) -> Pull:
    """The one pull request that there is."""
    (pull,) = server.pull_requests(NAME)
    return pull


def test_a_pull_request_is_opened(any_github: GitHubServer, client: Clients) -> None:
    seed(any_github)
    result = client(any_github).create_or_update(DRAFT)
    pull = only(any_github)
    assert (pull.title, without_note(pull.body or "").rstrip(), pull.head, pull.base, pull.draft) == (
        "Add b",
        "What was asked",
        "work",
        "main",
        False,
    )
    url = f"{any_github.web}/octo/demo/pull/1"
    assert result == PullRequest("1.1", 1, url, "work", "main", "opened")


def test_second_call_updates_the_pull_request(
    github: GitHubServer, repo: Repo, forge: GitHub, client: Clients
) -> None:
    forge.create_or_update(DRAFT)
    repo.write("other", {"c.txt": "three\n"}, onto="main")
    changed = PullRequestDraft("1.1", "work", "other", "Add b again", "Asked again")
    result = client(github).create_or_update(changed)
    pull = only(github)
    assert (pull.title, without_note(pull.body or "").rstrip(), pull.base) == (
        "Add b again",
        "Asked again",
        "other",
    )
    assert (result.number, result.base, result.action) == (1, "other", "updated")


def test_unchanged_pull_request_is_not_edited(github: GitHubServer, forge: GitHub) -> None:
    forge.create_or_update(DRAFT)
    assert forge.create_or_update(DRAFT).action == "updated"
    assert github.calls("PATCH", "") == []


def test_pull_request_with_matching_base_is_updated(github: GitHubServer, repo: Repo, forge: GitHub) -> None:
    repo.write("other", {"c.txt": "three\n"}, onto="main")
    repo.create("octocat", {"head": "work", "base": "main", "title": "first"})
    repo.create("octocat", {"head": "work", "base": "other", "title": "second"})
    assert forge.create_or_update(DRAFT).number == 1
    assert [pull.title for pull in github.pull_requests(NAME)] == ["first", "second"], (
        "a title of a person is kept"
    )
    assert [bool(read_note(pull.body or "")) for pull in github.pull_requests(NAME)] == [True, False]


def test_closed_pull_request_is_replaced_by_a_new_one(github: GitHubServer, repo: Repo, forge: GitHub) -> None:
    forge.create_or_update(DRAFT)
    repo.pulls[0].state = "closed"
    assert forge.create_or_update(DRAFT).number == 2
    assert [pull.state for pull in github.pull_requests(NAME)] == ["closed", "open"]


def test_draft_state_set_by_a_person_is_kept(github: GitHubServer, forge: GitHub) -> None:
    draft = PullRequestDraft("1.1", "work", "main", "t", "b", draft=True)
    forge.create_or_update(draft)
    assert only(github).draft is True
    only(github).draft = False
    forge.create_or_update(draft)
    assert only(github).draft is False


def test_pull_request_of_a_concurrent_run_is_updated(github: GitHubServer, repo: Repo, forge: GitHub) -> None:
    """The list is empty when it is asked for, and the branch has a pull request when one is to be opened."""
    repo.create("octocat", {"head": "work", "base": "main", "title": "theirs"})
    github.inject(Fault(status=200, method="GET", path="/pulls$", raw=[]))
    result = forge.create_or_update(DRAFT)
    assert (result.number, result.action, only(github).title) == (1, "updated", "theirs")


@pytest.mark.parametrize("fault", [Fault(status=502), Fault(drop=True)], ids=["502", "dropped"])
def test_lost_answer_does_not_open_a_second_pull_request(
    github: GitHubServer, forge: GitHub, fault: Fault
) -> None:
    fault.method, fault.path, fault.late = "POST", "/pulls$", True
    github.inject(fault)
    assert forge.create_or_update(DRAFT).number == 1
    assert only(github).title == "Add b"
    assert len(github.calls("POST", "/pulls$")) == 2


def test_labels_and_reviewers_are_added_once(github: GitHubServer, repo: Repo, forge: GitHub) -> None:
    repo.writers |= {"hubot", "mona"}
    draft = PullRequestDraft(
        "1.1", "work", "main", "t", "b", ("plan", "Docs"), ("hubot", "mona", "octo/reviewers")
    )
    assert forge.create_or_update(draft).notes == ()
    pull = only(github)
    assert (pull.labels, pull.reviewers, pull.teams) == (["plan", "Docs"], ["hubot", "mona"], ["reviewers"])
    pull.reviewers.remove("mona")
    pull.reviews.append("mona")
    pull.labels.append("mine")
    assert forge.create_or_update(draft).notes == ()
    assert (pull.labels, pull.reviewers) == (["plan", "Docs", "mine"], ["hubot"])
    assert len(github.calls("POST", "/labels$")) == 1
    assert len(github.calls("POST", "/requested_reviewers$")) == 1


def test_rejected_reviewer_becomes_a_note(github: GitHubServer, repo: Repo, forge: GitHub) -> None:
    repo.writers.add("hubot")
    result = forge.create_or_update(
        PullRequestDraft("1.1", "work", "main", "t", "b", reviewers=("octocat", "hubot"))
    )
    assert only(github).reviewers == ["hubot"]
    assert result.notes == (
        "octocat was not asked for a review: Review cannot be requested from pull request author.",
    )


def test_rejected_labels_become_a_note(github: GitHubServer, forge: GitHub) -> None:
    github.inject(
        Fault(status=403, message="Resource not accessible by integration", path="/labels$", times=99)
    )
    result = forge.create_or_update(PullRequestDraft("1.1", "work", "main", "t", "b", labels=("plan",)))
    assert result.notes == ("it was not labelled plan: Resource not accessible by integration",)
    assert only(github).title == "t"


def test_rejected_label_is_tried_again(github: GitHubServer, forge: GitHub) -> None:
    github.inject(Fault(status=403, message="Resource not accessible by integration", path="/labels$"))
    draft = PullRequestDraft("1.1", "work", "main", "t", "b", labels=("plan",))
    assert forge.create_or_update(draft).notes
    assert forge.create_or_update(draft).notes == ()
    assert only(github).labels == ["plan"]


def test_labels_of_a_killed_process_are_added_later(github: GitHubServer, forge: GitHub) -> None:
    """It has opened the pull request, and not more."""
    draft = PullRequestDraft("1.1", "work", "main", "t", "b", labels=("plan",))
    forge.create_or_update(replace(draft, labels=()))
    forge.create_or_update(draft)
    assert only(github).labels == ["plan"]


def test_what_a_person_removed_stays_removed(github: GitHubServer, repo: Repo, forge: GitHub) -> None:
    """Also when the commit and the text are new, and others are asked for."""
    repo.writers |= {"hubot", "mona"}
    draft = PullRequestDraft(
        "1.1", "work", "main", "t", "b", ("plan", "Docs"), ("hubot", "octo/reviewers"), draft=True
    )
    forge.create_or_update(draft)
    pull = only(github)
    pull.labels.remove("Docs")
    pull.reviewers.clear()
    pull.teams.clear()
    pull.draft = False
    for text in ("b", "new"):
        more = replace(draft, body=text, labels=("plan", "docs", "more"), reviewers=(*draft.reviewers, "mona"))
        assert forge.create_or_update(more).notes == ()
    assert (pull.labels, pull.reviewers, pull.teams) == (["plan", "more"], ["mona"], [])
    assert not pull.draft


def test_what_a_person_removed_stays_removed_without_a_note(
    github: GitHubServer, repo: Repo, forge: GitHub
) -> None:
    """They have replaced the whole text, or an earlier version has opened it."""
    repo.writers |= {"mona"}
    draft = PullRequestDraft("1.1", "work", "main", "t", "b", ("plan",), ("mona",))
    forge.create_or_update(draft)
    pull = only(github)
    pull.labels.clear()
    pull.reviewers.clear()
    pull.body = "In other words"
    for _ in range(2):
        forge.create_or_update(draft)
    assert (pull.labels, pull.reviewers) == ([], [])


def test_base_that_a_person_chose_stays(github: GitHubServer, repo: Repo, forge: GitHub) -> None:
    repo.write("release", {"r.txt": "r\n"}, onto="main")
    forge.create_or_update(DRAFT)
    only(github).base = "release"
    assert forge.create_or_update(replace(DRAFT, body="new")).base == "release"
    assert only(github).base == "release"


def test_auto_merge_that_a_person_turned_off_stays_off(github: GitHubServer, repo: Repo, forge: GitHub) -> None:
    repo.required = True
    assert auto_merge(forge, repo).notes == ("auto-merge is on",)
    pull = only(github)
    assert pull.auto_merge
    pull.auto_merge = None
    assert auto_merge(forge, repo).notes == ("auto-merge was on, was turned off there, and is left off",)
    assert pull.auto_merge is None


def test_a_renamed_repository_is_found_under_its_new_name(
    github: GitHubServer, repo: Repo, client: Clients
) -> None:
    github.rename(NAME, "octo/new")
    forge = client(github)
    forge.check_access()
    assert forge.create_or_update(DRAFT).url == f"{github.web}/octo/new/pull/1"
    assert len(repo.pulls) == 1


def test_find_returns_the_newest_pull_request(repo: Repo, forge: GitHub) -> None:
    assert forge.find("work") is None
    forge.create_or_update(DRAFT)
    commit = repo.pulls[0].head_commit
    found = forge.find("work")
    assert found is not None
    assert (found.state, found.commit, found.request.number) == ("open", commit, 1)
    repo.merge("octocat", repo.pulls[0], {})
    merged = forge.find("work")
    assert merged is not None
    assert (merged.state, merged.commit, merged.request.action) == ("merged", commit, "merged")
    repo.write("work", {"b.txt": "three\n"})
    forge.create_or_update(DRAFT)
    forge.create_or_update(replace(DRAFT, base="main"))
    repo.pulls[1].state = "closed"
    closed = forge.find("work")
    assert closed is not None
    assert (closed.state, closed.request.number) == ("closed", 2)


# Auto-merge


def auto_merge(forge: GitHub, repo: Repo, **draft: Any) -> PullRequest:  # noqa: ANN401 - as RequestDraft has it
    request = forge.create_or_update(PullRequestDraft("1.1", "work", "main", "t", "b", **draft))
    return forge.enable_auto_merge(request, repo.tip("work") or "")


def test_auto_merge_is_enabled_when_a_check_is_required(any_github: GitHubServer, client: Clients) -> None:
    repo = seed(any_github)
    repo.required = True
    forge = client(any_github)
    result = auto_merge(forge, repo)
    assert (result.action, result.notes) == ("opened", ("auto-merge is on",))
    assert only(any_github).auto_merge == "merge"
    assert forge.enable_auto_merge(result, repo.tip("work") or "").notes[-1] == "auto-merge is on"
    assert len(any_github.calls("POST", "graphql$")) == 1
    repo.complete_checks()
    assert forge.enable_auto_merge(result, repo.tip("work") or "").action == "merged"


@pytest.mark.parametrize("allowed", [True, False], ids=["clean", "auto-merge not allowed"])
def test_pull_request_without_requirements_is_merged_at_once(repo: Repo, forge: GitHub, allowed: bool) -> None:  # noqa: FBT001 - a parameter
    repo.allow_auto_merge, repo.settles_after = allowed, 3
    commit = repo.tip("work")
    result = auto_merge(forge, repo)
    assert (result.action, result.notes) == ("merged", ())
    assert repo.git("rev-parse", "main^2") == commit


@pytest.mark.parametrize("method", ["squash", "rebase"])
def test_allowed_merge_method_is_used(repo: Repo, forge: GitHub, method: str) -> None:
    repo.merge_methods = {method}
    assert auto_merge(forge, repo).action == "merged"
    assert repo.git("rev-list", "--count", "main") == "2"


def test_unmet_requirement_without_auto_merge_becomes_a_note(repo: Repo, forge: GitHub) -> None:
    repo.allow_auto_merge, repo.required = False, True
    result = auto_merge(forge, repo)
    assert result.action == "opened"
    (note,) = result.notes
    assert note == (
        "auto-merge could not be turned on, and a requirement is not met: "
        "Pull request Auto merge is not allowed for this repository"
    )
    assert repo.pulls[0].state == "open"


def test_conflict_becomes_a_note(repo: Repo, forge: GitHub) -> None:
    repo.write("main", {"b.txt": "theirs\n"})
    result = auto_merge(forge, repo)
    assert (result.action, result.notes) == ("opened", ("it was not merged: it conflicts with main",))


def test_merge_is_retried_after_the_base_was_modified(repo: Repo, forge: GitHub) -> None:
    repo.busy_bases = 2
    assert auto_merge(forge, repo).action == "merged"


def test_branch_pushed_by_a_person_is_not_merged(repo: Repo, forge: GitHub) -> None:
    request = forge.create_or_update(DRAFT)
    ours = repo.tip("work") or ""
    repo.write("work", {"c.txt": "theirs\n"})
    result = forge.enable_auto_merge(request, ours)
    assert result.action == "opened"
    assert result.notes == ("it was not merged: Head branch was modified. Review and try the merge again.",)
    assert repo.tip("main") != repo.tip("work")


def test_a_draft_is_not_merged(repo: Repo, forge: GitHub) -> None:
    result = auto_merge(forge, repo, draft=True)
    assert result.notes == ("it is a draft; auto-merge is left off until it is ready for review",)
    assert repo.pulls[0].state == "open"


# What does not work


def sentence(call: Callable[[], object], kind: type[ForgeError] = ForgeError) -> str:
    """Return what is said where a call fails; never with the token in it."""
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    assert caught.value.exit_code == 3
    assert TOKEN not in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_check_access_accepts_a_writable_repository(forge: GitHub) -> None:
    forge.check_access()
    assert forge.default_branch() == "main"


def test_check_access_closes_its_connection(github: GitHubServer, forge: GitHub) -> None:
    forge.check_access()
    assert github.idle.wait(timeout=30)


def test_token_without_reported_permissions_is_accepted(repo: Repo, forge: GitHub) -> None:
    repo.reports_permissions = False
    forge.check_access()


def test_invalid_token(github: GitHubServer, repo: Repo, client: Clients) -> None:
    del repo
    said = sentence(client(github, token="ghp_revoked").check_access, UnreachableError)
    assert said == (
        "127.0.0.1 does not accept the token for octo/demo (401: Bad credentials): it is wrong, expired "
        "or revoked; set GITHUB_TOKEN to a valid one"
    )


def test_missing_repository(github: GitHubServer, client: Clients) -> None:
    said = sentence(client(github, "octo/nothing").check_access)
    assert said == (
        "cannot open pull requests in octo/nothing on 127.0.0.1 (404: Not Found): it does not exist, or the "
        "token has no access; check the name (--github owner/repo) and the token's repositories"
    )


def test_read_only_token(github: GitHubServer, repo: Repo, client: Clients) -> None:
    repo.writers.clear()
    said = "the token can read octo/demo on 127.0.0.1 but not push to it; give it write access to contents"
    assert sentence(client(github).check_access).startswith(said)


def test_token_without_pull_request_permission(github: GitHubServer, forge: GitHub) -> None:
    github.inject(Fault(status=403, message="Resource not accessible by integration", method="POST", times=99))
    assert sentence(lambda: forge.create_or_update(DRAFT)) == (
        "cannot open a pull request for work in octo/demo on 127.0.0.1 "
        "(403: Resource not accessible by integration): the token needs write access to contents and pull "
        "requests there"
    )


def test_single_sign_on(github: GitHubServer, forge: GitHub) -> None:
    headers = {"X-GitHub-SSO": "required; url=https://github.com/orgs/octo/sso?x=1"}
    github.inject(Fault(status=403, message="Resource protected by organization SAML", headers=headers))
    said = "the token must be authorized for single sign-on first: open https://github.com/orgs/octo/sso?x=1"
    assert sentence(forge.check_access).endswith(said)


def test_an_archived_repository(repo: Repo, forge: GitHub) -> None:
    repo.archived = True
    assert "octo/demo on 127.0.0.1 is archived" in sentence(forge.check_access)


@pytest.mark.parametrize(
    ("branch", "base", "said"),
    [
        (
            "nowhere",
            "main",
            "octo/demo on 127.0.0.1 has no branch nowhere; if the remote is another repository,",
        ),
        ("work", "nowhere", "octo/demo on 127.0.0.1 has no branch nowhere, the base of work; push it first"),
        (
            "main",
            "work",
            "work on octo/demo on 127.0.0.1 already contains main, so there is nothing to open",
        ),
    ],
)
def test_rejected_pull_request_is_explained(forge: GitHub, branch: str, base: str, said: str) -> None:
    assert sentence(lambda: forge.create_or_update(PullRequestDraft("1.1", branch, base, "t", "b"))).startswith(
        said
    )


def test_a_repository_without_drafts(github: GitHubServer, repo: Repo, forge: GitHub) -> None:
    repo.takes_drafts = False
    said = sentence(
        lambda: forge.create_or_update(PullRequestDraft("1.1", "work", "main", "t", "b", draft=True))
    )
    assert said == "octo/demo on 127.0.0.1 does not support draft pull requests; publish without --draft"
    assert github.pull_requests(NAME) == []


def test_unknown_refusal_quotes_github(forge: GitHub) -> None:
    said = sentence(lambda: forge.create_or_update(PullRequestDraft("1.1", "work", "main", "t" * 300, "b")))
    assert "(422: title is too long (maximum is 256 characters))" in said


def test_temporary_server_error_is_retried(github: GitHubServer, forge: GitHub) -> None:
    github.inject(Fault(status=503, times=3))
    forge.check_access()
    assert [call.status for call in github.requests] == [503, 503, 503, 200]


def test_permanent_server_error(github: GitHubServer, forge: GitHub) -> None:
    github.inject(Fault(status=502, times=99))
    assert sentence(forge.check_access) == (
        "cannot open pull requests in octo/demo on 127.0.0.1: GitHub failed repeatedly (502); try again later"
    )


@pytest.mark.parametrize("status", [403, 429])
def test_secondary_rate_limit_is_waited_for(github: GitHubServer, forge: GitHub, status: int) -> None:
    said = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
    github.inject(
        Fault(status=status, message=said, method="POST", path="/pulls$", headers={"Retry-After": "1"})
    )
    assert forge.create_or_update(DRAFT).action == "opened"
    first, second = github.calls("POST", "/pulls$")
    assert second.at - first.at >= 0.9


def test_rate_limit_without_a_time_is_retried(github: GitHubServer, forge: GitHub) -> None:
    github.inject(Fault(status=429, message="slow down", times=2))
    forge.check_access()
    assert [call.status for call in github.requests] == [429, 429, 200]


def test_long_wait_is_reported(github: GitHubServer, repo: Repo, client: Clients) -> None:
    del repo
    waits: list[float] = []
    github.inject(Fault(status=429, headers={"Retry-After": "2"}))
    client(github, on_wait=waits.append).check_access()
    assert waits == [2]


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "4000"},
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 4000)},
    ],
    ids=["secondary", "primary"],
)
def test_a_rate_limit_of_an_hour_is_not_waited_for(
    github: GitHubServer, forge: GitHub, headers: dict[str, str]
) -> None:
    github.inject(Fault(status=403, message="API rate limit exceeded for user ID 1.", headers=headers))
    said = sentence(lambda: forge.create_or_update(DRAFT), UnreachableError)
    assert said.startswith("the GitHub rate limit for octo/demo on 127.0.0.1 is exhausted until ")
    assert said.endswith(" UTC; run `patchyard publish` later for the rest")
    assert len(github.requests) == 1


def test_a_rate_limit_without_an_end(github: GitHubServer, forge: GitHub) -> None:
    github.inject(Fault(status=429, message="slow down", times=99))
    assert sentence(forge.check_access, UnreachableError).startswith("the GitHub rate limit for octo/demo")


def test_refused_connection() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    forge = GitHub(url, NAME, TOKEN, backoff=0)
    assert sentence(forge.check_access, UnreachableError) == (
        f"cannot open pull requests in octo/demo on 127.0.0.1: {url} cannot be reached (connection refused); "
        "check the network, and GITHUB_API_URL if it is set"
    )


def test_repeatedly_dropped_connection(github: GitHubServer, forge: GitHub) -> None:
    github.inject(Fault(drop=True, times=99))
    said = sentence(forge.check_access, UnreachableError)
    assert said.startswith(
        f"cannot open pull requests in octo/demo on 127.0.0.1: {github.url} cannot be reached ("
    )
    assert "<" not in said


def test_untrusted_certificate(github: GitHubServer) -> None:
    secure = github.url.replace("http://", "https://")
    said = sentence(GitHub(secure, NAME, TOKEN, backoff=0).check_access, UnreachableError)
    assert said.startswith(f"no secure connection to {secure} (")


def test_timeout() -> None:
    def call() -> None:
        with translate_errors(GitHubRepositoryRef(NAME, "github.com", "https://api.github.com"), "merge #1"):
            raise requests.exceptions.ReadTimeout

    said = "cannot merge #1 in octo/demo on github.com: https://api.github.com did not answer in time;"
    assert sentence(call, UnreachableError).startswith(said)


def test_token_in_an_answer_is_masked(github: GitHubServer, forge: GitHub) -> None:
    github.inject(Fault(status=422, message=f"what is {TOKEN}?"))
    assert "(422: what is ***?)" in sentence(forge.check_access)


def test_token_is_in_no_representation(github: GitHubServer, forge: GitHub) -> None:
    forge.create_or_update(DRAFT)
    assert repr(forge) == "GitHub(octo/demo on 127.0.0.1)"
    assert TOKEN not in repr(forge.credential(github.clone_url(NAME)))
    assert all(TOKEN not in call.target for call in github.requests)
    assert all(call.headers["Authorization"].endswith(TOKEN) for call in github.requests)


# Other servers


@pytest.fixture
def sparse() -> Iterator[str]:
    """A server that has few endpoints and sends only required fields."""
    with HTTPServer(("127.0.0.1", 0), _Sparse) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class _Sparse(BaseHTTPRequestHandler):
    """Answers with the fields that nobody can do without."""

    def do_GET(self) -> None:
        pages = {"/repos/octo/demo": {"default_branch": "trunk"}, "/repos/octo/demo/pulls": []}
        if self.path == "/repos/octo/page":
            self._send(200, "<html>Sign in</html>")
        else:
            self._send(200, json.dumps(pages[self.path.partition("?")[0]]))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._send(201, json.dumps({"number": 7, "url": "https://elsewhere.test/7"}))

    do_PATCH = do_POST  # noqa: N815 - the name of the library

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _send(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


def test_missing_fields_cause_no_further_request(sparse: str) -> None:
    forge = GitHub(sparse, NAME, TOKEN, between_requests=0, between_writes=0)
    forge.check_access()
    assert forge.default_branch() == "trunk"
    assert forge.find("work") is None
    draft = PullRequestDraft("1.1", "work", "trunk", "t", "b", labels=("plan",), reviewers=("hubot",))
    result = forge.create_or_update(draft)
    forge.close()
    assert result == PullRequest("1.1", 7, "https://127.0.0.1/octo/demo/pull/7", "work", "trunk", "opened")


def test_web_page_is_rejected_as_answer(sparse: str) -> None:
    said = sentence(GitHub(sparse, "octo/page", TOKEN).check_access)
    assert said == f"the answer of {sparse} is not one of the GitHub API; check GITHUB_API_URL"
