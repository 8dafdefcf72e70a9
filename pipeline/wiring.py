"""Builds what the flow needs from what a door was told: shared by every door."""

import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import anyio
from anyio import CancelScope
from filelock import FileLock, Timeout

from containers.agents import is_usable
from containers.git import Repository
from containers.local import LocalRunner
from containers.worktrees import Pool, default_directory
from pipeline.config import DEFAULT_BRANCH, ConfigError, Settings, Sources, load, secret_values
from pipeline.events import Listener, Notice, RunFinished, now
from pipeline.flow import Parts, run
from pipeline.recorder import Recorder
from pipeline.store import Run, Store
from tasks.errors import PatchyardError
from tasks.model import Mode, Plan, RunStatus
from tasks.plan import Diagnostic, Parsed, PlanError, parse
from tasks.schedule import select
from tasks.secrets import Secrets


class CallError(PatchyardError):
    """The call itself is wrong: a file that is not there, a mode that is not built yet."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class Selection:
    """Which part of a plan is asked for."""

    start_batch: int | None = None
    end_batch: int | None = None
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """What a door was told."""

    plan_path: str
    repo: Path
    environ: Mapping[str, str] = field(repr=False)
    flags: Mapping[str, object] = field(default_factory=dict)
    selection: Selection = field(default_factory=Selection)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A call that was checked: everything that can be known before a task runs is known."""

    call: Call
    repository: Repository
    text: str
    plan: Plan
    warnings: tuple[Diagnostic, ...]
    settings: Settings
    secrets: Secrets
    base: str
    base_name: str | None

    @property
    def worktrees(self) -> Path:
        """The directory that the pool's worktrees stand in."""
        if self.settings.worktrees is None:
            return default_directory(self.repository)
        return (self.call.repo / self.settings.worktrees).absolute()


def read_plan(path: str) -> bytes:
    """Read a plan's bytes; `-` is standard input.

    Raises:
        CallError: It cannot be read.
    """
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise CallError(f"{path}: cannot be read: {error.strerror}") from None


def parse_plan(data: bytes | str, path: str, sources: Sources, environ: Mapping[str, str]) -> Parsed:
    """Parse a plan with what the settings say of agents."""

    def known(name: str) -> bool:
        return is_usable(name, sources.agents, environ.get("PATH", ""))

    return parse(data, path, agent=sources.agent, is_agent=known)


def prepare(call: Call) -> Prepared:
    """Check a call: the repository, the settings, the plan, the base.

    Raises:
        PlanError: The plan has mistakes; all of them are in it.
        PatchyardError: Something else is wrong; the message says what.
    """
    repository = Repository.open(call.repo, call.environ)
    sources = load(call.flags, call.environ, repository.root)
    data = read_plan(call.plan_path)
    parsed = parse_plan(data, call.plan_path, sources, call.environ)
    if parsed.plan is None:
        raise PlanError(parsed.diagnostics)
    settings = sources.resolve(parsed.plan.settings)
    selection = call.selection
    plan = select(
        parsed.plan, start_batch=selection.start_batch, end_batch=selection.end_batch, tasks=selection.tasks
    )
    _check_modes(plan, settings)
    _check_branch(plan, settings, repository)
    secrets = Secrets(secret_values(settings.secrets, call.environ))
    return Prepared(
        call=call,
        repository=repository,
        text=secrets.mask_text(data.decode(errors="replace")),
        plan=plan,
        warnings=parsed.diagnostics,
        settings=settings,
        secrets=secrets,
        base=repository.resolve(settings.base or "HEAD"),
        base_name=_base_name(repository, settings),
    )


def _check_modes(plan: Plan, settings: Settings) -> None:
    for batch in plan.batches:
        if batch.tasks and settings.mode_for(batch) is Mode.DAGGER:
            raise CallError(
                "mode dagger needs the next release of patchyard; use --mode parallel or --mode local"
            )


def _check_branch(plan: Plan, settings: Settings, repository: Repository) -> None:
    if settings.branch == DEFAULT_BRANCH:
        return
    name = settings.branch.format(plan=plan.name, task=plan.tasks[0].id, run="run")
    if not repository.is_branch_name(name):
        raise ConfigError(f"branch: {name!r} is not a name that git takes for a branch; change the template")


def _base_name(repository: Repository, settings: Settings) -> str | None:
    """Return the name of the branch that the base is, as the remote may have it."""
    if settings.base is None:
        return repository.branch()
    return (
        settings.base.removeprefix("refs/heads/")
        .removeprefix("refs/remotes/")
        .removeprefix(f"{settings.remote}/")
    )


def run_directory(common: Path, run: str) -> Path:
    """Return the directory of a run's logs."""
    return common / "patchyard" / "runs" / run


def is_alive(common: Path, run: str) -> bool:
    """Whether a process still works on a run."""
    path = run_directory(common, run) / "lock"
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        with lock.acquire(blocking=False):
            return False
    except Timeout:
        return True


def describe(prepared: Prepared, run_id: str) -> Run:
    """Return the run as the store keeps it."""
    settings, plan = prepared.settings, prepared.plan
    kept: dict[str, Any] = {
        "remote": settings.remote,
        "github": settings.github,
        "labels": list(settings.labels),
        "reviewers": list(settings.reviewers),
        "secrets": list(settings.secrets),
        "draft": settings.draft,
        "auto_merge": settings.auto_merge,
        "agent": settings.agent,
    }
    return Run(
        id=run_id,
        plan_path=plan.path,
        plan_name=plan.name,
        plan_title=plan.title,
        plan_text=prepared.text,
        base=prepared.base,
        base_name=prepared.base_name,
        pool_size=settings.pool_size,
        status=RunStatus.RUNNING,
        started_at=now(),
        settings=kept,
    )


async def execute(prepared: Prepared, run_id: str, listener: Listener, *, signals: bool = True) -> RunFinished:
    """Run what was prepared, until it is done or a signal ends it.

    Raises:
        PatchyardError: The run could not go on.
    """
    repository, settings = prepared.repository, prepared.settings
    directory = run_directory(repository.common, run_id)
    directory.mkdir(parents=True, exist_ok=True)
    size = 1 if all(settings.mode_for(b) is Mode.LOCAL for b in prepared.plan.batches) else settings.pool_size
    pool = Pool(repository, prepared.worktrees, size, copy=settings.copy, keep=settings.keep)
    parts = Parts(
        repository=repository,
        pool=pool,
        runner=LocalRunner(prepared.call.environ),
        recorder=Recorder(lambda: Store.beside(repository.common), describe(prepared, run_id)),
        listener=listener,
        settings=settings,
        directory=directory,
        secrets=prepared.secrets,
    )
    stop = CancelScope()
    failure: PatchyardError | None = None
    finished: RunFinished | None = None
    with FileLock(directory / "lock"):
        async with anyio.create_task_group() as group:
            if signals:
                group.start_soon(_stop_on_signal, stop, listener)
            try:
                finished = await run(prepared.plan, parts, stop)
            except PatchyardError as error:
                failure = error
            group.cancel_scope.cancel()
    if finished is None:
        raise failure or AssertionError("a run ends with a result or with an error")
    return finished


async def _stop_on_signal(stop: CancelScope, listener: Listener) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as received:
        async for _ in received:
            listener.notify(
                Notice(
                    message="interrupted: the running tasks are being ended, their patches are kept",
                    level="warning",
                )
            )
            stop.cancel()
