"""The GitHub of the tests, held against GitHub's published schema and against git."""

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from github_rules import Repo
from github_server import LOGIN, TOKEN, GitHubServer
from githubkit_schemas.latest import models
from pydantic import BaseModel, ValidationError


class Client:
    """Asks the server plainly, without PyGithub."""

    def __init__(self, server: GitHubServer, token: str = TOKEN) -> None:
        self._server = server
        self._token = token

    def __call__(self, method: str, path: str, **data: Any) -> tuple[int, Any, dict[str, str]]:  # noqa: ANN401 - JSON
        url = path if path.startswith("http") else self._server.url + path
        headers = {"Authorization": f"Bearer {self._token}"}
        request = Request(url, json.dumps(data).encode() if data else None, headers, method=method)  # noqa: S310 - http
        try:
            with urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
                return answer.status, json.load(answer), dict(answer.headers)
        except HTTPError as error:
            return error.code, json.load(error), dict(error.headers)


@pytest.fixture
def ask(any_github: GitHubServer) -> Client:
    any_github.add_repository("octo/demo")
    return Client(any_github)


@pytest.fixture
def repo(ask: Client, any_github: GitHubServer) -> Repo:
    del ask
    repo = any_github.repository("octo/demo")
    repo.write("main", {"a.txt": "one\n"})
    repo.write("change", {"b.txt": "two\n"}, onto="main")
    return repo


def open_pull(ask: Client, **wanted: Any) -> Any:  # noqa: ANN401 - JSON
    return ask("POST", "/repos/octo/demo/pulls", **{"title": "T", "head": "change", "base": "main", **wanted})


def fits(model: type[BaseModel], answer: object) -> None:
    model.model_validate(answer)


def test_schema_rejects_other_answers() -> None:
    with pytest.raises(ValidationError):
        fits(models.PullRequestSimple, {"number": 1})


def test_a_repository_has_the_published_shape(ask: Client, repo: Repo) -> None:
    status, answer, _ = ask("GET", f"/repos/{repo.full_name}")
    assert status == 200
    fits(models.FullRepository, answer)
    assert answer["permissions"]["push"] is True


def test_the_answers_about_a_pull_request_have_the_published_shape(ask: Client, repo: Repo) -> None:
    repo.writers.add("hubot")
    status, created, _ = open_pull(ask, draft=False)
    assert status == 201
    fits(models.PullRequest, created)
    assert created["mergeable_state"] == "unknown"
    path = f"/repos/{repo.full_name}/pulls/1"
    status, labels, _ = ask("POST", f"/repos/{repo.full_name}/issues/1/labels", labels=["plan"])
    assert status == 200
    for label in labels:
        fits(models.Label, label)
    status, asked, _ = ask(
        "POST", f"{path}/requested_reviewers", reviewers=["hubot"], team_reviewers=["reviewers"]
    )
    assert status == 201
    fits(models.PullRequestSimple, asked)
    assert [team["slug"] for team in asked["requested_teams"]] == ["reviewers"]
    fits(models.PullRequest, ask("PATCH", path, title="Other")[1])
    fits(models.PullRequest, ask("GET", path)[1])
    repo.pulls[0].reviews.append("hubot")
    for review in ask("GET", f"{path}/reviews")[1]:
        fits(models.PullRequestReview, review)
    status, merged, _ = ask("PUT", f"{path}/merge", sha=created["head"]["sha"])
    assert status == 200
    fits(models.PullRequestMergeResult, merged)
    assert repo.tip("main") == merged["sha"]
    (listed,) = ask("GET", f"/repos/{repo.full_name}/pulls?state=all")[1]
    fits(models.PullRequestSimple, listed)
    assert listed["merged_at"]


def test_auto_merge_has_the_published_shape(ask: Client, repo: Repo) -> None:
    repo.required = True
    node = open_pull(ask)[1]["node_id"]
    base = ask("GET", "/repos/octo/demo")[1]["url"].removesuffix("/repos/octo/demo").removesuffix("/v3")
    call = "enablePullRequestAutoMerge(input: $input) { clientMutationId }"
    query = "mutation M($input: EnablePullRequestAutoMergeInput!) { " + call + " }"
    status, answer, _ = ask(
        "POST", f"{base}/graphql", query=query, variables={"input": {"pullRequestId": node}}
    )
    assert (status, "errors" in answer) == (200, False)
    pull = ask("GET", "/repos/octo/demo/pulls/1")[1]
    fits(models.PullRequest, pull)
    assert pull["auto_merge"]["merge_method"] == "merge"
    repo.complete_checks()
    assert ask("GET", "/repos/octo/demo/pulls/1")[1]["merged"] is True


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ({"head": "nowhere"}, {"resource": "PullRequest", "field": "head", "code": "invalid"}),
        ({"base": "nowhere"}, {"resource": "PullRequest", "field": "base", "code": "invalid"}),
        (
            {"head": "same"},
            {"resource": "PullRequest", "code": "custom", "message": "No commits between main and same"},
        ),
    ],
)
def test_invalid_pull_request_is_rejected(
    ask: Client, repo: Repo, wanted: dict[str, str], error: dict[str, str]
) -> None:
    repo.git("branch", "same", "main")
    status, answer, _ = open_pull(ask, **wanted)
    assert (status, answer["errors"]) == (422, [error])
    fits(models.ValidationError, answer)


def test_a_second_request_for_a_branch_is_refused(ask: Client, repo: Repo) -> None:
    assert open_pull(ask)[0] == 201
    status, answer, _ = open_pull(ask)
    assert status == 422
    assert answer["errors"][0]["message"] == f"A pull request already exists for {repo.owner}:change."
    fits(models.ValidationError, answer)


@pytest.mark.parametrize(("token", "status"), [("nonsense", 401), ("ghp_reader", 403)])
def test_missing_permission_is_reported(any_github: GitHubServer, repo: Repo, token: str, status: int) -> None:
    any_github.tokens["ghp_reader"] = "reader"
    client = Client(any_github, token)
    found, answer, _ = open_pull(client)
    assert found == status
    fits(models.BasicError, answer)
    assert repo.pulls == []


def test_a_list_comes_in_pages(ask: Client, repo: Repo) -> None:
    for number in range(5):
        repo.write(f"change-{number}", {f"{number}.txt": "x"}, onto="main")
        open_pull(ask, head=f"change-{number}")
    path, numbers = "/repos/octo/demo/pulls?per_page=2", []
    while path:
        _, pulls, headers = ask("GET", path)
        numbers += [pull["number"] for pull in pulls]
        links = [link for link in headers.get("Link", "").split(", ") if link.endswith('rel="next"')]
        path = links[0].partition(">")[0].removeprefix("<") if links else ""
    assert numbers == [5, 4, 3, 2, 1]


def test_a_branch_that_is_deleted_closes_its_pull_request(ask: Client, repo: Repo) -> None:
    open_pull(ask)
    repo.git("update-ref", "-d", "refs/heads/change")
    assert ask("GET", "/repos/octo/demo/pulls")[1] == []
    assert ask("GET", "/repos/octo/demo/pulls/1")[1]["state"] == "closed"


@pytest.mark.parametrize(("token", "code"), [(TOKEN, 0), ("nonsense", 128), ("ghp_reader", 128)])
def test_push_over_http_needs_a_token_with_write_access(
    github: GitHubServer, tmp_path: Path, token: str, code: int
) -> None:
    github.add_repository("octo/demo")
    github.tokens["ghp_reader"] = "reader"
    basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {basic}",
    }
    work = tmp_path / "work"
    for command in (
        ["git", "init", "-q", str(work)],
        [
            "git",
            "-C",
            str(work),
            "-c",
            "user.name=A",
            "-c",
            "user.email=a@b",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "x",
        ],
    ):
        subprocess.run(command, env=environment, check=True)
    push = ["git", "-C", str(work), "push", "-q", github.clone_url("octo/demo"), "HEAD:refs/heads/new"]
    assert subprocess.run(push, env=environment, check=False).returncode == code
    assert (github.repository("octo/demo").tip("new") is not None) == (code == 0)
    assert github.tokens[TOKEN] == LOGIN
