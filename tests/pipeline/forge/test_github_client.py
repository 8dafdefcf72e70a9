"""Pull requests on GitHub: found, opened, updated, merged; and what is said where it does not work."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import requests
from github_rules import Pull, Repo
from github_server import TOKEN, Fault, GitHubServer

from pipeline.forge.github_client import ForgeError, GitHub, PullRequestDraft, UnreachableError
from pipeline.forge.github_errors import GitHubRepositoryRef, translate_errors
from tasks.model import PullRequest

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
    result = client(any_github).ensure(DRAFT)
    pull = only(any_github)
    assert (pull.title, pull.body, pull.head, pull.base, pull.draft) == (
        "Add b",
        "What was asked",
        "work",
        "main",
        False,
    )
    url = f"{any_github.web}/octo/demo/pull/1"
    assert result == PullRequest("1.1", 1, url, "work", "main", "opened")


def test_once_more_updates_the_same(github: GitHubServer, repo: Repo, forge: GitHub, client: Clients) -> None:
    forge.ensure(DRAFT)
    repo.write("other", {"c.txt": "three\n"}, onto="main")
    changed = PullRequestDraft("1.1", "work", "other", "Add b again", "Asked anew")
    result = client(github).ensure(changed)
    pull = only(github)
    assert (pull.title, pull.body, pull.base) == ("Add b again", "Asked anew", "other")
    assert (result.number, result.base, result.action) == (1, "other", "updated")


def test_nothing_is_sent_where_nothing_differs(github: GitHubServer, forge: GitHub) -> None:
    forge.ensure(DRAFT)
    assert forge.ensure(DRAFT).action == "updated"
    assert github.calls("PATCH", "") == []


def test_of_several_open_ones_that_against_the_base_is_updated(
    github: GitHubServer, repo: Repo, forge: GitHub
) -> None:
    repo.write("other", {"c.txt": "three\n"}, onto="main")
    repo.create("octocat", {"head": "work", "base": "main", "title": "first"})
    repo.create("octocat", {"head": "work", "base": "other", "title": "second"})
    assert forge.ensure(DRAFT).number == 1
    assert [pull.title for pull in github.pull_requests(NAME)] == ["Add b", "second"]


def test_a_closed_one_is_left_and_a_new_one_opened(github: GitHubServer, repo: Repo, forge: GitHub) -> None:
    forge.ensure(DRAFT)
    repo.pulls[0].state = "closed"
    assert forge.ensure(DRAFT).number == 2
    assert [pull.state for pull in github.pull_requests(NAME)] == ["closed", "open"]


def test_a_draft_is_opened_as_one_and_stays_what_a_person_made_of_it(
    github: GitHubServer, forge: GitHub
) -> None:
    draft = PullRequestDraft("1.1", "work", "main", "t", "b", draft=True)
    forge.ensure(draft)
    assert only(github).draft is True
    only(github).draft = False
    forge.ensure(draft)
    assert only(github).draft is False


def test_another_run_that_was_quicker_is_joined(github: GitHubServer, repo: Repo, forge: GitHub) -> None:
    """The list is empty when it is asked for, and the branch has a pull request when one is to be opened."""
    repo.create("octocat", {"head": "work", "base": "main", "title": "theirs"})
    github.inject(Fault(status=200, method="GET", path="/pulls$", raw=[]))
    result = forge.ensure(DRAFT)
    assert (result.number, result.action, only(github).title) == (1, "updated", "Add b")


@pytest.mark.parametrize("fault", [Fault(status=502), Fault(drop=True)], ids=["502", "dropped"])
def test_an_answer_that_was_lost_opens_no_second(github: GitHubServer, forge: GitHub, fault: Fault) -> None:
    fault.method, fault.path, fault.late = "POST", "/pulls$", True
    github.inject(fault)
    assert forge.ensure(DRAFT).number == 1
    assert only(github).title == "Add b"
    assert len(github.calls("POST", "/pulls$")) == 2


def test_labels_and_reviewers_are_added_once(github: GitHubServer, repo: Repo, forge: GitHub) -> None:
    repo.writers |= {"hubot", "mona"}
    draft = PullRequestDraft(
        "1.1", "work", "main", "t", "b", ("plan", "Docs"), ("hubot", "mona", "octo/reviewers")
    )
    assert forge.ensure(draft).notes == ()
    pull = only(github)
    assert (pull.labels, pull.reviewers, pull.teams) == (["plan", "Docs"], ["hubot", "mona"], ["reviewers"])
    pull.reviewers.remove("mona")
    pull.reviews.append("mona")
    pull.labels.append("mine")
    assert forge.ensure(draft).notes == ()
    assert (pull.labels, pull.reviewers) == (["plan", "Docs", "mine"], ["hubot"])
    assert len(github.calls("POST", "/labels$")) == 1
    assert len(github.calls("POST", "/requested_reviewers$")) == 1


def test_a_reviewer_that_cannot_be_asked_is_a_note(github: GitHubServer, repo: Repo, forge: GitHub) -> None:
    repo.writers.add("hubot")
    result = forge.ensure(PullRequestDraft("1.1", "work", "main", "t", "b", reviewers=("octocat", "hubot")))
    assert only(github).reviewers == ["hubot"]
    assert result.notes == (
        "octocat was not asked for a review: Review cannot be requested from pull request author.",
    )


def test_labels_that_may_not_be_set_are_a_note(github: GitHubServer, forge: GitHub) -> None:
    github.inject(
        Fault(status=403, message="Resource not accessible by integration", path="/labels$", times=99)
    )
    result = forge.ensure(PullRequestDraft("1.1", "work", "main", "t", "b", labels=("plan",)))
    assert result.notes == ("it was not labelled plan: Resource not accessible by integration",)
    assert only(github).title == "t"


def test_a_renamed_repository_is_found_under_its_new_name(
    github: GitHubServer, repo: Repo, client: Clients
) -> None:
    github.rename(NAME, "octo/new")
    forge = client(github)
    forge.check()
    assert forge.ensure(DRAFT).url == f"{github.web}/octo/new/pull/1"
    assert len(repo.pulls) == 1


def test_merged_says_what_the_newest_one_merged(repo: Repo, forge: GitHub) -> None:
    assert forge.merged("work") is None
    forge.ensure(DRAFT)
    assert forge.merged("work") is None
    commit = repo.pulls[0].head_commit
    repo.merge("octocat", repo.pulls[0], {})
    merged = forge.merged("work")
    assert merged is not None
    assert (merged.commit, merged.request.number, merged.request.action) == (commit, 1, "merged")
    repo.write("work", {"b.txt": "three\n"})
    forge.ensure(DRAFT)
    assert forge.merged("work") is None


# Auto-merge


def auto_merge(forge: GitHub, repo: Repo, **draft: Any) -> PullRequest:  # noqa: ANN401 - as RequestDraft has it
    request = forge.ensure(PullRequestDraft("1.1", "work", "main", "t", "b", **draft))
    return forge.auto_merge(request, repo.tip("work") or "")


def test_auto_merge_is_turned_on_where_something_is_required(any_github: GitHubServer, client: Clients) -> None:
    repo = seed(any_github)
    repo.required = True
    forge = client(any_github)
    result = auto_merge(forge, repo)
    assert (result.action, result.notes) == ("opened", ("auto-merge is on",))
    assert only(any_github).auto_merge == "merge"
    assert forge.auto_merge(result, repo.tip("work") or "").notes[-1] == "auto-merge is on"
    assert len(any_github.calls("POST", "graphql$")) == 1
    repo.complete_checks()
    assert forge.auto_merge(result, repo.tip("work") or "").action == "merged"


@pytest.mark.parametrize("allowed", [True, False], ids=["clean", "auto-merge not allowed"])
def test_it_is_merged_at_once_where_nothing_is_required(repo: Repo, forge: GitHub, allowed: bool) -> None:  # noqa: FBT001 - a parameter
    repo.allow_auto_merge, repo.settles_after = allowed, 3
    commit = repo.tip("work")
    result = auto_merge(forge, repo)
    assert (result.action, result.notes) == ("merged", ())
    assert repo.git("rev-parse", "main^2") == commit


@pytest.mark.parametrize("method", ["squash", "rebase"])
def test_the_way_that_the_repository_allows_is_taken(repo: Repo, forge: GitHub, method: str) -> None:
    repo.merge_methods = {method}
    assert auto_merge(forge, repo).action == "merged"
    assert repo.git("rev-list", "--count", "main") == "2"


def test_where_it_is_not_allowed_and_something_is_required_it_stays(repo: Repo, forge: GitHub) -> None:
    repo.allow_auto_merge, repo.required = False, True
    result = auto_merge(forge, repo)
    assert result.action == "opened"
    (note,) = result.notes
    assert note == (
        "auto-merge could not be turned on, and something is required: "
        "Pull request Auto merge is not allowed for this repository"
    )
    assert repo.pulls[0].state == "open"


def test_a_conflict_is_said(repo: Repo, forge: GitHub) -> None:
    repo.write("main", {"b.txt": "theirs\n"})
    result = auto_merge(forge, repo)
    assert (result.action, result.notes) == ("opened", ("it was not merged: it conflicts with main",))


def test_a_base_that_just_moved_is_waited_for(repo: Repo, forge: GitHub) -> None:
    repo.busy_bases = 2
    assert auto_merge(forge, repo).action == "merged"


def test_what_somebody_pushed_meanwhile_is_not_merged(repo: Repo, forge: GitHub) -> None:
    request = forge.ensure(DRAFT)
    ours = repo.tip("work") or ""
    repo.write("work", {"c.txt": "theirs\n"})
    result = forge.auto_merge(request, ours)
    assert result.action == "opened"
    assert result.notes == ("it was not merged: Head branch was modified. Review and try the merge again.",)
    assert repo.tip("main") != repo.tip("work")


def test_a_draft_is_not_merged(repo: Repo, forge: GitHub) -> None:
    result = auto_merge(forge, repo, draft=True)
    assert result.notes == ("it is a draft, so auto-merge is left off until it is ready for review",)
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


def test_all_is_well(forge: GitHub) -> None:
    forge.check()
    assert forge.default_branch() == "main"


def test_no_connection_is_kept_while_the_tasks_run(github: GitHubServer, forge: GitHub) -> None:
    forge.check()
    assert github.idle.wait(timeout=30)


def test_a_token_of_github_actions_is_told_no_permissions(repo: Repo, forge: GitHub) -> None:
    repo.tells_permissions = False
    forge.check()


def test_a_wrong_token(github: GitHubServer, repo: Repo, client: Clients) -> None:
    del repo
    said = sentence(client(github, token="ghp_revoked").check, UnreachableError)
    assert said == (
        "127.0.0.1 does not accept the token for octo/demo (401: Bad credentials): it is wrong, expired "
        "or revoked; set GITHUB_TOKEN to a valid one"
    )


def test_a_repository_that_is_not_there(github: GitHubServer, client: Clients) -> None:
    said = sentence(client(github, "octo/nothing").check)
    assert said == (
        "cannot open pull requests in octo/nothing on 127.0.0.1 (404: Not Found): it does not exist, or the "
        "token may not see it; check the name (--github owner/repo) and what the token may read"
    )


def test_a_token_that_may_only_read(github: GitHubServer, repo: Repo, client: Clients) -> None:
    repo.writers.clear()
    said = "the token may read octo/demo on 127.0.0.1, but not push to it; give it write access to contents"
    assert sentence(client(github).check).startswith(said)


def test_a_token_that_must_not_open_pull_requests(github: GitHubServer, forge: GitHub) -> None:
    github.inject(Fault(status=403, message="Resource not accessible by integration", method="POST", times=99))
    assert sentence(lambda: forge.ensure(DRAFT)) == (
        "cannot open a pull request for work in octo/demo on 127.0.0.1 "
        "(403: Resource not accessible by integration): the token needs write access to contents and pull "
        "requests there"
    )


def test_single_sign_on(github: GitHubServer, forge: GitHub) -> None:
    headers = {"X-GitHub-SSO": "required; url=https://github.com/orgs/octo/sso?x=1"}
    github.inject(Fault(status=403, message="Resource protected by organization SAML", headers=headers))
    said = "the token must be authorized for single sign-on first: open https://github.com/orgs/octo/sso?x=1"
    assert sentence(forge.check).endswith(said)


def test_an_archived_repository(repo: Repo, forge: GitHub) -> None:
    repo.archived = True
    assert "octo/demo on 127.0.0.1 is archived" in sentence(forge.check)


@pytest.mark.parametrize(
    ("branch", "base", "said"),
    [
        (
            "nowhere",
            "main",
            "octo/demo on 127.0.0.1 has no branch nowhere; does the remote lead to another repository?",
        ),
        ("work", "nowhere", "octo/demo on 127.0.0.1 has no branch nowhere for work to go to; push it first"),
        (
            "main",
            "work",
            "work on octo/demo on 127.0.0.1 has everything that main has, so there is nothing to open",
        ),
    ],
)
def test_what_github_refuses(forge: GitHub, branch: str, base: str, said: str) -> None:
    assert sentence(lambda: forge.ensure(PullRequestDraft("1.1", branch, base, "t", "b"))).startswith(said)


def test_a_repository_without_drafts(github: GitHubServer, repo: Repo, forge: GitHub) -> None:
    repo.takes_drafts = False
    said = sentence(lambda: forge.ensure(PullRequestDraft("1.1", "work", "main", "t", "b", draft=True)))
    assert said == "octo/demo on 127.0.0.1 does not take draft pull requests; publish without --draft"
    assert github.pull_requests(NAME) == []


def test_another_refusal_is_in_the_words_of_github(forge: GitHub) -> None:
    said = sentence(lambda: forge.ensure(PullRequestDraft("1.1", "work", "main", "t" * 300, "b")))
    assert "(422: title is too long (maximum is 256 characters))" in said


def test_a_server_that_fails_for_a_moment_is_asked_again(github: GitHubServer, forge: GitHub) -> None:
    github.inject(Fault(status=503, times=3))
    forge.check()
    assert [call.status for call in github.requests] == [503, 503, 503, 200]


def test_a_server_that_goes_on_failing(github: GitHubServer, forge: GitHub) -> None:
    github.inject(Fault(status=502, times=99))
    assert sentence(forge.check) == (
        "cannot open pull requests in octo/demo on 127.0.0.1: GitHub failed again and again (502); try again "
        "later"
    )


@pytest.mark.parametrize("status", [403, 429])
def test_a_secondary_rate_limit_is_waited_for(github: GitHubServer, forge: GitHub, status: int) -> None:
    said = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
    github.inject(
        Fault(status=status, message=said, method="POST", path="/pulls$", headers={"Retry-After": "1"})
    )
    assert forge.ensure(DRAFT).action == "opened"
    first, second = github.calls("POST", "/pulls$")
    assert second.at - first.at >= 0.9


def test_a_rate_limit_that_names_no_time_is_tried_again(github: GitHubServer, forge: GitHub) -> None:
    github.inject(Fault(status=429, message="slow down", times=2))
    forge.check()
    assert [call.status for call in github.requests] == [429, 429, 200]


def test_a_long_wait_is_told_of(github: GitHubServer, repo: Repo, client: Clients) -> None:
    del repo
    waits: list[float] = []
    github.inject(Fault(status=429, headers={"Retry-After": "2"}))
    client(github, on_wait=waits.append).check()
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
    said = sentence(lambda: forge.ensure(DRAFT), UnreachableError)
    assert said.startswith("the rate limit of GitHub for octo/demo on 127.0.0.1 is used up until ")
    assert said.endswith(" UTC; `patchyard publish` does later what is left to do")
    assert len(github.requests) == 1


def test_a_rate_limit_without_an_end(github: GitHubServer, forge: GitHub) -> None:
    github.inject(Fault(status=429, message="slow down", times=99))
    assert sentence(forge.check, UnreachableError).startswith("the rate limit of GitHub for octo/demo")


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    forge = GitHub(url, NAME, TOKEN, backoff=0)
    assert sentence(forge.check, UnreachableError) == (
        f"cannot open pull requests in octo/demo on 127.0.0.1: {url} cannot be reached (connection refused); "
        "check the network, and GITHUB_API_URL where it is set"
    )


def test_a_connection_that_is_cut_again_and_again(github: GitHubServer, forge: GitHub) -> None:
    github.inject(Fault(drop=True, times=99))
    said = sentence(forge.check, UnreachableError)
    assert said.startswith(
        f"cannot open pull requests in octo/demo on 127.0.0.1: {github.url} cannot be reached ("
    )
    assert "<" not in said


def test_a_connection_that_is_not_secure(github: GitHubServer) -> None:
    secure = github.url.replace("http://", "https://")
    said = sentence(GitHub(secure, NAME, TOKEN, backoff=0).check, UnreachableError)
    assert said.startswith(f"no secure connection to {secure} (")


def test_an_answer_that_does_not_come() -> None:
    def call() -> None:
        with translate_errors(GitHubRepositoryRef(NAME, "github.com", "https://api.github.com"), "merge #1"):
            raise requests.exceptions.ReadTimeout

    said = "cannot merge #1 in octo/demo on github.com: https://api.github.com does not answer in time;"
    assert sentence(call, UnreachableError).startswith(said)


def test_what_the_server_repeats_of_the_token_is_masked(github: GitHubServer, forge: GitHub) -> None:
    github.inject(Fault(status=422, message=f"what is {TOKEN}?"))
    assert "(422: what is ***?)" in sentence(forge.check)


def test_no_token_is_shown(github: GitHubServer, forge: GitHub) -> None:
    forge.ensure(DRAFT)
    assert repr(forge) == "GitHub(octo/demo on 127.0.0.1)"
    assert TOKEN not in repr(forge.credential(github.clone_url(NAME)))
    assert all(TOKEN not in call.target for call in github.requests)
    assert all(call.headers["Authorization"].endswith(TOKEN) for call in github.requests)


# Other servers


@pytest.fixture
def sparse() -> Iterator[str]:
    """A server that knows few endpoints, and tells no more than it must."""
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

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _send(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


def test_fields_that_are_missing_are_done_without(sparse: str) -> None:
    forge = GitHub(sparse, NAME, TOKEN, between_requests=0, between_writes=0)
    forge.check()
    assert forge.default_branch() == "trunk"
    assert forge.merged("work") is None
    draft = PullRequestDraft("1.1", "work", "trunk", "t", "b", labels=("plan",), reviewers=("hubot",))
    result = forge.ensure(draft)
    forge.close()
    assert result == PullRequest("1.1", 7, "https://127.0.0.1/octo/demo/pull/7", "work", "trunk", "opened")


def test_a_web_page_is_not_taken_for_an_answer(sparse: str) -> None:
    said = sentence(GitHub(sparse, "octo/page", TOKEN).check)
    assert said == f"what {sparse} answers is not what the API of GitHub does; check GITHUB_API_URL"
