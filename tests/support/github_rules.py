"""GitHub's state of a repository, and its rules, on top of a real bare repository."""

import os
import re
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

LONGEST_TITLE, LONGEST_BODY = 256, 65_536
_WHO = {"NAME": "GitHub", "EMAIL": "noreply@github.test"}
DOCS = "https://docs.github.com/rest"


def git_environment() -> dict[str, str]:
    """Return the environment of the server's git: no user configuration, and an identity of its own."""
    who = {f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in _WHO.items()}
    return {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, **who}


class RefusalError(Exception):
    """An error response, in GitHub's words."""

    def __init__(self, status: int, message: str, *errors: dict[str, str], **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.body: dict[str, Any] = {"message": message, "documentation_url": DOCS, "status": str(status)}
        if errors:
            self.body["errors"] = list(errors)


class GraphqlError(Exception):
    """An error of a GraphQL mutation; the HTTP status is still 200."""


def invalid(*errors: dict[str, str]) -> RefusalError:
    """Return the response to an invalid value."""
    return RefusalError(422, "Validation Failed", *({"resource": "PullRequest", **error} for error in errors))


def not_found() -> RefusalError:
    """Return the response for a resource that does not exist or is not visible to the token."""
    return RefusalError(404, "Not Found")


@dataclass
class Hub:
    """The web and API addresses of a server, and its clock."""

    web: str
    api: str

    def moment(self) -> str:
        """Return the current time in GitHub's format."""
        return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


@dataclass
class Pull:
    """A pull request."""

    number: int
    title: str
    body: str | None
    head: str
    base: str
    author: str
    draft: bool
    created_at: str
    head_commit: str
    state: str = "open"
    closed_at: str | None = None
    merged_at: str | None = None
    merge_commit: str | None = None
    auto_merge: str | None = None
    labels: list[str] = field(default_factory=list)
    reviewers: list[str] = field(default_factory=list)
    teams: list[str] = field(default_factory=list)
    reviews: list[str] = field(default_factory=list)
    asked_for: int = 0  # number of requests for its state


@dataclass
class Repo:
    """A bare repository on disk, with GitHub's state of it.

    `required` means that branch protection has an unmet requirement. `settles_after` is the number of requests
    for which the state of a pull request is still unknown. `busy_bases` is the number of merges that fail
    because the base has just been modified.
    """

    id: int
    owner: str
    name: str
    path: Path
    hub: Hub
    writers: set[str]
    pulls: list[Pull] = field(default_factory=list)
    merge_methods: set[str] = field(default_factory=lambda: {"merge", "squash", "rebase"})
    allow_auto_merge: bool = True
    required: bool = False
    takes_drafts: bool = True
    reports_permissions: bool = True
    archived: bool = False
    settles_after: int = 0
    busy_bases: int = 0

    @property
    def full_name(self) -> str:
        """`owner/name`."""
        return f"{self.owner}/{self.name}"

    @property
    def default_branch(self) -> str:
        """The branch that HEAD of the bare repository names."""
        return self.git("symbolic-ref", "--short", "HEAD")

    def node_id(self, pull: Pull) -> str:
        """Return the pull request's id for GraphQL."""
        return f"PR_{self.id}_{pull.number}"

    def git(self, *arguments: str) -> str:
        """Run git in the bare repository."""
        command = ["git", "--git-dir", str(self.path), *arguments]
        done = subprocess.run(command, env=git_environment(), capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def tip(self, branch: str) -> str | None:
        """Return the commit id of a branch, or `None` if it does not exist."""
        try:
            return self.git("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}")
        except subprocess.CalledProcessError:
            return None

    def write(
        self, branch: str, files: dict[str, str], message: str = "change", onto: str | None = None
    ) -> str:
        """Commit files to a branch, and return the commit id. A new branch starts from the branch `onto`."""
        start = self.tip(branch) or (onto and self.tip(onto))
        lines = [f"commit refs/heads/{branch}", "committer Somebody <somebody@example.test> 1700000000 +0000"]
        lines += [f"data {len(message.encode())}", message, *([f"from {start}"] if start else [])]
        for name, content in files.items():
            lines += [f"M 100644 inline {name}", f"data {len(content.encode())}", content]
        command = ["git", "--git-dir", str(self.path), "fast-import", "--quiet", "--force"]
        stream = "\n".join([*lines, ""]).encode()
        subprocess.run(command, env=git_environment(), input=stream, check=True)
        return self.tip(branch) or ""

    def contains(self, branch: str, commit: str) -> bool:
        """Return whether a commit is in the history of a branch."""
        return self.git("rev-list", "--count", commit, f"^refs/heads/{branch}") == "0"

    def head_of(self, pull: Pull) -> str:
        """Return the head commit of a pull request; of a closed one, as it was then."""
        return pull.head_commit

    def pull(self, number: int) -> Pull:
        """Return the pull request with a number."""
        for pull in self.pulls:
            if pull.number == number:
                return pull
        raise not_found()

    def refresh(self) -> None:
        """Update pull requests after a push: move heads, close merged ones and those without a branch."""
        for pull in self.pulls:
            if pull.state == "open":
                head = self.tip(pull.head)
                if head is None or self.tip(pull.base) is None:
                    pull.state, pull.closed_at = "closed", self.hub.moment()
                else:
                    pull.head_commit = head
                    if self.contains(pull.base, head):
                        self._close_merged(pull, head)

    def mergeable_state(self, pull: Pull) -> str:
        """Return the mergeable state of a pull request; counts the calls."""
        pull.asked_for += 1
        if pull.state == "closed" or pull.asked_for <= self.settles_after:
            return "unknown"
        if pull.draft:
            return "draft"
        if self._merged_tree(pull) is None:
            return "dirty"
        return "blocked" if self.required else "clean"

    def create(self, login: str, wanted: dict[str, Any]) -> Pull:
        """Open a pull request."""
        self._check_writer(login)
        for name in ("head", "base", "title"):
            if not wanted.get(name):
                raise invalid({"field": name, "code": "missing_field"})
        owner, _, head = str(wanted["head"]).rpartition(":")
        base = str(wanted["base"])
        commit = self.tip(head) if owner in {"", self.owner} else None
        if commit is None:
            raise invalid({"field": "head", "code": "invalid"})
        self._check_base(head, base, commit)
        if wanted.get("draft") and not self.takes_drafts:
            raise RefusalError(422, "Draft pull requests are not supported in this repository.")
        _check_text(wanted)
        pull = Pull(
            number=len(self.pulls) + 1,
            title=wanted["title"],
            body=wanted.get("body"),
            head=head,
            base=base,
            author=login,
            draft=bool(wanted.get("draft")),
            created_at=self.hub.moment(),
            head_commit=commit,
        )
        self.pulls.append(pull)
        return pull

    def edit(self, login: str, pull: Pull, wanted: dict[str, Any]) -> None:
        """Change a pull request."""
        self._check_writer(login)
        _check_text(wanted)
        if wanted.get("base", pull.base) != pull.base:
            self._check_base(pull.head, wanted["base"], pull.head_commit)
        for name in ("title", "body", "base", "state"):
            if name in wanted:
                setattr(pull, name, wanted[name])
        if pull.state == "closed":
            pull.closed_at = pull.closed_at or self.hub.moment()

    def label(self, login: str, pull: Pull, names: list[str]) -> None:
        """Add labels; those that do not exist are created."""
        self._check_writer(login)
        pull.labels += [name for name in names if name not in pull.labels]

    def ask(self, login: str, pull: Pull, wanted: dict[str, Any]) -> None:
        """Request reviews, from all of the named users and teams or from none."""
        self._check_writer(login)
        users, teams = wanted.get("reviewers", []), wanted.get("team_reviewers", [])
        if pull.author in users:
            raise RefusalError(422, "Review cannot be requested from pull request author.")
        if not set(users) <= self.writers or not set(teams) <= {"reviewers"}:
            raise RefusalError(
                422,
                "Reviews may only be requested from collaborators. One or more of the users or teams you "
                f"specified is not a collaborator of the {self.full_name} repository.",
            )
        pull.reviewers += [user for user in users if user not in pull.reviewers]
        pull.teams += [team for team in teams if team not in pull.teams]

    def enable_auto_merge(self, login: str, pull: Pull, wanted: dict[str, Any]) -> None:
        """Enable auto-merge."""
        if login not in self.writers:
            raise GraphqlError("Resource not accessible by personal access token")
        if not self.allow_auto_merge:
            raise GraphqlError("Pull request Auto merge is not allowed for this repository")
        if wanted.get("expectedHeadOid", pull.head_commit) != pull.head_commit:
            raise GraphqlError("Pull request Head branch was modified. Review and try the merge again.")
        state = self.mergeable_state(pull)
        if state != "blocked":
            raise GraphqlError(f"Pull request Pull request is in {state} status")
        pull.auto_merge = str(wanted.get("mergeMethod", "MERGE")).lower()

    def merge(self, login: str, pull: Pull, wanted: dict[str, Any]) -> str:
        """Merge a pull request, and return the commit."""
        self._check_writer(login)
        method = wanted.get("merge_method", "merge")
        if wanted.get("sha", pull.head_commit) != pull.head_commit:
            raise RefusalError(409, "Head branch was modified. Review and try the merge again.")
        if self.busy_bases > 0:
            self.busy_bases -= 1
            raise RefusalError(405, "Base branch was modified. Review and try the merge again.")
        if method not in self.merge_methods:
            raise RefusalError(405, f"{method.capitalize()} commits are not allowed on this repository.")
        if pull.state == "closed" or pull.draft or self._merged_tree(pull) is None:
            raise RefusalError(405, "Pull Request is not mergeable")
        if self.required:
            raise RefusalError(405, 'Required status check "ci" is expected.')
        return self._merge(pull, method)

    def complete_checks(self) -> None:
        """Fulfil the requirement of the branch protection, and merge the pull requests with auto-merge."""
        self.required = False
        for pull in self.pulls:
            if pull.state == "open" and pull.auto_merge:
                self._merge(pull, pull.auto_merge)

    def _merge(self, pull: Pull, method: str) -> str:
        base = self.tip(pull.base)
        tree = self._merged_tree(pull)
        assert base
        assert tree
        parents = [base, pull.head_commit] if method == "merge" else [base]
        options = [part for parent in parents for part in ("-p", parent)]
        commit = self.git("commit-tree", tree, *options, "-m", f"{pull.title} (#{pull.number})")
        self.git("update-ref", f"refs/heads/{pull.base}", commit, base)
        self._close_merged(pull, commit)
        return commit

    def _merged_tree(self, pull: Pull) -> str | None:
        try:
            return self.git("merge-tree", "--write-tree", f"refs/heads/{pull.base}", pull.head_commit).split()[
                0
            ]
        except subprocess.CalledProcessError:
            return None

    def _close_merged(self, pull: Pull, commit: str) -> None:
        pull.state, pull.merge_commit = "closed", commit
        pull.closed_at = pull.merged_at = self.hub.moment()

    def _check_writer(self, login: str) -> None:
        if login not in self.writers:
            raise RefusalError(403, "Resource not accessible by personal access token")

    def _check_base(self, head: str, base: str, commit: str) -> None:
        if self.tip(base) is None:
            raise invalid({"field": "base", "code": "invalid"})
        if any(one.state == "open" and (one.head, one.base) == (head, base) for one in self.pulls):
            raise invalid(
                {"code": "custom", "message": f"A pull request already exists for {self.owner}:{head}."}
            )
        if self.contains(base, commit):
            raise invalid({"code": "custom", "message": f"No commits between {base} and {head}"})


def _check_text(wanted: dict[str, Any]) -> None:
    for name, longest in (("title", LONGEST_TITLE), ("body", LONGEST_BODY)):
        if len(wanted.get(name) or "") > longest:
            message = f"{name} is too long (maximum is {longest} characters)"
            raise invalid({"field": name, "code": "custom", "message": message})
        if re.search(r"[\x00\ud800-\udfff]", wanted.get(name) or ""):
            raise RefusalError(400, "Problems parsing JSON")
