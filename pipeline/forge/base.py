"""What every forge offers: the `Forge` protocol, its values and its errors."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

from containers.git.repository import Credential
from tasks.errors import PatchyardError
from tasks.model import PullRequest


class ForgeError(PatchyardError):
    """The forge refused a request; the message names the repository and says what to do."""

    exit_code: ClassVar[int] = 3


class UnreachableError(ForgeError):
    """No further request will succeed now: no connection, a rejected token, or an exhausted rate limit."""


@dataclass(frozen=True, slots=True)
class PullRequestDraft:
    """A pull request to create. `branch` and `base` are branches of the forge's repository."""

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
    """A merged pull request, and the commit id of its branch at that time."""

    request: PullRequest
    commit: str


class Forge(Protocol):
    """A repository that takes pull requests. Every method is blocking and may raise `ForgeError`."""

    def credential(self, remote_url: str | None) -> Credential | None:
        """Return the credential for a push to a URL; `None` if the URL needs none or is on another host."""
        ...

    def check_access(self) -> None:
        """Check that pull requests can be opened: the token, the repository, the permission."""

    def default_branch(self) -> str:
        """Return the name of the repository's default branch."""
        ...

    def create_or_update(self, draft: PullRequestDraft) -> PullRequest:
        """Create the branch's pull request, or update the open one."""
        ...

    def find_merged(self, branch: str) -> MergedPullRequest | None:
        """Return the newest pull request of a branch if it is merged, else `None`."""
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
