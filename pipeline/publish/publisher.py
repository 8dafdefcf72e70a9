"""Publish tasks: push their branches, then create or update and merge their pull requests.

Every step can be repeated: a second publication finds what the first has done. All functions are blocking.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

from containers.git.remote.remotes import Credential, Push, Remote
from containers.git.repository import GitError
from pipeline.forge.base import Forge, ForgeError, PullRequestDraft, RequestState, UnreachableError
from pipeline.forge.note import read_note
from pipeline.publish.branch_pusher import Branch, BranchPusher
from pipeline.publish.file_limits import warning
from pipeline.publish.parts import in_order
from pipeline.publish.publication import (
    Destination,
    Failure,
    PlannedRequest,
    Publication,
    PublishedDependency,
)
from pipeline.publish.pull_request import ConflictLine, with_conflicts, with_links
from pipeline.publish.refusals import check_submodules, files_of, large_files, refused_files
from tasks.lazy.dataclasses import dataclass
from tasks.lineage import Lineage
from tasks.outcome import PullRequest

CLOSED = (
    "it was closed without a merge and stays closed, and its branch was not pushed; reopen it to publish the "
    "task, or choose other branch names with --branch"
)
"""Note of a pull request that a person closed."""


def target_branch(remote: Remote, base_name: str | None, credential: Credential | None, forge: Forge) -> str:
    """Return the branch that all changes are merged into in the end. Blocking.

    That is the branch named like the base if the remote has it, else the default branch.

    Raises:
        GitError: The remote cannot be read.
        ForgeError: The default branch is unknown.
    """
    if base_name and base_name in remote.branches([base_name], credential):
        return base_name
    try:
        return forge.default_branch()
    except UnreachableError:
        raise
    except ForgeError:
        if branch := remote.default_branch(credential):
            return branch
        raise


def publish(
    destination: Destination,
    publications: Sequence[Publication],
    *,
    on_pushed: Callable[[str, str], None] = lambda _branch, _commit: None,
    on_request: Callable[[PullRequest], None] = lambda _request: None,
    replaced: Sequence[str] = (),
) -> tuple[Failure, ...]:
    """Push the branches, and create or update one pull request per publication. Blocking.

    Merged tasks, and those whose pull request a person closed, are skipped. The failure of a task affects only
    the tasks that build on its branch, unless the remote or the forge cannot be reached.

    Args:
        destination: Where to publish; its forge is closed at the end.
        publications: What to publish, in the plan's order.
        on_pushed: Called with the name and commit id of each branch that is now on the remote.
        on_request: Called with each task's pull request when it is complete.
        replaced: Beginnings of commit ids that the user wants to be replaced, also of other people.

    Returns:
        The tasks that could not be published, in the order of `publications`.
    """
    connection, credential = destination.connection, destination.credential
    pusher = BranchPusher(destination.repository, connection, credential, on_pushed, replaced)
    publisher = _Publisher(destination, publications, pusher, on_request)
    try:
        publisher.find_requests()
        publisher.check_files()
        publisher.push_branches()
        publisher.open_requests()
    finally:
        destination.forge.close()
    return publisher.failures


@dataclass(frozen=True, slots=True)
class Planned:
    """What `publish` would do: the pull requests, the branches, and why the remote cannot be read, if so."""

    requests: tuple[PlannedRequest, ...]
    pushes: tuple[Push, ...]
    blocked: str | None = None


def plan(
    destination: Destination,
    publications: Sequence[Publication],
    *,
    known: Mapping[str, PullRequest],
    replaced: Sequence[str] = (),
) -> Planned:
    """Return what `publish` would do now. Blocking; the remote and the forge are only read.

    Args:
        destination: As for `publish`.
        publications: As for `publish`.
        known: The pull requests that are known here, by branch, in case that the forge cannot be asked.
        replaced: As for `publish`.
    """
    connection, credential = destination.connection, destination.credential
    pusher = BranchPusher(destination.repository, connection, credential, lambda *_: None, replaced)
    publisher = _Publisher(destination, publications, pusher, lambda _: None)
    try:
        publisher.find_requests()
        publisher.check_files()
        pushes = publisher.plan_pushes()
        requests = tuple(publisher.planned(publication, known) for publication in publications)
    finally:
        destination.forge.close()
    return Planned(requests, tuple(pushes), publisher.blocked)


class _Publisher:
    """The state of one call of `publish`: each task is open until it has a pull request or a failure."""

    def __init__(
        self,
        destination: Destination,
        publications: Sequence[Publication],
        pusher: BranchPusher,
        on_request: Callable[[PullRequest], None],
    ) -> None:
        self._destination = destination
        self._publications = {publication.task: publication for publication in publications}
        self._pusher = pusher
        self._on_request = on_request
        self._find = cache(destination.forge.find)
        self._requests: dict[str, PullRequest] = {}
        self._errors: dict[str, str] = {}
        self._large: Mapping[str, Mapping[str, int]] = {}  # files that may be too large, by commit
        self._blocked: str | None = None  # why no further request will succeed

    @property
    def blocked(self) -> str | None:
        """Why no further request will succeed."""
        return self._blocked

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The failed tasks, in the order of the publications."""
        return tuple(
            Failure(task, publication.branch.name, self._errors[task], publication.tasks)
            for task, publication in self._publications.items()
            if task in self._errors
        )

    def find_requests(self) -> None:
        """Read the remote's branches and their pull requests, and close the tasks that are merged already."""
        every = self._publications.values()
        names = {branch.name for item in every for branch in (item.base, item.branch) if branch}
        try:
            self._pusher.read_remote(names)
        except GitError as error:
            self._blocked = str(error)
        for publication in every:
            with self._errors_of(publication):
                self._find_request(publication)

    def check_files(self) -> None:
        """Close the tasks with files that the forge does not take, and those that build on them."""
        found = large_files(self._destination, self._open())
        self._large = found
        self._errors |= refused_files(self._destination, self._open(), found)

    def push_branches(self) -> None:
        """Push all branches that are needed, bases first."""
        needed = [] if self._blocked else self._needed()
        if not self._blocked:
            self._pusher.push(needed)

    def plan_pushes(self) -> list[Push]:
        """Return what `push_branches` pushes, also if the remote cannot be read."""
        return self._pusher.plan(self._needed())

    def planned(self, publication: Publication, known: Mapping[str, PullRequest]) -> PlannedRequest:
        """Return what happens to a publication; `known` are pull requests by branch, if none can be read."""
        task, branch = publication.task, publication.branch.name
        request, base = self._requests.get(task), self._needed_base(publication)
        base_name = base.name if base else self._destination.branch
        if request is not None:
            return PlannedRequest(publication, request.base, request.action, request, notes=request.notes)
        with self._errors_of(publication):
            found = None if self._blocked else self._find(branch)
            request = found.request if found and found.state is RequestState.OPEN else None
            request = request or (known.get(branch) if self._blocked else None)
            if task not in self._errors:
                self._check_pushed(publication, base_name)
        advice = warning(files_of(publication, self._large), self._destination.forge.file_limits)
        notes = (advice,) if advice else ()
        action = "update" if request else "open"
        return PlannedRequest(publication, base_name, action, request, self._errors.get(task), notes)

    def _needed(self) -> list[Branch]:
        """Return all branches that are needed, bases first."""
        needed: dict[str, Branch] = {}
        for publication in self._open():
            if not self._blocked:
                with self._errors_of(publication):
                    check_submodules(self._destination, publication)
        for publication in self._open():
            with self._errors_of(publication):
                if base := self._needed_base(publication):
                    needed.setdefault(base.name, base)
        for publication in self._open():
            needed.setdefault(publication.branch.name, publication.branch)
        return list(needed.values())

    def open_requests(self) -> None:
        """Create or update the pull requests, dependencies first, so that a body can link to them."""
        open_tasks = {publication.task for publication in self._open()}
        for task in self._order():
            if task not in open_tasks:
                continue
            publication = self._publications[task]
            if self._blocked:
                self._errors[task] = self._blocked
                continue
            with self._errors_of(publication):
                self._open_request(publication)

    def _order(self) -> list[str]:
        """Return the tasks in the order of their pull requests: each after those that it links to."""
        publications = self._publications
        place = {task: number for number, task in enumerate(publications)}
        distinct = {id(one.builds_on): one.builds_on for one in publications.values()}
        lineages = {key: Lineage(item.task for item in builds_on) for key, builds_on in distinct.items()}
        below = {task: lineages[id(one.builds_on)] for task, one in publications.items()}
        linked = {
            task: below[task].with_names(
                item.task
                for conflict in one.conflicts
                for item in conflict.others
                if place.get(item.task, place[task]) < place[task]
            )
            for task, one in publications.items()
        }
        found = in_order(list(publications), linked)
        # Where a task was run again on top of a later one, not every link can be held.
        return found if len(found) == len(publications) else in_order(list(publications), below)

    def _open(self) -> list[Publication]:
        return [
            publication
            for task, publication in self._publications.items()
            if task not in self._requests and task not in self._errors
        ]

    @contextmanager
    def _errors_of(self, publication: Publication) -> Iterator[None]:
        """Record a forge's error as the failure of one task, and as that of all others if it is unreachable."""
        try:
            yield
        except ForgeError as error:
            self._errors[publication.task] = str(error)
            if isinstance(error, UnreachableError):
                self._blocked = str(error)

    def _find_request(self, publication: Publication) -> None:
        """Read what the task's pull request notes.

        Close a task whose present commit is merged, even if its branch was deleted on the remote since, and one
        whose pull request was closed by a person.
        """
        branch = publication.branch
        if self._blocked or (found := self._find(branch.name)) is None:
            return
        note = read_note(found.body)
        if note and note.is_of(publication.plan):
            self._pusher.accept(note.pushed)
        elif note and note.plan:
            self._pusher.leave(branch.name)
        if found.state is RequestState.MERGED and branch.commit in {found.commit, branch.last_pushed}:
            self._close(replace(found.request, task=publication.task, tasks=publication.tasks))
        if found.state is RequestState.CLOSED:
            own = replace(found.request, task=publication.task, tasks=publication.tasks)
            self._close(replace(own, notes=(CLOSED,)))

    def _needed_base(self, publication: Publication) -> Branch | None:
        """Return the base unless all that a task builds on is merged, so that the destination contains it."""
        dependencies = publication.builds_on
        if (
            publication.base
            and dependencies
            and all(self._is_merged(dependency) for dependency in dependencies)
        ):
            return None
        return publication.base

    def _is_merged(self, dependency: PublishedDependency) -> bool:
        if request := self._requests.get(dependency.task):
            return request.action == "merged"
        if dependency.task in self._publications:
            return False  # a merged one would be among the requests
        found = self._find(dependency.branch)
        return found is not None and found.state is RequestState.MERGED

    def _open_request(self, publication: Publication) -> None:
        base = self._needed_base(publication)
        base_name = base.name if base else self._destination.branch
        self._check_pushed(publication, base_name)
        advice = warning(files_of(publication, self._large), self._destination.forge.file_limits)
        draft = self._draft(publication, base_name)
        request = self._destination.forge.create_or_update(draft)
        notes = (*request.notes, *([advice] if advice else []))
        request = replace(request, notes=notes, tasks=publication.tasks)
        try:
            if self._destination.auto_merge:
                request = self._enable_auto_merge(publication, request)
        finally:
            self._close(request)

    def _check_pushed(self, publication: Publication, base: str) -> None:
        """Check that the branches of a publication are on the remote, or can be pushed.

        Raises:
            ForgeError: One is not.
        """
        advice = warning(files_of(publication, self._large), self._destination.forge.file_limits)
        if reason := self._pusher.rejection(publication.branch.name):
            raise ForgeError(f"{reason}; {advice}" if advice else reason)
        if base != self._destination.branch and (reason := self._pusher.rejection(base)):
            raise ForgeError(f"its base, the branch {base}, could not be pushed: {reason}")

    def _enable_auto_merge(self, publication: Publication, request: PullRequest) -> PullRequest:
        if request.base == self._destination.branch:
            return self._destination.forge.enable_auto_merge(request, publication.branch.commit)
        note = f"`patchyard publish` enables auto-merge after its base, {request.base}, is merged"
        return replace(request, notes=(*request.notes, note))

    def _draft(self, publication: Publication, base: str) -> PullRequestDraft:
        known = {item.label: self._requests.get(item.task) or item.request for item in publication.builds_on}
        links = {what: request for what, request in known.items() if request}
        return PullRequestDraft(
            task=publication.task,
            branch=publication.branch.name,
            base=base,
            title=publication.title,
            body=with_conflicts(with_links(publication.body, links), self._conflicts(publication)),
            labels=publication.labels,
            reviewers=publication.reviewers,
            draft=publication.draft,
            plan=publication.plan,
            pushed={one.name: one.commit for one in (publication.branch, publication.base) if one},
        )

    def _conflicts(self, publication: Publication) -> list[ConflictLine]:
        """Return what a pull request says of conflicts, with links to the others that are open."""
        return [
            ConflictLine(
                {item.label: self._requests.get(item.task) or item.request for item in conflict.others},
                conflict.files,
                is_own=conflict.is_own,
                kept=conflict.kept,
            )
            for conflict in publication.conflicts
        ]

    def _close(self, request: PullRequest) -> None:
        self._requests[request.task] = request
        self._on_request(request)
