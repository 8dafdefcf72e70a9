"""What is published, in which order, so that doing it once more does no harm.

Blocks: callers on the event loop go through a thread.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter

from containers.git.repository import Credential, GitError, Push, Repository
from pipeline.forge.base import Forge, ForgeError, MergedPullRequest, PullRequestDraft, UnreachableError
from pipeline.publish.pull_request import body, title, with_links
from pipeline.run.branches import RUN_TRAILER
from tasks.model import PullRequest

__all__ = (
    "Branch",
    "Failure",
    "Publication",
    "PublishedDependency",
    "body",
    "publish",
    "target_branch",
    "title",
)


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch to push. `last_pushed` is the commit that was pushed from here last, where that is known."""

    name: str
    commit: str
    last_pushed: str | None = None


@dataclass(frozen=True, slots=True)
class PublishedDependency:
    """A task that a publication builds on: its branch and, where it is known, its pull request."""

    task: str
    branch: str
    request: PullRequest | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """A task's change, ready to be published: no secret is in it.

    `base` is the branch that holds what the task started from, such as `patchyard/plan/batch-1`; `None` is
    the branch that everything goes to in the end. `builds_on` are the tasks whose changes are in `base`: when
    all of them are merged, the base is not needed any more. `reviewers` are user names, or
    `organization/team`.
    """

    task: str
    branch: Branch
    title: str
    body: str
    base: Branch | None = None
    builds_on: tuple[PublishedDependency, ...] = ()
    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    draft: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """A task that could not be published, its branch, and one sentence that says why."""

    task: str
    branch: str
    reason: str

    def __str__(self) -> str:
        """The sentence that people read."""
        return f"task {self.task} ({self.branch}) was not published: {self.reason}"


def target_branch(
    repository: Repository, remote: str, base_name: str | None, credential: Credential | None, forge: Forge
) -> str:
    """Return the branch that everything goes to in the end.

    That is the one of the base's name where the remote has it, else the default branch.

    Raises:
        GitError: The remote cannot be read.
        ForgeError: GitHub does not say which branch is its default.
    """
    if base_name and base_name in repository.remote(remote).branches([base_name], credential):
        return base_name
    try:
        return forge.default_branch()
    except UnreachableError:
        raise
    except ForgeError:
        if branch := repository.remote(remote).default_branch(credential):
            return branch
        raise


def publish(  # noqa: PLR0913 - what one call is made of, all of it named
    repository: Repository,
    forge: Forge,
    publications: Sequence[Publication],
    *,
    remote: str,
    target: str,
    auto_merge: bool = False,
    credential: Credential | None = None,
    on_pushed: Callable[[str, str], None] = lambda _branch, _commit: None,
    on_request: Callable[[PullRequest], None] = lambda _request: None,
) -> tuple[Failure, ...]:
    """Push the branches and let there be a pull request for each task.

    What is there already is found and updated, what was merged is left alone, and what fails leaves the rest
    as it would be without it.

    Args:
        repository: Has the commits.
        forge: Has the pull requests.
        publications: What to publish, in the plan's order.
        remote: The remote's name, such as `origin`.
        target: The branch that everything goes to in the end; see `target_branch`.
        auto_merge: Whether pull requests against `target` are merged as soon as nothing required is missing.
        credential: For the remote, where it needs one from us.
        on_pushed: Is told of each branch that now stands at a commit on the remote.
        on_request: Is told of each task's pull request, when all that was to be done with it is done.

    Returns:
        What could not be published, in the order of `publications`.
    """
    publishing = _Publishing(
        repository, forge, tuple(publications), remote, target, credential, on_pushed, on_request, auto_merge
    )
    try:
        publishing.look()
        publishing.push()
        publishing.open_requests()
    finally:
        forge.close()
    return publishing.failures


@dataclass(slots=True)
class _Publishing:
    """One call of `publish` under way."""

    repository: Repository
    forge: Forge
    publications: tuple[Publication, ...]
    remote: str
    target: str
    credential: Credential | None
    on_pushed: Callable[[str, str], None]
    on_request: Callable[[PullRequest], None]
    auto_merge: bool
    tips: Mapping[str, str] = field(default_factory=dict)  # what the remote has now
    refused: dict[str, str] = field(default_factory=dict)  # branches that are not as they should be there: why
    requests: dict[str, PullRequest] = field(default_factory=dict)  # task -> its pull request
    seen: dict[str, MergedPullRequest | None] = field(default_factory=dict)  # branch -> what `merged` said
    failed: dict[str, str] = field(default_factory=dict)  # task -> why
    blocked: str | None = None  # why nothing else will get through

    @property
    def failures(self) -> tuple[Failure, ...]:
        every = self.publications
        return tuple(
            Failure(one.task, one.branch.name, self.failed[one.task])
            for one in every
            if one.task in self.failed
        )

    def look(self) -> None:
        """See what the remote has, and which tasks were merged already."""
        names = {branch.name for one in self.publications for branch in (one.base, one.branch) if branch}
        try:
            self.tips = (
                self.repository.remote(self.remote).branches(sorted(names), self.credential) if names else {}
            )
        except GitError as error:
            self.blocked = str(error)
        for one in self.publications:
            with self._guard(one):
                self._note_merged(one)

    def push(self) -> None:
        """Push every branch that is needed and not there yet, in one go; what others build on comes first."""
        needed: dict[str, Branch] = {}
        for one in self._open():
            with self._guard(one):
                if one.base and not self.blocked and not self._is_superfluous(one):
                    needed.setdefault(one.base.name, one.base)
        for one in self._open():
            needed.setdefault(one.branch.name, one.branch)
        if self.blocked:
            return
        pushes = [push for branch in needed.values() if (push := self._planned(branch))]
        if not pushes:
            return
        try:
            results = self.repository.remote(self.remote).push(pushes, self.credential)
        except GitError as error:
            self.refused |= dict.fromkeys((push.branch for push in pushes), str(error))
            return
        for result in results:
            if result.error is None:
                self.on_pushed(result.branch, needed[result.branch].commit)
            else:
                self.refused[result.branch] = result.error

    def open_requests(self) -> None:
        """Open or update the pull requests; those that others build on come first."""
        order = TopologicalSorter(
            {one.task: [below.task for below in one.builds_on] for one in self.publications}
        )
        by_task = {one.task: one for one in self.publications}
        waiting = {one.task for one in self._open()}
        for task in order.static_order():
            if task in waiting:
                self._open_request(by_task[task])

    @contextmanager
    def _guard(self, one: Publication) -> Iterator[None]:
        """Let a failure be that of one task, unless nothing else would get through either."""
        try:
            yield
        except UnreachableError as error:
            self.blocked = str(error)
            self.failed[one.task] = str(error)
        except ForgeError as error:
            self.failed[one.task] = str(error)

    def _open(self) -> list[Publication]:
        """Return what is neither done nor given up."""
        return [
            one for one in self.publications if one.task not in self.requests and one.task not in self.failed
        ]

    def _planned(self, branch: Branch) -> Push | None:
        """Return the push that a branch needs; `None` where it needs none, or must not be touched."""
        tip = self.tips.get(branch.name)
        if tip == branch.commit:
            if branch.last_pushed != tip:
                self.on_pushed(branch.name, branch.commit)
            return None
        if tip is not None and tip != branch.last_pushed and not self._is_own(branch, tip):
            return None
        return Push(branch.name, branch.commit, tip)

    def _is_own(self, branch: Branch, tip: str) -> bool:
        """Say whether a tip that was not pushed from here is this program's all the same; else note why."""
        reason = f"branch {branch.name} on {self.remote} has commits that patchyard did not make"
        if branch.last_pushed is None:
            try:
                self.repository.remote(self.remote).fetch(tip, self.credential)
                if _has_trailer(self.repository.message(tip)):
                    return True
            except GitError as error:
                reason = f"branch {branch.name} on {self.remote} could not be looked at ({error})"
        self.refused[branch.name] = (
            f"{reason}, so it was left as it is ({tip[:10]}); merge or delete it there, or name others with "
            "--branch"
        )
        return False

    def _merged(self, branch: str) -> MergedPullRequest | None:
        if branch not in self.seen:
            self.seen[branch] = self.forge.find_merged(branch)
        return self.seen[branch]

    def _note_merged(self, one: Publication) -> None:
        """Find out whether this very change was merged already; then there is nothing left to do for it."""
        if self.blocked or (one.branch.name not in self.tips and one.branch.last_pushed is None):
            return
        merged = self._merged(one.branch.name)
        if merged and one.branch.commit in {merged.commit, one.branch.last_pushed}:
            self._keep(replace(merged.request, task=one.task))

    def _is_superfluous(self, one: Publication) -> bool:
        """Say whether all that a task builds on is merged, so that its base is not needed any more."""
        return bool(one.builds_on) and all(self._is_merged(below) for below in one.builds_on)

    def _is_merged(self, below: PublishedDependency) -> bool:
        if request := self.requests.get(below.task):
            return request.action == "merged"
        if any(one.task == below.task for one in self.publications):
            return False  # it would be among the requests
        return self._merged(below.branch) is not None

    def _open_request(self, one: Publication) -> None:
        if self.blocked:
            self.failed[one.task] = self.blocked
            return
        with self._guard(one):
            base = self.target
            if one.base and not self._is_superfluous(one):
                base = one.base.name
            if reason := self.refused.get(one.branch.name):
                raise ForgeError(reason)
            if base != self.target and (reason := self.refused.get(base)):
                raise ForgeError(f"the branch {base}, which it builds on, is not there: {reason}")
            request = self.forge.create_or_update(self._draft(one, base))
            try:
                if self.auto_merge:
                    request = self._merge(one, request)
            finally:
                self._keep(request)

    def _merge(self, one: Publication, request: PullRequest) -> PullRequest:
        if request.base == self.target:
            return self.forge.enable_auto_merge(request, one.branch.commit)
        note = f"`patchyard publish` turns auto-merge on when what it builds on ({request.base}) is merged"
        return replace(request, notes=(*request.notes, note))

    def _draft(self, one: Publication, base: str) -> PullRequestDraft:
        known = ((below.task, self.requests.get(below.task) or below.request) for below in one.builds_on)
        links = {task: request for task, request in known if request}
        return PullRequestDraft(
            task=one.task,
            branch=one.branch.name,
            base=base,
            title=one.title,
            body=with_links(one.body, links),
            labels=one.labels,
            reviewers=one.reviewers,
            draft=one.draft,
        )

    def _keep(self, request: PullRequest) -> None:
        self.requests[request.task] = request
        self.on_request(request)


def _has_trailer(message: str) -> bool:
    return any(line.startswith(RUN_TRAILER) for line in message.splitlines())
