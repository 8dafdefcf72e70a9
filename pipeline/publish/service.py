"""Publish a stored run. All functions are blocking."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from containers.git.remote.places import check_unmoved
from containers.git.repository import GitError, Repository
from pipeline.broadcast import Listener
from pipeline.config.settings import DEFAULT_BRANCH, SETTINGS
from pipeline.config.sources import load
from pipeline.config.trust import require_trust
from pipeline.events import Notice, Published
from pipeline.forge.base import ForgeError
from pipeline.forge.github_connect import connect
from pipeline.publish.chosen import chosen_tasks
from pipeline.publish.parts import parts_of
from pipeline.publish.publication import Destination
from pipeline.publish.publisher import publish, target_branch
from pipeline.publish.remote_checks import check_base, check_names
from pipeline.publish.shared_publications import SharedPublications, Sharing
from pipeline.publish.task_publications import publications_of
from pipeline.report.importer import ImportedRun
from pipeline.report.model import ReportError
from pipeline.run.call.plan_file import CallError
from pipeline.run.call.prepare import Prepared, base_name_of, publish_options
from pipeline.run.results.restore import make_bases, restore_damaged_branch, restore_run
from pipeline.run.stored.claim import prepare_again
from pipeline.run.stored.stacks import stacks
from pipeline.store.records import Run
from pipeline.store.run_options import PublishOptions
from pipeline.store.store import Store
from tasks.dialects.registry import parse
from tasks.errors import PatchyardError
from tasks.lazy.dataclasses import dataclass
from tasks.model import Plan, PlanSettings
from tasks.outcome import PullRequest, PullRequestScope
from tasks.secrets import Secrets


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how a run is published; access was checked. `secrets` are masked in pull requests."""

    destination: Destination
    options: PublishOptions
    secrets: Secrets
    template: str = DEFAULT_BRANCH
    """The template of the names of branches."""

    def check_base(self, base: str, name: str | None) -> None:
        """Check that no commit of a run's base would be published with the run, unless the options allow it.

        Args:
            base: The base.
            name: The name of the base, if it has one.

        Raises:
            ForgeError: The remote does not have the base where the pull requests are merged, or cannot be read.
        """
        if not self.options.allow_unpushed:
            check_base(self.destination, base, name, self.secrets)


def target_for_call(
    prepared: Prepared, on_wait: Callable[[float], None] = lambda _: None, *, plan_name: str | None = None
) -> Target:
    """Check, before any task runs, that the run can be published, and return its target. Blocking.

    `on_wait` receives the seconds of each wait that GitHub asks for. `plan_name` is the plan's part of the
    names of branches, if it is not the name of the plan.

    Raises:
        ForgeError: It cannot be published; the message says why.
    """
    environ, secrets, options = prepared.call.environ, prepared.secrets, publish_options(prepared)
    target = _connect_target(
        prepared.repository, prepared.base_name, options, environ, secrets, on_wait=on_wait
    )
    target.check_base(prepared.base, prepared.base_name)
    template, plan = prepared.settings.branch, plan_name or prepared.plan.name
    names = [template.format(plan=plan, task=part, run="run") for part in _names(prepared.plan, options)]
    check_names(target.destination, names)
    return replace(target, template=template)


def _names(plan: Plan, options: PublishOptions) -> list[str]:
    """Return what is put into the names of the branches that a run of a plan pushes."""
    tasks = [task for task in plan.tasks if not task.is_left_out]
    if options.pull_request is PullRequestScope.TASK:
        return [task.id for task in tasks]
    return [part.name for part in parts_of(tasks, options.pull_request)]


def target_to_resume(
    repository: Repository,
    run: Run,
    environ: Mapping[str, str],
    on_wait: Callable[[float], None] = lambda _: None,
) -> Target | None:
    """Check that a stored run can be resumed here and, if it publishes, return its target. Blocking.

    Nothing is changed. `on_wait` receives the seconds of each wait that GitHub asks for.

    Raises:
        PatchyardError: It cannot be resumed, or not published; the message says why.
    """
    prepared = prepare_again(repository, run, environ)
    if not prepared.settings.publish:
        return None
    _check_remote(repository, prepared.settings.remote, run)
    return target_for_call(prepared, on_wait, plan_name=run.plan_name)


def target_for_run(
    repository: Repository,
    run: Run,
    environ: Mapping[str, str],
    on_wait: Callable[[float], None] = lambda _: None,
) -> Target:
    """Check that a stored run can be published, and return its target. Blocking.

    `on_wait` receives the seconds of each wait that GitHub asks for.

    Raises:
        ForgeError: It cannot be published; the message says why.
    """
    _check_remote(repository, run.settings.remote, run)
    named = {name: environ[name] for name in run.settings.secrets if name in environ}
    target = _connect_target(repository, run.base_name, run.settings, environ, Secrets(named), on_wait=on_wait)
    return replace(target, template=template_of(run))


def template_of(run: Run) -> str:
    """Return the template of the names of a run's branches."""
    return str(run.call.flags.get("branch") or DEFAULT_BRANCH)


def _check_remote(repository: Repository, remote: str, run: Run) -> None:
    """Check that a remote leads to where it did when a run started.

    Raises:
        ForgeError: It leads elsewhere.
    """
    try:
        check_unmoved(repository.remote(remote), run.call.remote_urls, run.id)
    except GitError as error:
        raise ForgeError(str(error)) from None


def _connect_target(  # noqa: PLR0913 - the parts of one connection
    repository: Repository,
    base_name: str | None,
    options: PublishOptions,
    environ: Mapping[str, str],
    secrets: Secrets,
    *,
    on_wait: Callable[[float], None],
) -> Target:
    remote = options.remote
    forge = connect(environ, repository, remote, options.github, on_wait=on_wait)
    forge.check_access()
    try:
        fixed = repository.remote(remote).fixed()
        credential = forge.credential(fixed.url(push=True))
        branch = target_branch(fixed, base_name, credential, forge)
    except GitError as error:
        raise ForgeError(str(error)) from None
    destination = Destination(repository, forge, remote, branch, credential, options.auto_merge, fixed)
    return Target(destination, options, secrets)


def prepare_import(
    repository: Repository,
    directory: Path,
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    on_wait: Callable[[float], None] = lambda _: None,
) -> tuple[ImportedRun, Target]:
    """Read a run of another clone, and return it with its target. Blocking; nothing is changed.

    Where and how it is published comes from the flags, the environment and the configuration of this clone,
    never from the report, which a job without any right may have written.

    Args:
        repository: The repository to publish from.
        directory: Has the report and the patches.
        flags: Settings by name; `None` is "not given".
        environ: The environment.
        on_wait: Receives the seconds of each wait that GitHub asks for.

    Raises:
        PatchyardError: The report or a setting is invalid, or it cannot be published; the message says why.
    """
    sources = load(flags, environ, repository.root)
    require_trust(
        sources, PlanSettings(), "", repository.root, environ, only=["remote", "github", "auto_merge"]
    )
    settings = sources.resolve(PlanSettings())
    options = PublishOptions(
        remote=settings.remote,
        github=settings.github,
        labels=settings.labels,
        reviewers=settings.reviewers,
        secrets=(*settings.secrets, *(name for one in settings.agents.values() for name in one.secrets)),
        draft=settings.draft,
        auto_merge=settings.auto_merge,
        allow_unpushed=settings.allow_unpushed and "allow_unpushed" in settings.forced,
        pull_request=settings.pull_request,
    )
    imported = replace(
        ImportedRun.read(directory, settings.branch),
        settings=options,
        base_name=base_name_of(repository, settings),
        remote_urls=repository.remote_urls(settings.remote),
    )
    target = target_for_run(repository, imported.run, environ, on_wait)
    if flags.get("base") is not None and target.destination.branch != imported.base_name:
        raise CallError(f"--base: {options.remote} has no branch {imported.base_name}; name one that it has")
    return imported, replace(target, template=settings.branch)


def import_run(store: Store, imported: ImportedRun, target: Target) -> None:
    """Recreate a run of another clone in this one; a missing base is fetched from the remote. Blocking.

    Raises:
        ReportError: The base cannot be fetched, or a patch does not apply.
        ForgeError: The target's branch does not have the base, or cannot be read.
        GitError: A branch exists that patchyard did not create.
    """
    to, base = target.destination, imported.report.base.commit
    try:
        to.connection.fetch(base, to.credential)
    except GitError as error:
        raise ReportError(f"the run's base {base[:12]} is neither here nor on {to.remote}: {error}") from None
    target.check_base(base, imported.base_name)  # before any branch is set
    imported.recreate(to.repository, store)


def ignored_options(imported: ImportedRun) -> str | None:
    """Return a sentence about how the run was to be published and is not; `None` if there is nothing to say."""
    asked, default = imported.report.publishing, PublishOptions()
    names = [
        SETTINGS[name].flag
        for name in ("remote", "github", "pull_request", "draft", "auto_merge", "labels", "reviewers")
        if getattr(asked, name) not in {getattr(default, name), getattr(imported.settings, name)}
    ]
    if not names:
        return None
    return f"not taken from the report: {', '.join(names)}; give them to `patchyard publish` to use them"


def publish_run(  # noqa: PLR0913 - what is published, and how
    store: Store,
    run_id: str,
    target: Target,
    listener: Listener,
    *,
    tasks: Collection[str] = (),
    replaced: Sequence[str] = (),
) -> int:
    """Publish a stored run, and return how many of its tasks could not be published. Blocking.

    `listener` receives one event per pull request. Of some `tasks`, these are published with what they build
    on. `replaced` are the beginnings of ids of commits at the tips of branches that the user wants to be
    replaced, also of other people.

    Raises:
        CallError: The run has no such task, or it has nothing to publish.
        ForgeError: The remote does not have the run's base (now), or cannot be read.
    """
    run = store.run(run_id)
    chosen = chosen_tasks(store, run, tasks)
    if any(item.outcome.commit and item.outcome.branch for item in store.tasks(run.id)):
        target.check_base(run.base, run.base_name)
        if problem := _restore(store, run, target.destination.repository):
            listener.notify(Notice(message=problem, level="warning"))
    else:
        nothing = f"no task of run {run.id} succeeded with changes, so there is nothing to publish"
        listener.notify(Notice(message=nothing))
    shared = compose(store, run, target, chosen)
    if chosen is None or shared.records:
        store.keep_shared_branches(run.id, shared.records)  # before a push: a kill leaves known commits

    def on_request(request: PullRequest) -> None:
        store.keep_pull_request(run.id, request)
        listener.notify(Published(request=request))
        for note in request.notes:
            listener.notify(Notice(message=f"pull request #{request.number}: {note}"))

    failures = publish(
        target.destination,
        shared.publications,
        on_pushed=lambda name, commit: store.keep_branch(name, pushed=commit),
        on_request=on_request,
        replaced=replaced,
    )
    for failure in (*shared.failures, *failures):
        listener.notify(Notice(message=str(failure), level="error"))
    if failures:
        hint = f"run `patchyard publish {run.id}` to publish the rest"
        listener.notify(Notice(message=hint))
    return len(shared.failures) + sum(len(failure.tasks) or 1 for failure in failures)


def compose(store: Store, run: Run, target: Target, chosen: Collection[str] | None) -> SharedPublications:
    """Return what is published: the tasks as they are, or those that share a pull request together. Blocking.

    No ref moves, and nothing is stored.

    Args:
        store: The store, which has the run.
        run: The run.
        target: Where and how it is published.
        chosen: The tasks to publish; `None` for all.

    Raises:
        ForgeError: A commit of a task cannot be read.
    """
    plan = parse(run.plan_text, run.plan_path, agent=run.settings.agent or "agent").plan
    units = publications_of(store, run, plan, target.options, target.secrets)
    if target.options.pull_request is PullRequestScope.TASK:
        return SharedPublications(tuple(one for one in units if chosen is None or one.task in chosen))
    sharing = Sharing(
        store, run, plan, options=target.options, secrets=target.secrets, template=target.template
    )
    try:
        return sharing.share(target.destination, units, chosen)
    except GitError as error:
        raise ForgeError(f"the tasks of run {run.id} cannot be put together: {error}") from None


def _restore(store: Store, run: Run, repository: Repository) -> str | None:
    """Make again what a loss of power damaged of a run's commits; return why it cannot be made.

    The tasks whose commits are whole can be pushed in any case.
    """
    tasks = [item for item in store.tasks(run.id) if item.outcome.commit and item.outcome.branch]
    try:
        if not repository.history.is_whole([item.outcome.commit or "" for item in tasks], run.base):
            prepared = prepare_again(repository, run, repository.environ)
            keep_going = prepared.settings.keep_going
            on = {task: stack.tasks for task, stack in stacks(store, run.id).items()}
            bases = make_bases(repository, run, prepared.plan, keep_going=keep_going, repair=True, stacked=on)
            restore_run(
                repository, run, bases, prepared.plan, {item.outcome.task: item.outcome for item in tasks}
            )
        for item in tasks:
            restore_damaged_branch(repository, item.outcome.branch, item.outcome.commit)
            restore_damaged_branch(repository, item.start_branch, item.outcome.start)
    except PatchyardError as error:
        return f"commits of run {run.id} are damaged, and could not all be made again: {error}"
    return None
