"""A forge that is not asked, to see without a token what would be published."""

from collections.abc import Mapping
from dataclasses import field
from typing import NoReturn

from containers.git.remote.remotes import Credential
from pipeline.forge.base import (
    FileLimits,
    ForgeError,
    FoundPullRequest,
    PullRequestDraft,
    RequestState,
)
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import PullRequest

STATES = {"merged": RequestState.MERGED, "closed": RequestState.CLOSED}


@dataclass(frozen=True, slots=True)
class UnaskedForge:
    """A `Forge` that knows the pull requests of the store, by branch, and cannot open any."""

    file_limits: FileLimits
    known: Mapping[str, PullRequest] = field(default_factory=dict)

    def credential(self, remote_url: str | None) -> Credential | None:  # noqa: ARG002 - the protocol's
        """Return `None`: git uses the credentials that it has itself."""
        return None

    def check_access(self) -> None:
        """Do nothing: it is not known."""

    def default_branch(self) -> NoReturn:
        """Raise: only the remote can be asked.

        Raises:
            ForgeError: Always.
        """
        raise ForgeError("the default branch is not known without asking GitHub")

    def create_or_update(self, draft: PullRequestDraft) -> NoReturn:
        """Raise.

        Raises:
            ForgeError: Always.
        """
        raise ForgeError(f"no pull request can be opened for {draft.branch}: GitHub is not asked")

    def find(self, branch: str) -> FoundPullRequest | None:
        """Return the pull request of a branch as it was last."""
        request = self.known.get(branch)
        if request is None:
            return None
        return FoundPullRequest(request, STATES.get(request.action, RequestState.OPEN), commit="", body="")

    def enable_auto_merge(self, request: PullRequest, commit: str) -> NoReturn:
        """Raise.

        Raises:
            ForgeError: Always.
        """
        raise ForgeError(f"#{request.number} cannot be merged at {commit[:10]}: GitHub is not asked")

    def close(self) -> None:
        """Do nothing: there is no connection."""
