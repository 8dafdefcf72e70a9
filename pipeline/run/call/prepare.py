"""Validate an invocation and build the run from it; shared by the CLI, the server and the Dagger module."""

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from datetime import datetime, timedelta
from pathlib import Path

from containers.agents.agent import agent_secrets
from containers.git.repository import Repository
from containers.worktrees.directory import PoolDirectory, default_directory
from pipeline.config.settings import DEFAULT_BRANCH, Settings
from pipeline.config.sources import ConfigError, load, secret_values, variables_of
from pipeline.config.trust import Grant, require_trust
from pipeline.events import now
from pipeline.run.call.agents import check_agents, check_work
from pipeline.run.call.plan_file import PlanFile, parse_plan, read_plan, with_existing_neighbours
from pipeline.run.call.task_spec import BatchSpec, apply_secrets, images_of, pin_images, resolve_batches
from pipeline.run.control import first_lease_seconds, host_name, new_owner
from pipeline.run.paths import run_directory
from pipeline.run.results.commits import committer_of
from pipeline.store.records import Run
from pipeline.store.run_options import PublishOptions, Selection, StoredCall
from tasks.conflicts import Serialize
from tasks.lazy.dataclasses import dataclass
from tasks.model import Mode, Plan
from tasks.outcome import RunStatus
from tasks.plan.parser import Diagnostic, PlanError
from tasks.schedule import left_out, select
from tasks.secrets import Secrets


@dataclass(frozen=True, slots=True)
class Call:
    """An invocation: the plan, the repository, and the settings that the caller gives as flags."""

    plan_path: str
    repo: Path
    environ: Mapping[str, str] = field(repr=False)
    flags: Mapping[str, object] = field(default_factory=dict)
    selection: Selection = field(default_factory=Selection)
    trusted: tuple[str, ...] = ()
    """Digests of settings of the repository that are trusted, besides the remembered ones."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A validated invocation: everything that can be known before a task runs.

    `text` is the plan with secrets masked, and `masked` whether it differs from the file. `left_out` are tasks
    that the selected ones build on and that are not part of the run.
    """

    call: Call
    repository: Repository
    text: str
    plan: Plan
    batches: tuple[BatchSpec, ...]
    warnings: tuple[Diagnostic, ...]
    settings: Settings
    secrets: Secrets
    base: str
    base_name: str | None
    worktrees: PoolDirectory
    left_out: tuple[str, ...] = ()
    masked: bool = False
    grants: tuple[Grant, ...] = ()
    """The trusted settings of the repository and the plan."""


def prepare(
    call: Call,
    *,
    plan_text: str | None = None,
    base: str | None = None,
    repository: Repository | None = None,
) -> Prepared:
    """Validate an invocation: the repository, the settings, the plan, the base. Blocking.

    Args:
        call: The invocation.
        plan_text: The plan, if it is not to be read from its file.
        base: The commit to start from, if it is known.
        repository: The repository of the call, if it is open.

    Raises:
        PlanError: The plan has errors; it holds all of them.
        PatchyardError: Something else is invalid.
    """
    repository = repository or Repository.open(call.repo, call.environ)
    sources = load(call.flags, call.environ, repository.root)
    if plan_text is None:
        file = read_plan(call.plan_path)
    else:
        file = PlanFile(call.plan_path, plan_text.encode(errors="surrogateescape"))
    parsed = parse_plan(file, sources, call.environ)
    if parsed.plan is None:
        raise PlanError(parsed.diagnostics)
    settings = sources.resolve(parsed.plan.settings)
    grants = require_trust(
        sources,
        parsed.plan.settings,
        call.plan_path,
        repository.root,
        call.environ,
        batches=parsed.plan.batches,
        trusted=call.trusted,
    )
    selection = call.selection
    base = repository.resolve(base or settings.base or "HEAD")
    plan = select(
        with_existing_neighbours(parsed.plan, repository, base),
        start_batch=selection.start_batch,
        end_batch=selection.end_batch,
        tasks=selection.tasks,
        with_needed=selection.with_needed,
    )
    if settings.serialize is Serialize.DECLARED:
        from tasks.overlaps import serialized  # noqa: PLC0415 - start-up stays quick

        plan = serialized(plan)
    batches = resolve_batches(plan, settings)
    check_agents(batches, settings, call.environ)
    batches = _pin_locked_images(batches, settings, repository.root)
    _check_branch(plan, settings, repository)
    check_worktrees(settings, repository)
    secrets = _secrets(batches, settings, call.environ)
    written = file.stored_text(sources, Secrets({}))
    text = file.stored_text(sources, secrets)
    return Prepared(
        call=call,
        repository=repository,
        text=text,
        masked=text != written,
        plan=plan,
        batches=apply_secrets(batches, secrets),
        warnings=parsed.diagnostics,
        settings=settings,
        secrets=secrets,
        base=base,
        base_name=base_name_of(repository, settings),
        worktrees=PoolDirectory(settings.worktrees) if settings.worktrees else default_directory(repository),
        left_out=left_out(parsed.plan, plan),
        grants=grants,
    )


def _secrets(batches: Iterable[BatchSpec], settings: Settings, environ: Mapping[str, str]) -> Secrets:
    """Return the secrets that the settings name, and those that the agents of tasks to run can use.

    Raises:
        ConfigError: One that the settings name is not set.
    """
    values = secret_values(settings.secrets, environ)
    for spec in (spec for batch in batches for spec in batch.tasks):
        if spec.agent and not spec.task.is_left_out:
            values |= agent_secrets(spec.agent, environ)
    # A URL in a file of the repository is public; one that the caller gives may be secret.
    url = settings.notify if "notify" in settings.forced else None
    return Secrets(values, hidden={"PATCHYARD_NOTIFY": url} if url else {})


def _pin_locked_images(batches: tuple[BatchSpec, ...], settings: Settings, root: Path) -> tuple[BatchSpec, ...]:
    """Add the digests of `patchyard.lock` to the images of containers.

    Raises:
        LockError: The file is not valid, or `locked` is set and an image of the plan is not in it.
    """
    names = images_of(batches, [Mode.DAGGER])
    if not names:
        return batches
    from pipeline.config.lockfile import Lock  # noqa: PLC0415 - start-up stays quick

    lock = Lock.beside(root)
    if settings.locked:
        lock.check(names)
    return pin_images(batches, lock.images)


def _check_branch(plan: Plan, settings: Settings, repository: Repository) -> None:
    if settings.branch == DEFAULT_BRANCH:
        return
    name = settings.branch.format(plan=plan.name, task=plan.tasks[0].id, run="run")
    if not repository.is_branch_name(name):
        raise ConfigError(f"branch: {name!r} is not a name that git takes for a branch; change the template")


def check_worktrees(settings: Settings, repository: Repository) -> None:
    """Check that no checkout has the directory of the worktrees in it. Blocking.

    Raises:
        ConfigError: One has, and does not ignore it.
    """
    directory = settings.worktrees
    checkout = repository.showing_checkout(directory / "wt-1") if directory else None
    if checkout:
        where = "the checkout" if checkout == repository.root else f"the checkout {checkout}"
        raise ConfigError(
            f"worktrees: {directory} is inside {where}, whose `git status` would show them; ignore it in "
            ".gitignore, or name a directory elsewhere"
        )


def base_name_of(repository: Repository, settings: Settings) -> str | None:
    """Return the branch that the base is, by the name that the remote may have for it."""
    if settings.base is None:
        return repository.branch()
    return (
        settings.base.removeprefix("refs/heads/")
        .removeprefix("refs/remotes/")
        .removeprefix(f"{settings.remote}/")
    )


def new_run(prepared: Prepared, run_id: str, *, repository: str = "") -> Run:
    """Return a new run to store, claimed by this process.

    `repository` identifies the repository in a database that several clones share.
    """
    environ = prepared.call.environ
    check_work(prepared.plan, prepared.batches, prepared.settings, environ)
    plan, mask = prepared.plan, prepared.secrets.mask_text
    started = now()
    return Run(
        id=run_id,
        plan_path=mask(plan.path),
        plan_name=plan.name,
        plan_title=mask(plan.title),
        plan_text=prepared.text,
        base=prepared.base,
        base_name=prepared.base_name,
        pool_size=prepared.settings.pool_size,
        status=RunStatus.RUNNING,
        started_at=started,
        settings=publish_options(prepared),
        repository=repository,
        host=host_name(environ),
        directory=str(run_directory(prepared.repository.common, run_id)),
        call=_stored_call(prepared, started),
        owner=new_owner(environ),
        lease_until=started + timedelta(seconds=first_lease_seconds(environ)),
    )


def publish_options(prepared: Prepared) -> PublishOptions:
    """Return how the run is published."""
    settings = prepared.settings
    return PublishOptions(
        remote=settings.remote,
        github=settings.github,
        labels=settings.labels,
        reviewers=settings.reviewers,
        secrets=tuple(prepared.secrets.values),
        draft=settings.draft,
        auto_merge=settings.auto_merge,
        # The file may come from others, who do not decide which of the user's commits are published.
        allow_unpushed=settings.allow_unpushed and "allow_unpushed" in settings.forced,
        agent=settings.agent and prepared.secrets.mask_text(settings.agent),
        publish=settings.publish,
        pull_request=settings.pull_request,
    )


def _stored_call(prepared: Prepared, started: datetime) -> StoredCall:
    """Return what is needed to prepare the same call again, except for secrets."""
    call, mask = prepared.call, prepared.secrets.mask_text
    named = {name: value for name, value in call.flags.items() if value is not None and value != ()}
    given = {**variables_of(call.environ), **named, "branch": prepared.settings.branch}
    if prepared.settings.worktrees:
        given["worktrees"] = str(prepared.settings.worktrees)
    flags = {
        name: mask(value)
        if isinstance(value, str)
        else [*map(str, value)]
        if isinstance(value, tuple)
        else value
        for name, value in given.items()
        if name not in {"base", "notify", "trust"}
    }
    return StoredCall(
        flags=flags,
        selection=_exact(call.selection, prepared.plan),
        notify=call.flags.get("notify") is not None,
        masked=prepared.masked,
        trusted=tuple(grant.digest() for grant in prepared.grants),
        committer=committer_of(prepared.repository, started),
        remote_urls=prepared.repository.remote_urls(prepared.settings.remote),
    )


def _exact(selection: Selection, plan: Plan) -> Selection:
    """Return a selection that names what it selected, whatever becomes of the plan."""
    if not (selection.with_needed and selection.tasks):
        return selection
    return replace(selection, tasks=tuple(task.id for task in plan.tasks), with_needed=False)


def left_out_warning(prepared: Prepared) -> str | None:
    """Return a warning about tasks that are not part of the run, so that the base must have their changes."""
    if not prepared.left_out:
        return None
    names = ", ".join(prepared.left_out)
    base = prepared.base_name or prepared.base[:12]
    what = "task" if len(prepared.left_out) == 1 else "tasks"
    return f"warning: {what} {names} not run here: what builds on them starts from {base} as it is"
