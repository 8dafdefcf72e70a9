"""Publish a stored run. All functions are blocking."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from containers.git.remote.places import check_unmoved, urls_of
from containers.git.repository import GitError, Repository
from pipeline.config.settings import SETTINGS
from pipeline.config.sources import load
from pipeline.config.trust import require_trust
from pipeline.events import Listener, Notice, Published
from pipeline.forge.base import ForgeError
from pipeline.forge.github_connect import connect
from pipeline.publish.branch_pusher import Branch
from pipeline.publish.publisher import Destination, Publication, PublishedDependency, publish, target_branch
from pipeline.publish.pull_request import body, title
from pipeline.publish.remote_checks import check_base, check_names
from pipeline.report.importer import ImportedRun
from pipeline.report.model import ReportError
from pipeline.run.call.plan_file import CallError
from pipeline.run.call.prepare import Prepared, base_name_of, publish_options
from pipeline.run.restore import make_bases, restore_damaged_branch, restore_run
from pipeline.run.stored.claim import prepare_again
from pipeline.store.records import Run, StoredTask
from pipeline.store.run_options import PublishOptions
from pipeline.store.store import Store
from tasks.dialects.registry import parse
from tasks.errors import PatchyardError
from tasks.model import Plan, PlanSettings, PullRequest
from tasks.secrets import Secrets


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how a run is published; access was checked. `secrets` are masked in pull requests."""

    destination: Destination
    options: PublishOptions
    secrets: Secrets

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
    names = [
        template.format(plan=plan, task=task.id, run="run")
        for task in prepared.plan.tasks
        if not task.is_left_out
    ]
    check_names(target.destination, names)
    return target


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
    return _connect_target(repository, run.base_name, run.settings, environ, Secrets(named), on_wait=on_wait)


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
    )
    imported = replace(
        ImportedRun.read(directory, settings.branch),
        settings=options,
        base_name=base_name_of(repository, settings),
        remote_urls=urls_of(repository.remote(settings.remote)),
    )
    target = target_for_run(repository, imported.run, environ, on_wait)
    if flags.get("base") is not None and target.destination.branch != imported.base_name:
        raise CallError(f"--base: {options.remote} has no branch {imported.base_name}; name one that it has")
    return imported, target


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
        for name in ("remote", "github", "draft", "auto_merge", "labels", "reviewers")
        if getattr(asked, name) not in {getattr(default, name), getattr(imported.settings, name)}
    ]
    if not names:
        return None
    return f"not taken from the report: {', '.join(names)}; give them to `patchyard publish` to use them"


def publish_run(
    store: Store, run_id: str, target: Target, listener: Listener, *, replaced: Sequence[str] = ()
) -> int:
    """Publish a stored run, and return how many of its tasks could not be published. Blocking.

    `listener` receives one event per pull request. `replaced` are the beginnings of ids of commits at the tips
    of branches that the user wants to be replaced, also of other people.

    Raises:
        ForgeError: The remote does not have the run's base (now), or cannot be read.
    """
    run = store.run(run_id)
    publications = _publications(store, run, target)
    if publications:
        target.check_base(run.base, run.base_name)
        if problem := _restore(store, run, target.destination.repository):
            listener.notify(Notice(message=problem, level="warning"))
    if not publications:
        listener.notify(Notice(message=f"run {run.id} changed nothing, so there is nothing to publish"))

    def on_request(request: PullRequest) -> None:
        store.keep_pull_request(run.id, request)
        listener.notify(Published(request=request))
        for note in request.notes:
            listener.notify(Notice(message=f"pull request #{request.number}: {note}"))

    failures = publish(
        target.destination,
        publications,
        on_pushed=lambda name, commit: store.keep_branch(name, pushed=commit),
        on_request=on_request,
        replaced=replaced,
    )
    for failure in failures:
        listener.notify(Notice(message=str(failure), level="error"))
    if failures:
        hint = f"run `patchyard publish {run.id}` to publish the rest"
        listener.notify(Notice(message=hint))
    return len(failures)


def _publications(store: Store, run: Run, target: Target) -> list[Publication]:
    stored = {item.outcome.task: item for item in store.tasks(run.id)}
    plan = parse(run.plan_text, run.plan_path, agent=run.settings.agent or "agent").plan
    options = target.options
    return [
        Publication(
            task=item.outcome.task,
            branch=_branch(store, item.outcome.branch or "", item.outcome.commit or "", run.plan_title),
            title=target.secrets.mask_text(_title(plan, item)),
            body=target.secrets.mask_text(_body(plan, item, run, store)),
            base=_branch(store, item.start_branch, item.outcome.start or "", run.plan_title)
            if item.start_branch
            else None,
            plan=run.plan_title,
            run_base=run.base,
            builds_on=_dependencies(stored, item.builds_on),
            labels=options.labels,
            reviewers=options.reviewers,
            draft=options.draft,
        )
        for item in stored.values()
        if item.outcome.commit and item.outcome.branch
    ]


def _restore(store: Store, run: Run, repository: Repository) -> str | None:
    """Make again what a loss of power damaged of a run's commits; return why it cannot be made.

    The tasks whose commits are whole can be pushed in any case.
    """
    tasks = [item for item in store.tasks(run.id) if item.outcome.commit and item.outcome.branch]
    try:
        if not repository.history.is_whole([item.outcome.commit or "" for item in tasks], run.base):
            prepared = prepare_again(repository, run, repository.environ)
            keep_going = prepared.settings.keep_going
            bases = make_bases(repository, run, prepared.plan, keep_going=keep_going, repair=True)
            restore_run(
                repository, run, bases, prepared.plan, {item.outcome.task: item.outcome for item in tasks}
            )
        for item in tasks:
            restore_damaged_branch(repository, item.outcome.branch, item.outcome.commit)
            restore_damaged_branch(repository, item.start_branch, item.outcome.start)
    except PatchyardError as error:
        return f"commits of run {run.id} are damaged, and could not all be made again: {error}"
    return None


def _branch(store: Store, name: str, commit: str, title: str) -> Branch:
    record = store.branch(name)
    # Commits of another plan are not overwritten: see `Branches`.
    made = {one for one, plan in store.commits_of(name).items() if plan in {None, title}}
    return Branch(name, commit, record.pushed if record else None, frozenset(made))


def _dependencies(stored: Mapping[str, StoredTask], names: Sequence[str]) -> tuple[PublishedDependency, ...]:
    return tuple(
        PublishedDependency(name, stored[name].outcome.branch or "", stored[name].pull_request)
        for name in names
        if name in stored and stored[name].outcome.branch
    )


def _title(plan: Plan | None, item: StoredTask) -> str:
    found = next((task for task in plan.tasks if task.id == item.outcome.task), None) if plan else None
    return title(found) if found else item.outcome.title


def _body(plan: Plan | None, item: StoredTask, run: Run, store: Store) -> str:
    found = next((task for task in plan.tasks if task.id == item.outcome.task), None) if plan else None
    if plan is None or found is None:
        return f"Task {item.outcome.task} of {run.plan_path}"
    return body(found, plan, item.outcome, run=run.id, steps=store.steps(run.id, found.id))
