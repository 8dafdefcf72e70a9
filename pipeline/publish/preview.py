"""What publishing a stored run would do: the same code as publishing, which only reads. Blocking."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress

from containers.git.remote.remotes import Push
from containers.git.repository import GitError, Repository
from pipeline.forge.base import ForgeError
from pipeline.forge.github_connect import NoTokenError, locate
from pipeline.forge.github_urls import api_url, file_limits
from pipeline.forge.unasked import UnaskedForge
from pipeline.publish.chosen import chosen_tasks
from pipeline.publish.publication import Destination, Failure, PlannedRequest, label
from pipeline.publish.publisher import plan, target_branch
from pipeline.publish.service import Target, compose, target_for_run, template_of
from pipeline.publish.shared_publications import SharedPublications
from pipeline.store.records import Run, StoredTask
from pipeline.store.store import Store
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import PullRequest
from tasks.secrets import Secrets
from tasks.text import plural, without_credentials, without_surrogates

UNKNOWN_BRANCH = "(the default branch)"
MOST_BELOW = 20
"""What a publication builds on is named up to this number; thousands of tasks may build on thousands."""
VERBS = {"open": "open", "update": "update"}


@dataclass(frozen=True, slots=True)
class Preview:
    """What publishing would do.

    `repository` is `owner/name`, empty if it is not known; `remote` the name of the remote and `url` where it
    leads; `branch` the branch that all changes are merged into in the end. `pushes` are the branches that are
    pushed, also those that pull requests go to. `added` are tasks that are published because the chosen ones
    build on them. `problem` is why nothing could be published now, `note` what is not known, and why.
    """

    run: str
    remote: str
    url: str
    repository: str
    branch: str
    requests: tuple[PlannedRequest, ...]
    pushes: tuple[Push, ...]
    left_out: tuple[Failure, ...]
    added: tuple[str, ...]
    items: Mapping[str, StoredTask]
    problem: str | None = None
    note: str | None = None

    @property
    def is_possible(self) -> bool:
        """Whether all of it could be published, as far as is known."""
        return self.problem is None and not self.left_out and not any(one.obstacle for one in self.requests)

    @property
    def total(self) -> str:
        """The sum in one sentence."""
        able = [one for one in self.requests if not one.obstacle]
        counts = {
            action: sum(one.action == action for one in able)
            for action in ("open", "update", "merged", "closed")
        }
        said = [f"{verb} {plural(count, 'pull request')}" for verb in VERBS.values() if (count := counts[verb])]
        said += [f"push {plural(len(self.pushes), 'branch')}"] if self.pushes else []
        done = counts["merged"] + counts["closed"]
        left = len(self.left_out) + sum(
            len(one.publication.tasks) or 1 for one in self.requests if one.obstacle
        )
        sentence = f"would {' and '.join(said)}" if said else "would change nothing"
        sentence += f"; {plural(done, 'pull request')} merged or closed already" if done else ""
        return sentence + (f"; {plural(left, 'task')} cannot be published" if left else "")


def preview(  # noqa: PLR0913 - what is published, and how
    repository: Repository,
    store: Store,
    run: Run,
    environ: Mapping[str, str],
    tasks: Collection[str] = (),
    *,
    on_wait: Callable[[float], None] = lambda _: None,
    replaced: Sequence[str] = (),
) -> Preview:
    """Return what publishing a run would do; nothing is pushed, opened or stored.

    Without a token, or if GitHub cannot be asked, it says what is known here.

    Args:
        repository: The repository.
        store: The store, which has the run.
        run: The run, with the settings to publish it with.
        environ: The environment.
        tasks: The tasks to publish, with what they build on; without any, all.
        on_wait: Receives the seconds of each wait that GitHub asks for.
        replaced: As for `publish_run`.

    Raises:
        CallError: The run has no such task, or it has nothing to publish.
    """
    chosen = chosen_tasks(store, run, tasks)
    items = {item.outcome.task: item for item in store.tasks(run.id)}
    known = {one.branch: one for item in items.values() if (one := item.pull_request)}
    problem, note = None, None
    try:
        target = target_for_run(repository, run, environ, on_wait)
    except NoTokenError as error:
        note = f"GitHub was not asked, so this is what is known here: {error}"
        target = _unasked_target(repository, run, environ, known)
    except ForgeError as error:
        problem, target = str(error), _unasked_target(repository, run, environ, known)
    destination = target.destination
    try:
        shared = compose(store, run, target, chosen)
    except ForgeError as error:
        problem, shared = problem or str(error), SharedPublications()
    try:
        if shared.publications and problem is None:
            target.check_base(run.base, run.base_name)
    except ForgeError as error:
        problem = str(error)
    planned = plan(destination, shared.publications, known=known, replaced=replaced)
    try:
        url = destination.connection.url(push=True) or ""
    except GitError:
        url = ""
    return Preview(
        run=run.id,
        remote=run.settings.remote,
        url=without_credentials(url),
        repository=_repository_name(repository, run, environ),
        branch=destination.branch,
        requests=planned.requests,
        pushes=planned.pushes,
        left_out=shared.failures,
        added=tuple(task for task in chosen or () if task not in tasks),
        items=items,
        problem=problem or planned.blocked,
        note=note,
    )


def _unasked_target(
    repository: Repository, run: Run, environ: Mapping[str, str], known: Mapping[str, PullRequest]
) -> Target:
    """Return the target as far as it is known without GitHub; the remote is read if that is possible."""
    options, branch = run.settings, run.base_name or UNKNOWN_BRANCH
    forge = UnaskedForge(file_limits(_api(repository, run, environ)), known)
    with suppress(ForgeError, GitError):
        branch = target_branch(repository.remote(options.remote), run.base_name, None, forge)
    named = {name: environ[name] for name in options.secrets if name in environ}
    destination = Destination(repository, forge, options.remote, branch, auto_merge=options.auto_merge)
    return Target(destination, options, Secrets(named), template_of(run))


def _api(repository: Repository, run: Run, environ: Mapping[str, str]) -> str:
    try:
        return locate(environ, repository, run.settings.remote, run.settings.github)[1]
    except (ForgeError, GitError):
        return api_url(environ, None)


def _repository_name(repository: Repository, run: Run, environ: Mapping[str, str]) -> str:
    try:
        return locate(environ, repository, run.settings.remote, run.settings.github)[0].full_name
    except (ForgeError, GitError):
        return run.settings.github or ""


def as_record(found: Preview) -> Mapping[str, object]:
    """Return a preview as the command line and the HTTP API write it. Blocking."""
    pushed = {push.branch: "update" if push.lease else "create" for push in found.pushes}
    heads = {one.publication.branch.name for one in found.requests}
    return {
        "run": found.run,
        "remote": found.remote,
        "url": found.url,
        "repository": found.repository,
        "branch": found.branch,
        "pull_requests": [_request_record(found, one, pushed) for one in found.requests],
        "bases": [
            {"branch": push.branch, "commit": push.commit, "push": pushed[push.branch]}
            for push in found.pushes
            if push.branch not in heads
        ],
        "left_out": [{"task": one.task, "branch": one.branch, "reason": one.reason} for one in found.left_out],
        "added": list(found.added),
        "possible": found.is_possible,
        "problem": found.problem,
        "note": found.note,
        "total": found.total,
    }


def _request_record(found: Preview, one: PlannedRequest, pushed: Mapping[str, str]) -> Mapping[str, object]:
    publication, tasks = one.publication, one.publication.tasks or (one.publication.task,)
    added, removed = _size(found.items, tasks)
    files = dict.fromkeys(path for task in tasks for path in found.items[task].outcome.files)
    return {
        "task": publication.task,
        "tasks": list(tasks),
        "label": label(publication.task, is_shared=bool(publication.tasks)),
        "action": one.action,
        "number": one.request.number if one.request else None,
        "url": one.request.url if one.request else None,
        "title": publication.title,
        "body": publication.body,
        "branch": publication.branch.name,
        "commit": publication.branch.commit,
        "push": pushed.get(publication.branch.name),
        "base": one.base,
        "builds_on": [below.label for below in publication.builds_on[:MOST_BELOW]],
        "builds_on_total": len(publication.builds_on),
        "files": [without_surrogates(path) for path in files],
        "added": added,
        "removed": removed,
        "labels": list(publication.labels),
        "reviewers": list(publication.reviewers),
        "draft": publication.draft,
        "obstacle": one.obstacle,
        "notes": list(one.notes),
    }


def _size(items: Mapping[str, StoredTask], tasks: Iterable[str]) -> tuple[int, int]:
    """Return how many lines the patches of tasks add and remove."""
    outcomes = [items[task].outcome for task in tasks]
    return sum(one.added or 0 for one in outcomes), sum(one.removed or 0 for one in outcomes)
