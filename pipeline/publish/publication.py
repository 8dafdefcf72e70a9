"""What is published, and where to: plain data."""

from containers.git.remote.remotes import Credential, Remote
from containers.git.repository import Repository
from pipeline.forge.base import Forge
from pipeline.publish.branch_pusher import Branch
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import PullRequest


def label(task: str, *, is_shared: bool) -> str:
    """Return what is published, for a sentence: `task 1.1`, or `the plan` and `the group setup` if shared."""
    return f"the {task.replace('-', ' ', 1)}" if is_shared else f"task {task}"


@dataclass(frozen=True, slots=True)
class PublishedDependency:
    """What a publication builds on: its task or part, its branch and, if known, its pull request."""

    task: str
    branch: str
    request: PullRequest | None = None
    is_shared: bool = False

    @property
    def label(self) -> str:
        """What it is, for a sentence."""
        return label(self.task, is_shared=self.is_shared)


@dataclass(frozen=True, slots=True)
class PublishedConflict:
    """Tasks whose changes conflict with those of a publication, and the files in which.

    If it is not `own`, it is a conflict of what the publication builds on: the changes of `others` are left out
    of that, since they conflict with those of `kept`.
    """

    others: tuple[PublishedDependency, ...]
    files: tuple[str, ...]
    is_own: bool = True
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Publication:
    """A task's change to publish, or those of several tasks; it contains no secret.

    `base` is the branch that holds the task's start point, such as `patchyard/plan/batch-1`; without one it
    is the destination's branch. `builds_on` are the tasks whose changes are in `base`: when all are merged, the
    base is no longer needed. `reviewers` are user names, or `organization/team`. `plan` is the plan's title.
    `run_base` is the commit that the run started from; without it, the submodules were checked before.
    If several tasks share it, `task` is their part of the branch's name, such as `plan`, `tasks` are their ids,
    and `commits` those of their own branches. `conflicts` are named in its text.
    """

    task: str
    branch: Branch
    title: str
    body: str
    base: Branch | None = None
    builds_on: tuple[PublishedDependency, ...] = ()
    conflicts: tuple[PublishedConflict, ...] = ()
    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    draft: bool = False
    plan: str = ""
    run_base: str | None = None
    tasks: tuple[str, ...] = ()
    commits: tuple[str, ...] = ()

    @property
    def own_commits(self) -> tuple[str, ...]:
        """The commits of its tasks, each with one parent."""
        return self.commits or (self.branch.commit,)


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """What publishing would do with a publication.

    `action` is `open`, `update`, or what was found: `merged`, or `closed` by a person. `base` is the branch
    that the pull request goes to, `request` the one that there is. `obstacle` is why it cannot be published.
    """

    publication: Publication
    base: str
    action: str
    request: PullRequest | None = None
    obstacle: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """A task, or the tasks that share a branch, that could not be published, and the reason in one sentence."""

    task: str
    branch: str
    reason: str
    tasks: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The message for users."""
        what = label(self.task, is_shared=bool(self.tasks))
        return f"{what} ({self.branch}) was not published: {self.reason}"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where tasks are published.

    Args:
        repository: Contains the commits.
        forge: Opens the pull requests.
        remote: Name of the remote to push to, such as `origin`.
        branch: The branch that all changes are merged into in the end; see `target_branch`.
        credential: Credential for the remote, if it needs one.
        auto_merge: Whether pull requests against `branch` are merged as soon as their requirements are met.
        fixed: The remote as it was when access to it was checked; without it, as it is at each call.
    """

    repository: Repository
    forge: Forge
    remote: str
    branch: str
    credential: Credential | None = None
    auto_merge: bool = False
    fixed: Remote | None = None

    @property
    def connection(self) -> Remote:
        """The remote, for calls over the network."""
        return self.fixed or self.repository.remote(self.remote)
