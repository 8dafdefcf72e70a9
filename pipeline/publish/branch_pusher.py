"""Push branches to a remote, but never over commits that patchyard did not make."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from containers.git.repository import Credential, GitError, Push, Repository
from pipeline.run.branches import RUN_TRAILER


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch to push. `last_pushed` is the commit id that this clone pushed last, if known."""

    name: str
    commit: str
    last_pushed: str | None = None


class BranchPusher:
    """Pushes branches to one remote. Its methods are blocking.

    Args:
        repository: Contains the commits.
        remote: Name of the remote, such as `origin`.
        credential: Credential for the remote, if it needs one.
        on_pushed: Called with the name and commit id of each branch that the remote has as wanted.
    """

    def __init__(
        self,
        repository: Repository,
        remote: str,
        credential: Credential | None,
        on_pushed: Callable[[str, str], None],
    ) -> None:
        self._repository = repository
        self._remote = repository.remote(remote)
        self._credential = credential
        self._on_pushed = on_pushed
        self._tips: Mapping[str, str] = {}
        self._rejected: dict[str, str] = {}

    def read_remote(self, names: Collection[str]) -> None:
        """Read the commits of these branches on the remote.

        Raises:
            GitError: The remote cannot be read.
        """
        if names:
            self._tips = self._remote.branches(sorted(names), self._credential)

    def is_on_remote(self, branch: Branch) -> bool:
        """Return whether the remote has the branch, or had it when it was pushed last."""
        return branch.name in self._tips or branch.last_pushed is not None

    def rejection(self, name: str) -> str | None:
        """Return why a branch could not be pushed; `None` if it is on the remote as wanted."""
        return self._rejected.get(name)

    def push(self, branches: Iterable[Branch]) -> None:
        """Push the branches in one command; failures are available from `rejection`."""
        wanted = {branch.name: branch for branch in branches}
        pushes = [push for branch in wanted.values() if (push := self._plan_push(branch))]
        if not pushes:
            return
        try:
            results = self._remote.push(pushes, self._credential)
        except GitError as error:
            self._rejected |= dict.fromkeys((push.branch for push in pushes), str(error))
            return
        for result in results:
            if result.error is None:
                self._on_pushed(result.branch, wanted[result.branch].commit)
            else:
                self._rejected[result.branch] = result.error

    def _plan_push(self, branch: Branch) -> Push | None:
        """Return the push for a branch; `None` if it is up to date or must not be changed."""
        tip = self._tips.get(branch.name)
        if tip == branch.commit:
            if branch.last_pushed != tip:
                self._on_pushed(branch.name, branch.commit)
            return None
        if tip is not None and tip != branch.last_pushed and not self._may_overwrite(branch, tip):
            return None
        return Push(branch.name, branch.commit, tip)

    def _may_overwrite(self, branch: Branch, tip: str) -> bool:
        """Return whether patchyard made a tip that this clone did not push; otherwise reject the branch.

        A branch that this clone has pushed before, and that has another tip now, was changed by a person.
        Without a record of a push, the trailer of the tip's message decides.
        """
        reason = f"branch {branch.name} on {self._remote.name} has commits that patchyard did not make"
        if branch.last_pushed is None:
            try:
                self._remote.fetch(tip, self._credential)
                message = self._repository.message(tip)
            except GitError as error:
                reason = f"branch {branch.name} on {self._remote.name} could not be read ({error})"
            else:
                if any(line.startswith(RUN_TRAILER) for line in message.splitlines()):
                    return True
        self._rejected[branch.name] = (
            f"{reason}, so it was not changed ({tip[:10]}); merge or delete it there, or choose other branch "
            "names with --branch"
        )
        return False
