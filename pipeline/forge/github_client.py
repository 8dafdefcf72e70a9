"""Pull requests on GitHub: the `Forge` for its REST API, through PyGithub.

PyGithub is imported by the first request, because it takes longer than the rest of the command line.
Only paths below `/repos/OWNER/NAME` are requested. Answers are treated as complete: PyGithub would otherwise
send another request for each field that an older Enterprise server leaves out.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from containers.git.remote.remotes import Credential
from pipeline.forge.base import FileLimits, ForgeError, FoundPullRequest, PullRequestDraft, RequestState
from pipeline.forge.github_errors import (
    BAD_REQUEST,
    CONFLICT,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    GitHubRepositoryRef,
    error_messages,
    is_validation_error,
    translate_errors,
)
from pipeline.forge.github_reviewers import add_labels_and_reviewers
from pipeline.forge.github_urls import file_limits, is_secure_for, web_host
from pipeline.forge.note import body_of, read_note, revised, with_additions
from tasks.outcome import PullRequest
from tasks.secrets import Secrets

if TYPE_CHECKING:
    from github import Github, GithubException
    from github.PullRequest import PullRequest as GithubRequest
    from github.PullRequestPart import PullRequestPart
    from github.Repository import Repository as GithubRepository

REQUEST_SECONDS = 30
"""Timeout of one request, in seconds."""
LONGEST_WAIT = 300.0
"""Longest wait, in seconds, that a rate limit may impose."""
MERGE_TRIES = 6
MERGEABLE = frozenset({"clean", "unstable", "has_hooks"})
"""Values of `mergeable_state` in which GitHub merges at once, because all requirements are met.

https://docs.github.com/en/graphql/reference/enums#mergestatestatus
"""


class GitHub:
    """A repository on GitHub, seen through its REST API.

    Args:
        api: URL of the API, such as `https://api.github.com`.
        name: `owner/repo`.
        token: Access token; it does not appear in any message or representation.
        between_requests: Seconds between two requests.
        between_writes: Seconds between two requests that change something. GitHub asks for at least one:
            https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api
        backoff: Base of the exponential wait after a failure, in seconds.
        on_wait: Called with the seconds of a rate limit's wait, before it starts.
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
        self._ref = GitHubRepositoryRef(name, web_host(api), api, Secrets({"token": token}))
        self._between_requests = between_requests
        self._between_writes = between_writes
        self._backoff = backoff
        self._on_wait = on_wait

    def __repr__(self) -> str:
        return f"GitHub({self._ref})"

    @property
    def file_limits(self) -> FileLimits:
        """How large the files of a push may be."""
        return file_limits(self._ref.api)

    def credential(self, remote_url: str | None) -> Credential | None:
        """Return the credential for a push to a URL; `None` for ssh, a path, or another host."""
        if remote_url is None or not is_secure_for(remote_url, self._ref.api):
            return None
        return Credential("x-access-token", self._token)

    def check_access(self) -> None:
        """Check that pull requests can be opened: the token, the repository, the permission. Blocking.

        Raises:
            ForgeError: One of them is missing or invalid; the message says which, and what to do.
        """
        try:
            repository = self._repository
        finally:
            self.close()  # the tasks run next, and may take long
        if repository.archived:
            raise ForgeError(f"{self._ref} is archived and accepts neither branches nor pull requests")
        # GitHub reports no permissions for installation tokens, as in GitHub Actions: only a push shows them.
        if repository.permissions is not None and repository.permissions.push is False:
            raise ForgeError(
                f"the token can read {self._ref} but not push to it; give it write access to contents and "
                "pull requests there"
            )

    def default_branch(self) -> str:
        """Return the name of the repository's default branch. Blocking.

        Raises:
            ForgeError: The repository is empty, or GitHub cannot be reached.
        """
        if branch := self._repository.default_branch:
            return branch
        raise ForgeError(f"{self._ref} has no default branch yet; push one first")

    def create_or_update(self, draft: PullRequestDraft) -> PullRequest:
        """Create the branch's pull request, or update the open one. Blocking.

        Reviewers and labels that GitHub rejects become notes of the result.

        Raises:
            ForgeError: GitHub rejected the pull request or cannot be reached; the message names the repository.
        """
        with translate_errors(self._ref, f"open a pull request for {draft.branch}"):
            action, found = "updated", self._find_open(draft)
            if found is None:
                action, found = self._create(draft)
            body = self._update(found, draft) if action == "updated" else body_of(draft)
            notes = add_labels_and_reviewers(found, draft, body, is_new=action == "opened")
            return PullRequest(
                task=draft.task,
                number=found.number,
                url=self._page_url(found),
                branch=draft.branch,
                base=_branch_of(found.base) or draft.base,
                action=action,
                notes=notes,
            )

    def find(self, branch: str) -> FoundPullRequest | None:
        """Return the newest pull request of a branch; an open one rather than a closed one. Blocking.

        Raises:
            ForgeError: GitHub cannot be reached, or failed.
        """
        with translate_errors(self._ref, f"look for the pull request of {branch}"):
            every = self._requests(branch, "all")
            if not every:
                return None
            still_open = (item for item in every if _state_of(item) is RequestState.OPEN)
            found = every[0] if every[0].merged_at else next(still_open, every[0])
            state = _state_of(found)
            request = PullRequest(
                task="",
                number=found.number,
                url=self._page_url(found),
                branch=branch,
                base=_branch_of(found.base) or "",
                action=str(state),
            )
            return FoundPullRequest(request, state, found.head.sha if found.head else "", found.body or "")

    def enable_auto_merge(self, request: PullRequest, commit: str) -> PullRequest:
        """Enable GitHub's auto-merge, or merge at once if all requirements are met. Blocking.

        If GitHub refuses, the pull request is unchanged and a note says why. Auto-merge must be allowed in the
        repository's settings, and GitHub refuses it for a pull request that can be merged at once:
        https://docs.github.com/en/pull-requests/collaborating-with-pull-requests/incorporating-changes-from-a-pull-request/automatically-merging-a-pull-request

        Raises:
            ForgeError: GitHub cannot be reached, or failed.
        """
        from github import GithubException  # noqa: PLC0415 - see the module docstring

        with translate_errors(self._ref, f"merge #{request.number}"):
            found = self._request(request.number)
            if found.merged:
                return replace(request, action="merged")
            if found.draft:
                return _with_note(request, "it is a draft; auto-merge is left off until it is ready for review")
            if found.auto_merge:
                return _with_note(request, "auto-merge is on")
            if (note := read_note(found.body or "")) and note.auto_merge:
                return _with_note(request, "auto-merge was on, was turned off there, and is left off")
            method = self._merge_method()
            try:
                found.enable_automerge(method.upper(), expected_head_oid=commit)
            except GithubException as refusal:
                if refusal.status not in {BAD_REQUEST, NOT_FOUND}:
                    raise
                return self._merge_now(request, commit, method, "; ".join(error_messages(refusal)))
            if (noted := with_additions(found.body or "", auto_merge=True)) != (found.body or ""):
                found.edit(body=noted)
            return _with_note(request, "auto-merge is on")

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        self._client.close()

    def _merge_now(self, request: PullRequest, commit: str, method: str, reason: str) -> PullRequest:
        """Merge if all requirements are met, retrying while GitHub computes the mergeable state.

        GitHub lets an administrator bypass the requirements, so the state is checked before the merge. GitHub
        computes it in the background:
        https://docs.github.com/en/rest/guides/using-the-rest-api-to-interact-with-your-git-database#checking-mergeability-of-pull-requests

        Args:
            request: The pull request.
            commit: The commit id that its branch must have.
            method: `merge`, `squash` or `rebase`.
            reason: Why auto-merge could not be enabled.
        """
        from github import GithubException  # noqa: PLC0415 - see the module docstring

        for attempt in range(MERGE_TRIES):
            time.sleep(attempt * self._backoff)
            found = self._request(request.number)
            state = found.mergeable_state
            if found.merged:
                return replace(request, action="merged")
            if state == "dirty":
                return _with_note(request, f"it was not merged: it conflicts with {request.base}")
            if state == "unknown":
                continue
            if state is not None and state not in MERGEABLE:
                return _with_note(
                    request, f"auto-merge could not be turned on, and a requirement is not met: {reason}"
                )
            try:
                found.merge(sha=commit, merge_method=method)
            except GithubException as refusal:
                if refusal.status not in {METHOD_NOT_ALLOWED, CONFLICT}:
                    raise
                reason = "; ".join(error_messages(refusal))
                if refusal.status == METHOD_NOT_ALLOWED and "base branch was modified" in reason.lower():
                    continue  # GitHub is still processing the merge just before
                return _with_note(request, f"it was not merged: {reason}")
            return replace(request, action="merged")
        return _with_note(request, f"it was not merged: {reason}; the next `patchyard publish` tries again")

    @cached_property
    def _client(self) -> "Github":
        from github import Auth, Github, set_log_level  # noqa: PLC0415 - see the module docstring

        from pipeline.forge.github_retry import BoundedGithubRetry  # noqa: PLC0415 - imports PyGithub

        set_log_level(logging.WARNING)  # PyGithub logs INFO to standard error
        return Github(
            auth=Auth.Token(self._token),
            base_url=self._ref.api,
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
        """The repository as GitHub describes it, under its current name."""
        with translate_errors(self._ref, "open pull requests"):
            from github.Repository import Repository as GithubRepository  # noqa: PLC0415 - see the module docstring

            headers, data = self._request_json(f"/repos/{self._ref.name}")
            if not isinstance(data, dict) or not data.keys() & {"full_name", "default_branch", "permissions"}:
                raise ValueError(data)
            name = data.get("full_name") or self._ref.name  # GitHub redirects a renamed repository
            data = {**data, "full_name": name, "url": f"/repos/{name}"}
            return GithubRepository(self._client.requester, headers, data, completed=True)

    def _request_json(self, path: str, **parameters: str) -> tuple[dict[str, Any], Any]:
        return self._client.requester.requestJsonAndCheck("GET", path, parameters)

    def _complete(self, headers: dict[str, Any], data: Mapping[str, Any]) -> "GithubRequest":
        """Return an answer as a PyGithub object that sends no further request, with paths of this server."""
        from github.PullRequest import PullRequest as GithubRequest  # noqa: PLC0415 - see the module docstring

        number, path = data["number"], self._repository.url
        paths = {"url": f"{path}/pulls/{number}", "issue_url": f"{path}/issues/{number}"}
        return GithubRequest(self._client.requester, headers, {**data, **paths}, completed=True)

    def _page_url(self, found: "GithubRequest") -> str:
        return found.html_url or f"https://{self._ref.host}/{self._repository.full_name}/pull/{found.number}"

    def _request(self, number: int) -> "GithubRequest":
        return self._complete(*self._request_json(f"{self._repository.url}/pulls/{number}"))

    def _requests(self, branch: str, state: str) -> list["GithubRequest"]:
        """Return the pull requests from a branch of this repository, not of a fork; newest first."""
        name = self._repository.full_name
        owner = name.partition("/")[0]
        headers, data = self._request_json(
            f"{self._repository.url}/pulls", state=state, head=f"{owner}:{branch}", per_page="100"
        )
        requests = (self._complete(headers, item) for item in data)
        own = [request for request in requests if _is_from(request, name, branch)]
        return sorted(own, key=lambda request: -request.number)

    def _find_open(self, draft: PullRequestDraft) -> "GithubRequest | None":
        """Return the open pull request to update; of several, the one with the draft's base."""
        found = [item for item in self._requests(draft.branch, "open") if item.state in {"open", None}]
        return next(
            (item for item in found if _branch_of(item.base) == draft.base), found[0] if found else None
        )

    def _create(self, draft: PullRequestDraft) -> tuple[str, "GithubRequest"]:
        from github import GithubException  # noqa: PLC0415 - see the module docstring

        wanted = {
            "title": draft.title,
            "body": body_of(draft),
            "head": draft.branch,
            "base": draft.base,
            "draft": draft.draft,
        }
        try:
            headers, data = self._client.requester.requestJsonAndCheck(
                "POST", f"{self._repository.url}/pulls", input=wanted
            )
        except GithubException as refusal:
            # Another run created it first, or the answer to our request was lost and urllib3 repeated it.
            if is_validation_error(refusal, "already exists") and (found := self._find_open(draft)):
                return "updated", found
            if message := self._explain_refusal(draft, refusal):
                raise ForgeError(message) from refusal
            raise
        return "opened", self._complete(headers, data)

    def _explain_refusal(self, draft: PullRequestDraft, refusal: "GithubException") -> str | None:
        """Return a message for the common reasons to reject a pull request, else `None`."""
        if is_validation_error(refusal, "no commits between"):
            return (
                f"{draft.base} on {self._ref} already contains {draft.branch}, so there is nothing to open "
                "a pull request for"
            )
        if is_validation_error(refusal, "head is invalid", "head sha can't be blank"):
            return (
                f"{self._ref} has no branch {draft.branch}; if the remote is another repository, name the "
                "one for pull requests with --github owner/repo"
            )
        if is_validation_error(refusal, "base is invalid"):
            return f"{self._ref} has no branch {draft.base}, the base of {draft.branch}; push it first"
        if is_validation_error(refusal, "draft pull requests are not supported"):
            return f"{self._ref} does not support draft pull requests; publish without --draft"
        return None

    def _update(self, found: "GithubRequest", draft: PullRequestDraft) -> str:
        """Write what no person has changed since, and return the body."""
        current = {"title": found.title, "body": found.body or "", "base": _branch_of(found.base) or ""}
        title, body, base = revised(draft, **current)
        wanted = {"title": title, "body": body, "base": base}
        changes: Any = {name: value for name, value in wanted.items() if value != current[name]}
        if changes:
            found.edit(**changes)
        return body

    def _merge_method(self) -> str:
        """Return the first of merge, squash and rebase that the repository allows."""
        repository = self._repository
        methods = {
            "merge": repository.allow_merge_commit,
            "squash": repository.allow_squash_merge,
            "rebase": repository.allow_rebase_merge,
        }
        return next((method for method, allowed in methods.items() if allowed is not False), "merge")


def _with_note(request: PullRequest, note: str) -> PullRequest:
    return replace(request, notes=(*request.notes, note))


def _state_of(found: "GithubRequest") -> RequestState:
    if found.merged_at is not None:
        return RequestState.MERGED
    return RequestState.CLOSED if found.state == "closed" else RequestState.OPEN


def _branch_of(end: "PullRequestPart | None") -> str | None:
    return end.ref if end else None


def _is_from(found: "GithubRequest", name: str, branch: str) -> bool:
    """Return whether a pull request comes from a branch of the repository itself, not of a fork."""
    if _branch_of(found.head) not in {branch, None}:
        return False
    repository = found.head.repo if found.head else None
    return repository is None or repository.full_name in {name, None}
