"""What the functions of the Dagger module do: the flow, on the disk of the module's runtime."""

import io
import os
import re
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import dagger
from anyio import to_thread
from dagger import dag
from dagger.mod._exceptions import FunctionError
from opentelemetry import trace

from containers.dagger_engine.runner import EngineRunner
from containers.filesystem import remove
from containers.git.standalone import borrows, initialize
from containers.runner import Runner
from pipeline.config.settings import UnsetError
from pipeline.console import Lines, line, show, summary
from pipeline.dagger_module.changeset import MergedOutcomes, merge_outcomes, write_changeset
from pipeline.events import (
    Broadcast,
    ConflictFound,
    Event,
    Listener,
    Notice,
    Published,
    RunFinished,
    StepFinished,
    now,
)
from pipeline.forge.github_urls import api_url, parse_name, parse_remote, web_host
from pipeline.publish.service import Target, publish_run, target_for_call
from pipeline.report.exporter import export_run
from pipeline.run.execute import container_place, execute, recorder_for
from pipeline.run.prepare import Call, Prepared, left_out_warning, prepare
from pipeline.store.records import new_run_id
from pipeline.store.run_options import Selection
from pipeline.store.store import Store
from tasks.errors import PatchyardError, first_error
from tasks.model import Mode, RunStatus
from tasks.plan.parser import PlanError
from tasks.text import plural

HOME = Path("caller")
"""Where the caller's repository stands, below the runtime's working directory."""
WORKTREES = Path("worktrees")
PATCHES = Path("patches")
CHANGES = Path("changes")
OWN = frozenset({HOME, WORKTREES, PATCHES, CHANGES})
"""What stands there beside the plan."""
SETTINGS = ("patchyard.toml", "pyproject.toml", "patchyard.lock")
UNNEEDED = (".git/patchyard", ".git/worktrees", ".git/hooks", ".git/*.lock")
TRACER = trace.get_tracer("patchyard")
Source = dagger.Directory | dagger.Workspace
"""The caller's repository: one that was named, or the one that the call comes from."""


class ModuleError(FunctionError):
    """What a function fails with: its message is all that the caller sees, and no traceback is logged."""

    # Stands before the message, as on the command line.
    __module__ = "builtins"
    __qualname__ = "patchyard"


@dataclass(frozen=True, slots=True)
class Options:
    """What the functions that run a plan have in common."""

    pool_size: int | None = None
    start_batch: int | None = None
    end_batch: int | None = None
    tasks: Sequence[str] | None = None
    image: str | None = None
    agent: str | None = None
    secrets: Sequence[dagger.Secret] | None = None
    timeout: str | None = None
    fresh: bool = False
    keep_going: bool = False


class ModuleFiles:
    """The files of the module's runtime, which the engine knows by their path below its working directory."""

    def directory(
        self, _client: dagger.Client, path: Path, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> dagger.Directory:
        """Return a directory of the runtime, read afresh."""
        # The engine answers the same question from its cache; a pattern that fits nothing makes it another one.
        unheard = f"unheard-of-{secrets.token_hex(8)}"
        return dag.current_module().workdir(_below(path), include=list(include), exclude=[*exclude, unheard])

    async def export(self, directory: dagger.Directory, path: Path) -> None:
        """Write what is in a directory over one of the runtime."""
        await directory.export(_below(path))


def _below(path: Path) -> str:
    """Return a path as the engine knows it: below the runtime's working directory."""
    return os.path.relpath(path)


class Traced:
    """Hands events on, and shows each step under its task in the engine's own view of what happens."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def notify(self, event: Event) -> None:
        """Take note of an event."""
        self._listener.notify(event)
        if isinstance(event, StepFinished):
            began = event.time - timedelta(seconds=event.seconds)
            name = f"step {event.number}: {event.command}"
            span = TRACER.start_span(name, start_time=int(began.timestamp() * 1e9))
            if event.exit_code != 0:
                span.set_status(trace.StatusCode.ERROR, f"exit code {event.exit_code}")
            span.end(int(event.time.timestamp() * 1e9))


class ModuleRunners:
    """The engine that the module runs on, as the place where tasks run."""

    def span(self, name: str) -> AbstractContextManager[object]:
        """Open a span that shows under its name in the engine's own view."""
        return TRACER.start_as_current_span(name)

    @asynccontextmanager
    async def runners(
        self, prepared: Prepared, _directory: Path, _listener: Listener
    ) -> AsyncIterator[Mapping[Mode, Runner]]:
        """Give the runner for every mode: there are only containers here."""
        yield dict.fromkeys(Mode, EngineRunner(dag, replace(container_place(prepared), files=ModuleFiles())))


@dataclass(frozen=True, slots=True)
class Invocation:
    """A call of the module: the caller's repository on this disk, the plan, and what was asked for."""

    plan_path: str
    options: Options
    secrets: Mapping[str, str] = field(repr=False)
    has_history: bool = True
    here: dagger.Workspace | None = None
    """Where the call comes from, if that is the repository."""

    @classmethod
    async def at(cls, source: Source, plan: dagger.File | None, options: Options) -> "Invocation":
        """Put the caller's repository and the plan on this disk.

        Raises:
            ModuleError: There is no plan, or a secret has no name.
        """
        with plainly():
            has_history = await _bring(source)
        if plan is None:
            root = _part(source, include=["plan.md"])
            if not await root.exists("plan.md"):
                raise ModuleError("the repository has no plan.md; name a plan with --plan FILE")
            plan = root.file("plan.md")
        name = await plan.name()
        if Path(name) in OWN:
            raise ModuleError(f"a plan cannot be called {name}; name it {name}.md")
        await plan.export(name)
        named = {await _variable(secret): await secret.plaintext() for secret in options.secrets or ()}
        return cls(name, options, named, has_history, source if isinstance(source, dagger.Workspace) else None)

    def prepare(self, environ: Mapping[str, str], **flags: object) -> Prepared:
        """Check the call, as every door does. Blocks.

        Raises:
            ModuleError: The settings have what works from the host only.
            PatchyardError: Something is wrong with it.
        """
        options = self.options
        given = {
            "mode": "dagger",
            "pool_size": options.pool_size,
            "image": options.image,
            "agent": options.agent,
            "timeout": options.timeout,
            "fresh": options.fresh or None,
            "keep_going": options.keep_going or None,
            "secrets": tuple(self.secrets),
            "worktrees": str(WORKTREES.absolute()),
        }
        prepared = prepare(
            Call(
                plan_path=self.plan_path,
                repo=HOME,
                environ={**os.environ, **environ, **self.secrets},
                flags={**given, **flags},
                selection=Selection(options.start_batch, options.end_batch, tuple(options.tasks or ())),
            )
        )
        if prepared.settings.services:
            raise ModuleError(
                "the settings have [container.services], ports of a machine that the module cannot reach; use "
                "`patchyard run --mode dagger` on that machine"
            )
        return prepared

    async def run(self, environ: Mapping[str, str], **flags: object) -> "RunResult":
        """Run the plan, and publish what it leaves where that is asked for.

        Raises:
            ModuleError: The call is wrong, or the run could not go on; the message says why.
        """
        with plainly():
            prepared = await to_thread.run_sync(lambda: self.prepare(environ, **{"publish": False, **flags}))
            target = await to_thread.run_sync(self._target, prepared) if prepared.settings.publish else None
            told, opener = _Told(), partial(Store.beside, prepared.repository.common)
            recorder = await to_thread.run_sync(recorder_for, prepared, new_run_id(now()), opener)
            with recorder, Broadcast([Lines(sys.stdout), told]) as listener:
                traced = Traced(listener)
                finished = await execute(prepared, recorder, traced, place=ModuleRunners(), signals=False)
                failures = 0
                if target is not None:
                    failures = await to_thread.run_sync(_publish, opener, finished.run, target, listener)
            warnings = (*map(str, prepared.warnings), left_out_warning(prepared))
            return RunResult(prepared, finished, failures, (*filter(None, warnings), *told.lines))

    def _target(self, prepared: Prepared) -> Target:
        """Check, before any task runs, that what it leaves can be published. Blocks.

        Raises:
            ModuleError: It has no history that a pull request could be about.
            ForgeError: It cannot; the message says why.
        """
        if not self.has_history:
            raise ModuleError(
                "pull requests need the repository's history: call it from the repository's own directory, not "
                "from a linked worktree, a clone that borrows another's objects, or files without a .git"
            )
        push_over_https(prepared)
        return target_for_call(prepared)

    async def forge(self, token: dagger.Secret | None, api: str | None) -> dict[str, str]:
        """Return the environment in which GitHub is found."""
        found = {"GITHUB_TOKEN": await token.plaintext()} if token else {}
        return {**found, **({"GITHUB_API_URL": api} if api else {})}

    async def patches(self) -> dagger.Directory:
        """Run the plan, and return the directory of its patches and its report.

        Raises:
            ModuleError: The call is wrong, or the run could not go on.
        """
        ran = await self.run({})
        with plainly():
            await to_thread.run_sync(_write, ran, PATCHES)
        return dag.current_module().workdir(str(PATCHES))

    async def changes(self) -> dagger.Changeset:
        """Run the plan, and return the changes of all of its tasks together.

        Raises:
            ModuleError: A task failed, or two tasks conflict.
        """
        where = "." if self.here is None else await self.here.path()
        if where != ".":
            raise ModuleError(
                f"changes are applied to the directory that you call it from, which is {where} of the "
                "repository; call it from the repository's root"
            )
        ran = (await self.run({})).checked()
        with plainly():
            together = await to_thread.run_sync(_put_together, ran, CHANGES)
            files = ModuleFiles()
            before, after = (files.directory(dag, path) for path in (together.before, together.after))
            return after.changes(before)

    async def check(self) -> str:
        """Return what of the plan is run, and what goes to the agent.

        Raises:
            ModuleError: The plan has mistakes.
        """
        with plainly():
            prepared = await to_thread.run_sync(self.prepare, {})
        tasks = plural(len(prepared.plan.tasks), "task")
        batches = plural(len(prepared.plan.batches), "batch")
        notes = [str(warning) for warning in prepared.warnings]
        return "\n".join([*notes, f"{self.plan_path}: {tasks} in {batches}: the plan can be run"]) + "\n"


@dataclass(frozen=True, slots=True)
class RunResult:
    """A run that is over: its result, how many tasks could not be published, and what there is to say of it."""

    prepared: Prepared
    finished: RunFinished
    failures: int
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The table and the figure, as the command line prints them."""
        shown = io.StringIO()
        show(summary(self.finished), shown)
        return "\n".join([*self.notes, shown.getvalue().strip("\n")]) + "\n"

    def checked(self) -> "RunResult":
        """Return it, if all went well.

        Raises:
            ModuleError: A task failed, or could not be published; the message has the table.
        """
        if self.finished.status is not RunStatus.SUCCEEDED:
            bad = sum(1 for outcome in self.finished.outcomes if not outcome.succeeded)
            raise ModuleError(f"{plural(bad, 'task')} did not succeed\n{self.text}")
        if self.failures:
            raise ModuleError(f"{plural(self.failures, 'task')} could not be published\n{self.text}")
        return self


class _Told:
    """Keeps what a run said beside its table: conflicts, pull requests, notices."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def notify(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, ConflictFound | Published | Notice) and (text := line(event)):
            self.lines.append(text)

    def close(self) -> None:
        """Everything is kept already."""


@contextmanager
def plainly() -> Iterator[None]:
    """Let errors of the program be those of the function: their message is all that the caller sees."""
    try:
        yield
    except PatchyardError as error:
        raise _plain(error) from None
    except ExceptionGroup as errors:
        raise _plain(first_error(errors)) from None


def _plain(error: BaseException) -> ModuleError:
    """Return an error as that of the function."""
    match error:
        case ModuleError():
            return error
        case PlanError():
            return ModuleError("\n".join(map(str, error.diagnostics)))
        case UnsetError():
            ways = " or ".join(f"--secret env:{name}" for name in error.names)
            return ModuleError(f"{' or '.join(error.names)} {error.why}; give it with {ways}")
        case PatchyardError():
            return ModuleError(str(error))
    name = type(error).__name__
    return ModuleError(f"something went wrong that should not, please report it: {name}: {error}")


async def _variable(secret: dagger.Secret) -> str:
    """Return the name of the variable that a secret goes by.

    Raises:
        ModuleError: It has none.
    """
    name = (await secret.uri()).rpartition(":")[2].rpartition("/")[2]
    if not name.isidentifier():
        raise ModuleError(f"a secret needs the name of a variable; give it as env:NAME, not as {name!r}")
    return name


def push_over_https(prepared: Prepared) -> None:
    """Let this disk's own copy of the repository push with the token: there are no keys for ssh here. Blocks.

    Raises:
        ModuleError: It has no remote, and nobody says which repository is meant.
    """
    repository, remote, github = prepared.repository, prepared.settings.remote, prepared.settings.github
    url = repository.remote(remote).url() or ""
    if not (url or github):
        raise ModuleError(
            f"the repository has no remote {remote}; name the one on GitHub with --github owner/repo"
        )
    if url.startswith(("http://", "https://")):
        return
    api = api_url(prepared.call.environ, None)
    if found := parse_remote(url) or parse_name(github or "", web_host(api)):
        # GitHub on a host of one's own may be behind another port than the usual one, as its API is.
        place = re.match(r"https?://(?P<host>[^/:]+)(:\d+)?", api)
        web = place[0] if place and place["host"] == found.host else f"https://{found.host}"
        repository.remote(remote).set_url(f"{web}/{found.full_name}.git")


def _part(source: Source, *, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> dagger.Directory:
    """Return a part of the caller's files. Nothing else is sent here, where the call comes from them."""
    if isinstance(source, dagger.Workspace):
        return source.directory("/", include=list(include), exclude=list(exclude))
    return source.filter(include=list(include), exclude=list(exclude))


async def _bring(source: Source) -> bool:
    """Put a repository on this disk: its git directory, and the settings that stand in its tree.

    Returns whether it has its history.
    """
    await _part(source, include=[".git", *SETTINGS], exclude=UNNEEDED).export(str(HOME))
    git = HOME / ".git"
    if git.is_dir() and not borrows(git):
        return True
    # A linked worktree, a clone that borrows objects of another, or a directory without git: its files become a
    # repository of one commit.
    await _part(source, exclude=[".git"]).export(str(HOME))
    await to_thread.run_sync(remove, git)
    await to_thread.run_sync(initialize, HOME, dict(os.environ))
    return False


def _put_together(ran: RunResult, directory: Path) -> MergedOutcomes:
    repository, base = ran.prepared.repository, ran.prepared.base
    united = merge_outcomes(repository, base, ran.finished.outcomes)
    return write_changeset(repository, base, united, directory.absolute())


def _publish(opener: Callable[[], Store], run: str, target: Target, listener: Listener) -> int:
    """Publish a stored run, and return how many of its tasks could not be published. Blocking."""
    with opener() as store:
        return publish_run(store, run, target, listener)


def _write(ran: RunResult, directory: Path) -> None:
    repository = ran.prepared.repository
    with Store.beside(repository.common) as store:
        export_run(repository, store, store.run(ran.finished.run), directory)
