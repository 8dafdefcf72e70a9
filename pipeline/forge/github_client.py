"""Pull requests. The only module that asks GitHub for anything, through PyGithub.

PyGithub is imported when a client is made, not before: it costs more than the rest of the command line. Only
paths below `/repos/OWNER/NAME` are used, and answers count as complete: a field that an older Enterprise
server leaves out is `None` here, and not one more request.
"""

import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from containers.git.repository import Credential, Repository
from pipeline.forge.github_errors import (
    NOT_FOUND,
    ForgeError,
    GitHubRepositoryRef,
    UnreachableError,
    is_validation,
    problems,
    translate_errors,
)
from pipeline.forge.github_reviewers import add_labels, ask_for_reviews
from pipeline.forge.github_urls import (
    GITHUB,
    RemoteRepository,
    api_url,
    find_token,
    is_secure_for,
    parse_name,
    parse_remote,
    token_names,
    web_host,
)
from tasks.model import PullRequest
from tasks.secrets import Secrets
from tasks.text import without_credentials

if TYPE_CHECKING:
    from github import Github, GithubException
    from github.PullRequest import PullRequest as GithubRequest
    from github.PullRequestPart import PullRequestPart
    from github.Repository import Repository as GithubRepository

__all__ = (
    "Forge",
    "ForgeError",
    "GitHub",
    "MergedPullRequest",
    "PullRequestDraft",
    "RemoteRepository",
    "UnreachableError",
    "connect",
    "find_token",
    "parse_remote",
)

REQUEST_SECONDS = 30
LONGEST_WAIT = 300.0
METHOD_NOT_ALLOWED, CONFLICT = 405, 409
MERGE_TRIES = 6
MERGEABLE = frozenset({"clean", "unstable", "has_hooks"})
"""States in which GitHub merges at once: nothing that is required is missing."""


@dataclass(frozen=True, slots=True)
class PullRequestDraft:
    """What a pull request should be. `branch` and `base` are names of branches that the forge has."""

    task: str
    branch: str
    base: str
    title: str
    body: str
    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()  # user names, and teams as `organization/team`
    draft: bool = False


@dataclass(frozen=True, slots=True)
class MergedPullRequest:
    """A pull request that was merged, and the commit that its branch had then."""

    request: PullRequest
    commit: str


class Forge(Protocol):
    """Where pull requests are. Every method blocks and may raise `ForgeError`."""

    def check(self) -> None:
        """Find out whether pull requests can be opened: the token, the repository, the permission."""

    def default_branch(self) -> str:
        """Return the branch that pull requests go against where nothing else is said."""
        ...

    def ensure(self, draft: PullRequestDraft) -> PullRequest:
        """Let there be this open pull request: find that of the branch and update it, else open one."""
        ...

    def merged(self, branch: str) -> MergedPullRequest | None:
        """Return the newest pull request of a branch where it was merged; `None` where it was not."""
        ...

    def auto_merge(self, request: PullRequest, commit: str) -> PullRequest:
        """Have a pull request merged as soon as nothing required is missing, and return it as it is now.

        Its `action` is `merged` where that was at once; a note says what was done, or why nothing was.
        `commit` is what its branch must stand at.
        """
        ...

    def close(self) -> None:
        """Let go of the connection; the next call makes a new one."""


class GitHub:
    """A repository on GitHub, seen through its REST API.

    Args:
        api: The address of the API, such as `https://api.github.com`.
        name: `owner/repo`.
        token: Is in no message and no representation.
        between_requests: Seconds between two requests, which GitHub asks for.
        between_writes: Seconds between two that change something.
        backoff: Seconds that the waits after failures grow from.
        on_wait: Is told when GitHub keeps us waiting, with the seconds, before the wait begins.
    """

    def __init__(  # noqa: PLR0913 - the parts of one value, named by every caller
        self,
        api: str,
        name: str,
        token: str,
        *,
        between_requests: float = 0.25,
        between_writes: float = 1.0,
        backoff: float = 1.0,
        on_wait: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._token = token
        self._place = GitHubRepositoryRef(name, web_host(api), api, Secrets({"token": token}))
        self._between_requests = between_requests
        self._between_writes = between_writes
        self._backoff = backoff
        self._on_wait = on_wait

    def __repr__(self) -> str:
        return f"GitHub({self._place})"

    def credential(self, remote_url: str | None) -> Credential | None:
        """Return what a push to this URL needs; `None` for ssh, a path, or the host of somebody else."""
        if remote_url is None or not is_secure_for(remote_url, self._place.api):
            return None
        return Credential("x-access-token", self._token)

    def check(self) -> None:
        """Find out whether pull requests can be opened: the token, the repository, the permission.

        Raises:
            ForgeError: Says which of them it is, and what to do.
        """
        try:
            repository = self._repository
        finally:
            self.close()  # the tasks run next, which may take long
        if repository.archived:
            raise ForgeError(f"{self._place} is archived: it takes no branches and no pull requests")
        # Installation tokens, as in GitHub Actions, get no permissions told: then only trying shows.
        if repository.permissions is not None and repository.permissions.push is False:
            raise ForgeError(
                f"the token may read {self._place}, but not push to it; give it write access to contents and "
                "pull requests there"
            )

    def default_branch(self) -> str:
        """Return the branch that pull requests go against where nothing else is said."""
        if branch := self._repository.default_branch:
            return branch
        raise ForgeError(f"{self._place} has no default branch yet; push one first")

    def ensure(self, draft: PullRequestDraft) -> PullRequest:
        """Find the open pull request of the draft's branch and update it, or open one.

        Reviewers and labels that GitHub does not take are notes of the result.

        Raises:
            ForgeError: GitHub did not take it; the sentence names the repository.
        """
        with translate_errors(self._place, f"open a pull request for {draft.branch}"):
            action, found = "updated", self._open_request(draft)
            if found is None:
                action, found = self._create(draft)
            if action == "updated":
                self._update(found, draft)
            notes = add_labels(found, draft.labels)
            notes += ask_for_reviews(found, draft.reviewers, is_new=action == "opened")
            return PullRequest(
                task=draft.task,
                number=found.number,
                url=self._page(found),
                branch=draft.branch,
                base=_ref(found.base) or draft.base,
                action=action,
                notes=tuple(notes),
            )

    def merged(self, branch: str) -> MergedPullRequest | None:
        """Return the newest pull request of a branch where it was merged; `None` where it was not.

        Raises:
            ForgeError: GitHub did not say.
        """
        with translate_errors(self._place, f"look for the pull request of {branch}"):
            found = self._requests(branch, "all")
            if not found or found[0].merged_at is None:
                return None
            newest = found[0]
            request = PullRequest(
                task="",
                number=newest.number,
                url=self._page(newest),
                branch=branch,
                base=_ref(newest.base) or "",
                action="merged",
            )
            return MergedPullRequest(request, newest.head.sha if newest.head else "")

    def auto_merge(self, request: PullRequest, commit: str) -> PullRequest:
        """Turn on GitHub's auto-merge, or merge where nothing is required.

        Where GitHub refuses, the pull request stays as it is and a note says why.

        Raises:
            ForgeError: GitHub cannot be reached, or failed.
        """
        from github import GithubException  # noqa: PLC0415 - see the top

        with translate_errors(self._place, f"merge #{request.number}"):
            found = self._request(request.number)
            if found.merged:
                return replace(request, action="merged")
            if found.draft:
                return _noted(request, "it is a draft, so auto-merge is left off until it is ready for review")
            if found.auto_merge:
                return _noted(request, "auto-merge is on")
            method = self._merge_method()
            try:
                found.enable_automerge(method.upper(), expected_head_oid=commit)
            except GithubException as refusal:
                if refusal.status not in {400, NOT_FOUND}:  # 400 is how PyGithub raises the errors of GraphQL
                    raise
                return self._merge_now(request, commit, method, "; ".join(problems(refusal)))
            return _noted(request, "auto-merge is on")

    def close(self) -> None:
        """Let go of the connection; the next call makes a new one."""
        self._client.close()

    def _merge_now(self, request: PullRequest, commit: str, method: str, reason: str) -> PullRequest:
        """Merge where nothing required is missing; GitHub works that out in the background, so ask again.

        An administrator could merge past what is required: so the state decides, and not whether it works.
        `reason` is why auto-merge could not be turned on.
        """
        from github import GithubException  # noqa: PLC0415 - see the top

        for attempt in range(MERGE_TRIES):
            time.sleep(attempt * self._backoff)
            found = self._request(request.number)
            state = found.mergeable_state
            if found.merged:
                return replace(request, action="merged")
            if state == "dirty":
                return _noted(request, f"it was not merged: it conflicts with {request.base}")
            if state == "unknown":
                continue
            if state is not None and state not in MERGEABLE:
                return _noted(
                    request, f"auto-merge could not be turned on, and something is required: {reason}"
                )
            try:
                found.merge(sha=commit, merge_method=method)
            except GithubException as refusal:
                if refusal.status not in {METHOD_NOT_ALLOWED, CONFLICT}:
                    raise
                reason = "; ".join(problems(refusal))
                if refusal.status == METHOD_NOT_ALLOWED and "base branch was modified" in reason.lower():
                    continue  # what was merged just before is not settled yet
                return _noted(request, f"it was not merged: {reason}")
            return replace(request, action="merged")
        return _noted(request, f"it was not merged: {reason}; the next `patchyard publish` tries again")

    @cached_property
    def _client(self) -> "Github":
        from github import Auth, Github, set_log_level  # noqa: PLC0415 - see the top

        from pipeline.forge.github_retry import BoundedGithubRetry  # noqa: PLC0415 - imports it too

        set_log_level(logging.WARNING)  # it writes to standard error from INFO on
        return Github(
            auth=Auth.Token(self._token),
            base_url=self._place.api,
            timeout=REQUEST_SECONDS,
            user_agent="patchyard",
            per_page=100,
            retry=BoundedGithubRetry(longest=LONGEST_WAIT, on_wait=self._on_wait, backoff_factor=self._backoff),
            seconds_between_requests=self._between_requests,
            seconds_between_writes=self._between_writes,
            lazy=True,
        )

    @cached_property
    def _repository(self) -> "GithubRepository":
        """The repository as GitHub describes it, under its present name."""
        with translate_errors(self._place, "open pull requests"):
            from github.Repository import Repository as GithubRepository  # noqa: PLC0415 - see the top

            headers, data = self._get(f"/repos/{self._place.name}")
            if not isinstance(data, dict) or not data.keys() & {"full_name", "default_branch", "permissions"}:
                raise ValueError(data)
            name = data.get("full_name") or self._place.name  # a renamed one answers under its new name
            data = {**data, "full_name": name, "url": f"/repos/{name}"}
            return GithubRepository(self._client.requester, headers, data, completed=True)

    def _get(self, path: str, **parameters: str) -> tuple[dict[str, Any], Any]:
        return self._client.requester.requestJsonAndCheck("GET", path, parameters)

    def _complete(self, headers: dict[str, Any], data: Mapping[str, Any]) -> "GithubRequest":
        """Return an answer as PyGithub's object that asks for nothing more, with paths of this server."""
        from github.PullRequest import PullRequest as GithubRequest  # noqa: PLC0415 - see the top

        number, path = data["number"], self._repository.url
        paths = {"url": f"{path}/pulls/{number}", "issue_url": f"{path}/issues/{number}"}
        return GithubRequest(self._client.requester, headers, {**data, **paths}, completed=True)

    def _page(self, found: "GithubRequest") -> str:
        return found.html_url or f"https://{self._place.host}/{self._repository.full_name}/pull/{found.number}"

    def _request(self, number: int) -> "GithubRequest":
        return self._complete(*self._get(f"{self._repository.url}/pulls/{number}"))

    def _requests(self, branch: str, state: str) -> list["GithubRequest"]:
        """Return the pull requests of a branch of this very repository, the newest first."""
        name = self._repository.full_name
        owner = name.partition("/")[0]
        headers, data = self._get(
            f"{self._repository.url}/pulls", state=state, head=f"{owner}:{branch}", per_page="100"
        )
        requests = (self._complete(headers, item) for item in data)
        own = [one for one in requests if _is_from(one, name, branch)]
        return sorted(own, key=lambda one: -one.number)

    def _open_request(self, draft: PullRequestDraft) -> "GithubRequest | None":
        """Return the open pull request to update: that against the draft's base where there are several."""
        found = [one for one in self._requests(draft.branch, "open") if one.state in {"open", None}]
        return next((one for one in found if _ref(one.base) == draft.base), found[0] if found else None)

    def _create(self, draft: PullRequestDraft) -> tuple[str, "GithubRequest"]:
        from github import GithubException  # noqa: PLC0415 - see the top

        wanted = {
            "title": draft.title,
            "body": draft.body,
            "head": draft.branch,
            "base": draft.base,
            "draft": draft.draft,
        }
        try:
            headers, data = self._client.requester.requestJsonAndCheck(
                "POST", f"{self._repository.url}/pulls", input=wanted
            )
        except GithubException as refusal:
            # Another run was quicker, or the answer to our own request was lost and it was sent once more.
            if is_validation(refusal, "already exists") and (found := self._open_request(draft)):
                return "updated", found
            if told := self._refused(draft, refusal):
                raise ForgeError(told) from refusal
            raise
        return "opened", self._complete(headers, data)

    def _refused(self, draft: PullRequestDraft, refusal: "GithubException") -> str | None:
        """Say why GitHub takes no pull request, in the cases that people meet."""
        if is_validation(refusal, "no commits between"):
            return (
                f"{draft.base} on {self._place} has everything that {draft.branch} has, so there is nothing "
                "to open a pull request for"
            )
        if is_validation(refusal, "head is invalid", "head sha can't be blank"):
            return (
                f"{self._place} has no branch {draft.branch}; does the remote lead to another repository? "
                "--github owner/repo names the one for pull requests"
            )
        if is_validation(refusal, "base is invalid"):
            return f"{self._place} has no branch {draft.base} for {draft.branch} to go to; push it first"
        if is_validation(refusal, "draft pull requests are not supported"):
            return f"{self._place} does not take draft pull requests; publish without --draft"
        return None

    def _update(self, found: "GithubRequest", draft: PullRequestDraft) -> None:
        there = (found.title, found.body or "", _ref(found.base))
        if there == (draft.title, draft.body, draft.base):
            return
        if _ref(found.base) == draft.base:
            found.edit(title=draft.title, body=draft.body)
        else:
            found.edit(title=draft.title, body=draft.body, base=draft.base)

    def _merge_method(self) -> str:
        """Return how to merge here: the first of the usual ways that the repository allows."""
        repository = self._repository
        ways = {
            "merge": repository.allow_merge_commit,
            "squash": repository.allow_squash_merge,
            "rebase": repository.allow_rebase_merge,
        }
        return next((way for way, allowed in ways.items() if allowed is not False), "merge")


def connect(
    environ: Mapping[str, str],
    repository: Repository,
    remote: str,
    github: str | None,
    *,
    on_wait: Callable[[float], None] = lambda _: None,
) -> GitHub:
    """Return the repository on GitHub that a remote leads to. Asks nobody yet, but `gh` for a token.

    Args:
        environ: `GITHUB_TOKEN` and its like, and `GITHUB_API_URL`.
        repository: Whose remote it is.
        remote: Its name, such as `origin`.
        github: `owner/repo` or `host/owner/repo` where the remote does not tell.
        on_wait: As for `GitHub`.

    Raises:
        ForgeError: There is no such remote, it does not lead to GitHub, or there is no token.
    """
    url = repository.remote_url(remote)
    if url is None:
        raise ForgeError(
            f"there is no remote {remote} to push to; add it with `git remote add {remote} URL`, or name "
            "another with --remote"
        )
    found = parse_remote(url) or parse_remote(repository.configured_url(remote) or "")
    if github is not None:
        host = found.host if found else GITHUB
        found = parse_name(github, host)
        if found is None:
            raise ForgeError(f"--github: {github!r} is not of the form owner/repo")
    if found is None:
        raise ForgeError(
            f"the remote {remote} ({without_credentials(url)}) does not name a repository on GitHub; "
            "say which with --github owner/repo"
        )
    api = api_url(environ, found)
    if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", api):
        raise ForgeError(
            f"GITHUB_API_URL is {without_credentials(api)!r}, which is no URL such as https://HOST/api/v3"
        )
    token = find_token(environ, web_host(api))
    if token is None:
        raise ForgeError(_no_token(environ, found, web_host(api)))
    if not re.fullmatch(r"[!-~]+", token):
        raise ForgeError(f"the token for {web_host(api)} holds characters that no token has; set it anew")
    return GitHub(api, found.full_name, token, on_wait=on_wait)


def _no_token(environ: Mapping[str, str], found: RemoteRepository, host: str) -> str:
    names = token_names(environ, host)
    name = "GITHUB_TOKEN" if "GITHUB_TOKEN" in names else names[0]
    login = "gh auth login" if host == GITHUB else f"gh auth login --hostname {host}"
    return (
        f"there is no token for {found.full_name} on {host}: set {name} to one that may write contents and "
        f"pull requests there, or sign in with `{login}`"
    )


def _noted(request: PullRequest, note: str) -> PullRequest:
    return replace(request, notes=(*request.notes, note))


def _ref(end: "PullRequestPart | None") -> str | None:
    return end.ref if end else None


def _is_from(found: "GithubRequest", name: str, branch: str) -> bool:
    """Say whether a pull request comes from a branch of the repository itself, and not from a fork's."""
    if _ref(found.head) not in {branch, None}:
        return False
    repository = found.head.repo if found.head else None
    return repository is None or repository.full_name in {name, None}
