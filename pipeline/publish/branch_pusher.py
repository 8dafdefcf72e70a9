"""Push branches to a remote, but never over commits that patchyard did not make."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from containers.git.remote.remotes import Credential, Push, PushFailure, PushResult, Remote
from containers.git.repository import GitError, Repository
from pipeline.run.results.branches import RUN_TRAILER
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex

_RUN_LINE = regex(rf"^{RUN_TRAILER} .*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch to push.

    `last_pushed` is the commit id that this clone pushed last, if known; `made` are those that runs of this
    store made for it.
    """

    name: str
    commit: str
    last_pushed: str | None = None
    made: frozenset[str] = frozenset()


class BranchPusher:
    """Pushes branches to one remote. Its methods are blocking.

    Args:
        repository: Contains the commits.
        remote: The remote, of this repository.
        credential: Credential for the remote, if it needs one.
        on_pushed: Called with the name and commit id of each branch that the remote has as wanted.
        replaced: Beginnings of commit ids that the user wants to be replaced, also of other people.
    """

    def __init__(
        self,
        repository: Repository,
        remote: Remote,
        credential: Credential | None,
        on_pushed: Callable[[str, str], None],
        replaced: Sequence[str] = (),
    ) -> None:
        self._repository = repository
        self._remote = remote
        self._credential = credential
        self._on_pushed = on_pushed
        self._replaced = tuple(replaced)
        self._tips: Mapping[str, str] = {}
        self._rejected: dict[str, str] = {}
        self._noted: dict[str, set[str]] = {}
        self._of_others: set[str] = set()

    def read_remote(self, names: Collection[str]) -> None:
        """Read the commits of these branches on the remote.

        Raises:
            GitError: The remote cannot be read.
        """
        if names:
            self._tips = self._remote.branches(sorted(names), self._credential)

    def accept(self, noted: Mapping[str, str]) -> None:
        """Let commits be overwritten that a pull request notes as pushed by patchyard, by branch."""
        for name, commit in noted.items():
            self._noted.setdefault(name, set()).add(commit)

    def leave(self, name: str) -> None:
        """Leave a branch to another plan, whose pull request it has, even if its content is the same."""
        self._of_others.add(name)

    def rejection(self, name: str) -> str | None:
        """Return why a branch could not be pushed; `None` if it is on the remote as wanted."""
        return self._rejected.get(name)

    def push(self, branches: Iterable[Branch]) -> None:
        """Push the branches, in their order; failures are available from `rejection`.

        One command pushes them all. If the remote declines some of them, these are pushed again in smaller
        groups: a hook, a limit or a damaged object rejects a whole push because of one branch in it.
        """
        self._send(self.plan(branches))

    def plan(self, branches: Iterable[Branch]) -> list[Push]:
        """Return what `push` pushes; those that must not be changed have a `rejection`."""
        wanted = {branch.name: branch for branch in branches}
        return [push for branch in wanted.values() if (push := self._plan_push(branch))]

    def _send(self, pushes: Sequence[Push]) -> bool:
        """Push branches, and return whether the remote can be used."""
        if not pushes:
            return True
        try:
            results = self._remote.push(pushes, self._credential)
        except GitError as error:
            results = tuple(PushResult(push.branch, str(error), PushFailure.REMOTE) for push in pushes)
        again = []
        for push, result in zip(pushes, results, strict=True):
            if result.error is None:
                self._on_pushed(push.branch, push.commit)
                self._rejected.pop(push.branch, None)
                continue
            self._rejected[push.branch] = result.error
            if result.failure is PushFailure.PUSH and len(pushes) > 1:
                again.append(push)
        half = (len(again) + 1) // 2
        usable = all(result.failure is not PushFailure.REMOTE for result in results)
        return usable and self._send(again[:half]) and self._send(again[half:])

    def _plan_push(self, branch: Branch) -> Push | None:
        """Return the push for a branch; `None` if it is up to date or must not be changed."""
        tip = self._tips.get(branch.name)
        if tip == branch.commit:
            if branch.last_pushed != tip:
                self._on_pushed(branch.name, branch.commit)
            return None
        if tip is not None and not self._is_own(branch, tip):
            self._rejected[branch.name] = self._not_own(branch, tip)
            return None
        return Push(branch.name, branch.commit, tip)

    def _is_own(self, branch: Branch, tip: str) -> bool:
        """Whether patchyard made a commit of a branch on the remote: known by its id, never by its message."""
        known = tip == branch.last_pushed or tip in branch.made or tip in self._noted.get(branch.name, ())
        return known or tip.startswith(self._replaced) or self._is_same(branch, tip)

    def _is_same(self, branch: Branch, tip: str) -> bool:
        """Whether a commit has the content and the message of the one to push, so that nobody's work is lost.

        An earlier version of patchyard left no note, and another run makes the same commit with other dates.
        """
        if branch.name in self._of_others:
            return False
        try:
            self._remote.fetch(tip, self._credential)
            if self._repository.tree(tip) != self._repository.tree(branch.commit):
                return False
            theirs, ours = (self._repository.message(commit) for commit in (tip, branch.commit))
        except GitError:
            return False
        return RUN_TRAILER in theirs and _RUN_LINE.sub("", theirs) == _RUN_LINE.sub("", ours)

    def _not_own(self, branch: Branch, tip: str) -> str:
        name = f"branch {branch.name} on {self._remote.name}"
        if branch.last_pushed or branch.name in self._noted:
            what = f"{name} has commits that patchyard did not make"
        else:
            what = f"{name} has commits that neither this clone nor a pull request knows as patchyard's"
        return (
            f"{what}, so it was not changed ({tip[:10]}); look at it, and replace it with `patchyard publish "
            f"RUN --replace {tip[:10]}`, merge or delete it there, or choose other branch names with --branch"
        )
