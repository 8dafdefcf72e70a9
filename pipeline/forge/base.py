"""What every forge offers: the `Forge` protocol, its values and its errors."""

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import ClassVar, Protocol

from containers.git.remote.remotes import Credential
from tasks.errors import PatchyardError
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import PullRequest


class ForgeError(PatchyardError):
    """The forge refused a request; the message names the repository and says what to do."""

    exit_code: ClassVar[int] = 3


class UnreachableError(ForgeError):
    """No further request will succeed now: no connection, a rejected token, or an exhausted rate limit."""


@dataclass(frozen=True, slots=True)
class PullRequestDraft:
    """A pull request to create. `branch` and `base` are branches of the forge's repository.

    `pushed` has the commit ids that were pushed, by branch, and `plan` is the plan's title, for the note in the
    body.
    """

    task: str
    branch: str
    base: str
    title: str
    body: str
    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()  # user names, and teams as `organization/team`
    draft: bool = False
    pushed: Mapping[str, str] = field(default_factory=dict)
    plan: str = ""


class RequestState(StrEnum):
    """State of a pull request; `closed` without a merge."""

    OPEN = "open"
    CLOSED = "closed"
    MERGED = "merged"


@dataclass(frozen=True, slots=True)
class FoundPullRequest:
    """A pull request as it is on the forge; `commit` is that of its branch, as it was when it was closed."""

    request: PullRequest
    state: RequestState
    commit: str
    body: str


@dataclass(frozen=True, slots=True)
class FileLimits:
    """How large the files of a push may be, in bytes: the forge declines one with more than `most`.

    More than `advised` is accepted with a warning. `is_fixed` is whether nobody can set another limit.
    """

    name: str
    most: int
    advised: int
    is_fixed: bool


class Forge(Protocol):
    """A repository that takes pull requests. Every method is blocking and may raise `ForgeError`."""

    @property
    def file_limits(self) -> FileLimits:
        """How large the files of a push may be."""
        ...

    def credential(self, remote_url: str | None) -> Credential | None:
        """Return the credential for a push to a URL; `None` if the URL needs none or is on another host."""
        ...

    def check_access(self) -> None:
        """Check that pull requests can be opened: the token, the repository, the permission."""

    def default_branch(self) -> str:
        """Return the name of the repository's default branch."""
        ...

    def create_or_update(self, draft: PullRequestDraft) -> PullRequest:
        """Create the branch's pull request, or update the open one; what a person changed there stays."""
        ...

    def find(self, branch: str) -> FoundPullRequest | None:
        """Return the newest pull request of a branch; an open one rather than a closed one."""
        ...

    def enable_auto_merge(self, request: PullRequest, commit: str) -> PullRequest:
        """Merge a pull request as soon as its requirements are met, and return its new state.

        If it was merged at once, its `action` is `merged`; otherwise a note says what was done, or why not.

        Args:
            request: The open pull request.
            commit: The commit id that its branch must have.
        """
        ...

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
