"""Builds what the flow needs from what a door was told: shared by every door."""

import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    nullcontext,
)
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Protocol

import anyio
from anyio import CancelScope, to_thread
from filelock import FileLock, Timeout

from containers.agents import is_usable, secrets_of, what_lacks
from containers.engine import Place
from containers.engines import Engine, Engines
from containers.git import Repository
from containers.images import Resolver
from containers.local import LocalRunner
from containers.runner import Runner
from containers.worktrees import Pool, default_directory
from pipeline.config import (
    DEFAULT_BRANCH,
    ConfigError,
    Settings,
    Sources,
    load,
    secret_values,
    variables_of,
)
from pipeline.control import Control, first_lease_seconds, host_name, lease_seconds, new_owner
from pipeline.events import Listener, Notice, RunFinished, now
from pipeline.flow import Parts, run
from pipeline.lock import Lock, images_of
from pipeline.recorder import Recorder
from pipeline.records import Run, StoredTask
from pipeline.results import Results
from pipeline.salvage import salvager
from pipeline.signing import who_commits
from pipeline.store import Store
from tasks.errors import PatchyardError
from tasks.model import Mode, Plan, RunStatus
from tasks.plan import Diagnostic, Parsed, PlanError, parse
from tasks.schedule import left_out, select
from tasks.secrets import Secrets

GLANCE = 2.0
"""Seconds that whoever only looks whether a run is locked may hold its lock at most."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a run early."""


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
    left_out: tuple[str, ...] = ()
    masked: bool = False  # whether `text` lacks a secret that the plan holds

    @property
    def worktrees(self) -> Path:
        """The directory that the pool's worktrees stand in."""
        if self.settings.worktrees is None:
            return default_directory(self.repository)
        return self.settings.worktrees


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


def prepare(call: Call, *, text: str | None = None, base: str | None = None) -> Prepared:
    """Check a call: the repository, the settings, the plan, the base.

    Args:
        call: What the door was told.
        text: The plan's, where it is not to be read from its file.
        base: The commit to start from, where that is known.

    Raises:
        PlanError: The plan has mistakes; all of them are in it.
        PatchyardError: Something else is wrong; the message says what.
    """
    repository = Repository.open(call.repo, call.environ)
    sources = load(call.flags, call.environ, repository.root)
    data = read_plan(call.plan_path) if text is None else text.encode(errors="surrogateescape")
    parsed = parse_plan(data, call.plan_path, sources, call.environ)
    if parsed.plan is None:
        raise PlanError(parsed.diagnostics)
    settings = sources.resolve(parsed.plan.settings)
    selection = call.selection
    plan = select(
        parsed.plan, start_batch=selection.start_batch, end_batch=selection.end_batch, tasks=selection.tasks
    )
    check_agents(plan, settings, call.environ)
    settings = _locked(settings, plan, repository.root)
    _check_branch(plan, settings, repository)
    secrets = _secrets(plan, settings, call.environ)
    return Prepared(
        call=call,
        repository=repository,
        text=secrets.mask_text(data.decode(errors="replace")),
        masked=secrets.mask_text(data.decode(errors="replace")) != data.decode(errors="replace"),
        plan=plan,
        warnings=parsed.diagnostics,
        settings=settings,
        secrets=secrets,
        base=repository.resolve(base or settings.base or "HEAD"),
        base_name=_base_name(repository, settings),
        left_out=left_out(parsed.plan, plan),
    )


def check_agents(plan: Plan, settings: Settings, environ: Mapping[str, str]) -> None:
    """Check the agents that settings outside of the plan name; those that the plan names were checked with it.

    Raises:
        ConfigError: One is neither declared nor a program of this machine, where it would run, or lacks
            what it needs.
    """
    for batch in plan.batches:
        contained = settings.mode_for(batch) is Mode.DAGGER
        for task in (task for task in batch.tasks if not task.completed):
            agent = settings.agent_for(task)
            if agent is None:
                continue
            if not contained and not is_usable(agent.name, settings.agents, environ.get("PATH", "")):
                raise ConfigError(
                    f"agent: {agent.name!r}, for task {task.id}, is neither declared nor a program; "
                    f"declare it as [agents.{agent.name}], or name a command"
                )
            if lacks := what_lacks(agent, environ, contained=contained):
                raise ConfigError(f"task {task.id}: {lacks}")


def _secrets(plan: Plan, settings: Settings, environ: Mapping[str, str]) -> Secrets:
    """Return the secrets that the settings name, and those that the plan's agents can use.

    Raises:
        ConfigError: One that the settings name is not set.
    """
    values = secret_values(settings.secrets, environ)
    agents = (settings.agent_for(task) for task in plan.tasks if not task.completed)
    for agent in filter(None, agents):
        values |= secrets_of(agent, environ)
    # A file of the repository is no place for a secret; what the caller names may be one.
    url = settings.notify if "notify" in settings.forced else None
    return Secrets(values, hidden={"PATCHYARD_NOTIFY": url} if url else {})


def _locked(settings: Settings, plan: Plan, root: Path) -> Settings:
    """Return the settings with the digests of `patchyard.lock`.

    Raises:
        LockError: The file is not as it should be, or `locked` is set and an image of the plan is not in it.
    """
    names = images_of(plan, settings, [Mode.DAGGER])
    if not names:
        return settings
    lock = Lock.beside(root)
    if settings.locked:
        lock.check(names)
    return replace(settings, pins=lock.images)


async def _with_digests(settings: Settings, plan: Plan, runners: Mapping[Mode, Runner]) -> Settings:
    """Return the settings with the digests of images that are not locked: one for the length of the run."""
    runner = runners.get(Mode.DAGGER)
    names = [name for name in images_of(plan, settings, [Mode.DAGGER]) if name not in settings.pins]
    if not names or not isinstance(runner, Resolver):
        return settings
    return replace(settings, pins={**settings.pins, **await runner.digests(names)})


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


@dataclass(frozen=True, slots=True)
class Before:
    """What a run has done before it is taken up: tasks with a result, attempts by task, and its seconds."""

    tasks: Mapping[str, StoredTask] = field(default_factory=dict)
    attempts: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def describe(prepared: Prepared, run_id: str, *, repository: str = "") -> Run:
    """Return the run as the store keeps it, claimed by this process.

    `repository` is what clones of it have in common, where they share a database.
    """
    environ = prepared.call.environ
    settings, plan, mask = prepared.settings, prepared.plan, prepared.secrets.mask_text
    kept: dict[str, Any] = {
        "remote": settings.remote,
        "github": settings.github,
        "labels": list(settings.labels),
        "reviewers": list(settings.reviewers),
        "secrets": list(prepared.secrets.values),
        "draft": settings.draft,
        "auto_merge": settings.auto_merge,
        "agent": settings.agent and mask(settings.agent),
        "publish": settings.publish,
    }
    started = now()
    return Run(
        id=run_id,
        plan_path=mask(plan.path),
        plan_name=plan.name,
        plan_title=mask(plan.title),
        plan_text=prepared.text,
        base=prepared.base,
        base_name=prepared.base_name,
        pool_size=settings.pool_size,
        status=RunStatus.RUNNING,
        started_at=started,
        settings=kept,
        repository=repository,
        host=host_name(environ),
        directory=str(run_directory(prepared.repository.common, run_id)),
        call=_told(prepared, started),
        owner=new_owner(environ),
        lease_until=started + timedelta(seconds=first_lease_seconds(environ)),
    )


def _told(prepared: Prepared, started: datetime) -> dict[str, Any]:
    """Return what it takes to prepare the same call once more, as far as that is no secret."""
    call, mask = prepared.call, prepared.secrets.mask_text
    named = {name: value for name, value in call.flags.items() if value is not None and value != ()}
    told = {**variables_of(call.environ), **named, "branch": prepared.settings.branch}
    if prepared.settings.worktrees:
        told["worktrees"] = str(prepared.settings.worktrees)
    flags = {
        name: mask(value)
        if isinstance(value, str)
        else [*map(str, value)]
        if isinstance(value, tuple)
        else value
        for name, value in told.items()
        if name not in {"base", "notify"}
    }
    selection = call.selection
    return {
        "flags": flags,
        "selection": {
            "start_batch": selection.start_batch,
            "end_batch": selection.end_batch,
            "tasks": list(selection.tasks),
        },
        "masked": prepared.masked,
        "who": who_commits(prepared.repository, started),
    }


def recorder_for(
    prepared: Prepared, run_id: str, opener: Callable[[], Store], repository: str = ""
) -> Recorder:
    """Return the recorder of a new run."""
    run = describe(prepared, run_id, repository=repository)

    def claim(store: Store) -> None:
        store.open_run(run)
        store.act_as(run.id, run.owner or "")

    return Recorder(opener, run, claim)


async def execute(  # noqa: PLR0913 - what one run is made of, all of it named
    prepared: Prepared,
    recorder: Recorder,
    listener: Listener,
    *,
    before: Before | None = None,
    place: "PlaceToRun | None" = None,
    signals: bool = True,
) -> RunFinished:
    """Run what was prepared, until it is done or a signal ends it.

    Args:
        prepared: What `prepare` returned.
        recorder: Keeps the run; the door lets go of it.
        listener: Is told of events.
        before: What the run has done already, when it is taken up.
        place: Where the tasks run, when it is not this host.
        signals: Whether signals to this process end the run.

    Raises:
        PatchyardError: The run could not go on.
    """
    repository, settings = prepared.repository, prepared.settings
    directory = run_directory(repository.common, recorder.run.id)
    before = before or Before()
    environ = prepared.call.environ
    size = 1 if all(settings.mode_for(b) is Mode.LOCAL for b in prepared.plan.batches) else settings.pool_size
    salvage = salvager(recorder.opener, environ)
    pool = Pool(repository, prepared.worktrees, size, copy=settings.copy, keep=settings.keep, salvage=salvage)
    results = Results(repository, prepared.secrets, pool.digest_of_copies, reads=not settings.fresh)
    stop = CancelScope()
    failure: PatchyardError | None = None
    finished: RunFinished | None = None
    async with _held(directory), anyio.create_task_group() as group:
        if signals:
            group.start_soon(_stop_on_signal, stop, listener)
        try:
            async with (place or Host()).runners(prepared, directory, listener) as runners:
                parts = Parts(
                    repository=repository,
                    pool=pool,
                    runners=runners,
                    recorder=recorder,
                    listener=listener,
                    settings=await _with_digests(settings, prepared.plan, runners),
                    directory=directory,
                    secrets=prepared.secrets,
                    span=(place or Host()).span,
                    before=before.tasks,
                    attempts=before.attempts,
                    seconds=before.seconds,
                    control=Control(recorder.run.owner, lease_seconds(environ)),
                    results=None if settings.no_cache or place else results,
                )
                finished = await run(prepared.plan, parts, stop)
        except PatchyardError as error:
            failure = error
        group.cancel_scope.cancel()
    if finished is None:
        raise failure or AssertionError("a run ends with a result or with an error")
    return finished


@asynccontextmanager
async def _held(directory: Path) -> AsyncIterator[None]:
    """Make a run's directory, and hold the lock by which others see that a process works on the run."""
    lock = FileLock(directory / "lock", thread_local=False)

    def take() -> None:
        directory.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=GLANCE)

    try:
        await to_thread.run_sync(take)
    except Timeout:
        raise CallError(f"another process works on run {directory.name}") from None
    except OSError as error:
        raise CallError(f"cannot write to {directory}: {error.strerror}; make it writable") from None
    try:
        yield
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(lock.release)


class PlaceToRun(Protocol):
    """Gives the runners of a run, and shows what it is doing to whoever watches that place."""

    def runners(
        self, prepared: Prepared, directory: Path, listener: Listener
    ) -> AbstractAsyncContextManager[Mapping[Mode, Runner]]:
        """Give the runner for each mode that the plan asks for."""
        ...

    def span(self, name: str) -> AbstractContextManager[object]:
        """Show that something with a name goes on while the context is open."""
        ...


class Host:
    """This machine, and the engines that it reaches."""

    def span(self, _name: str) -> AbstractContextManager[object]:
        """Show nothing: whoever watches is told by events."""
        return nullcontext()

    @asynccontextmanager
    async def runners(
        self, prepared: Prepared, directory: Path, listener: Listener
    ) -> AsyncIterator[Mapping[Mode, Runner]]:
        """Give the runner for each mode that the plan asks for.

        Raises:
            EngineError: The plan asks for containers, and no engine answers.
        """
        settings = prepared.settings
        local = LocalRunner(prepared.call.environ)
        runners: dict[Mode, Runner] = {Mode.LOCAL: local, Mode.PARALLEL: local}
        if all(settings.mode_for(batch) is not Mode.DAGGER for batch in prepared.plan.batches if batch.tasks):
            yield runners
            return
        engines = Engines(
            [Engine.parse(url) for url in settings.engines],
            container_place(prepared),
            prepared.call.environ,
            directory / "dagger.log",
            on_notice=lambda told: listener.notify(Notice(message=told, level="warning")),
        )
        async with engines:
            yield {**runners, Mode.DAGGER: engines}


def container_place(prepared: Prepared) -> Place:
    """Return what the containers of a run have in common."""
    settings = prepared.settings
    return Place(
        common=prepared.repository.common,
        identity=prepared.repository.identity(),
        depth=settings.depth,
        caches=settings.caches,
        copy=settings.copy,
        fresh=settings.fresh,
        services=settings.services,
    )


async def _stop_on_signal(stop: CancelScope, listener: Listener) -> None:
    # One that whoever started the program ignores (`nohup`, `&` in a script) stays ignored.
    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    with anyio.open_signal_receiver(*heeded) as received:
        async for _ in received:
            if not stop.cancel_called:
                message = "interrupted: the running tasks are being ended, their patches are kept"
                listener.notify(Notice(message=message, level="warning"))
            stop.cancel()
