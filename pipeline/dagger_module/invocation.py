"""One call of the Dagger module: run a plan on the disk of the module's runtime."""

import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import dagger
from anyio import to_thread
from dagger import dag

from pipeline.broadcast import Broadcast, Listener
from pipeline.console import Lines, Wording, summary
from pipeline.dagger_module.changeset import MergedOutcomes, merge_outcomes, write_changeset
from pipeline.dagger_module.errors import ModuleError, translate_errors
from pipeline.dagger_module.runners import ModuleRunners, TracingListener, below, unused
from pipeline.dagger_module.source import (
    HOME,
    Source,
    import_plan,
    import_repository,
    push_over_https,
    variable_name,
)
from pipeline.events import ConflictFound, Event, Notice, Published, RunFinished, now
from pipeline.publish.service import Target, publish_run, target_for_call
from pipeline.renderables import show
from pipeline.report.exporter import export_run
from pipeline.run.call.agents import no_agent
from pipeline.run.call.prepare import Call, Prepared, left_out_warning, prepare
from pipeline.run.execute import execute, recorder_for
from pipeline.run.stored.verdicts import with_stored_facts
from pipeline.store.records import Run, new_run_id
from pipeline.store.run_options import Selection
from pipeline.store.store import Store
from pipeline.verdict.words import headline
from tasks.dialects.wording import named, nothing_left, nothing_to_start
from tasks.outcome import RunStatus
from tasks.text import plural

WORKTREES = Path("worktrees")
PATCHES = Path("patches")
CHANGES = Path("changes")
OWN = frozenset({HOME, WORKTREES, PATCHES, CHANGES})
"""Directories of the runtime's working directory, which also holds the plan."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """A call of the module: the caller's repository on this disk, the plan, and the arguments."""

    plan_path: str
    flags: Mapping[str, object] = field(default_factory=dict)
    """Settings by name; `None` is "not given"."""
    selection: Selection = field(default_factory=Selection)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    has_history: bool = True
    workspace: dagger.Workspace | None = None
    """The directory that the call comes from, if that is the repository."""

    @classmethod
    async def open(
        cls,
        source: Source,
        plan: dagger.File | str | None,
        *,
        flags: Mapping[str, object],
        selection: Selection,
        secrets: Sequence[dagger.Secret] = (),
    ) -> "Invocation":
        """Copy the caller's repository and the plan, a file or a path in the repository, to this disk.

        Raises:
            ModuleError: There is no plan, or a secret has no name.
        """
        with translate_errors():
            has_history = await import_repository(source)
        if plan is None or isinstance(plan, str):
            name = await import_plan(source, plan or "plan.md", [str(own) for own in OWN])
        else:
            name = await plan.name()
            if Path(name) in OWN:
                raise ModuleError(f"a plan cannot be called {name}; name it {name}.md")
            await plan.export(name)
        named = {await variable_name(secret): await secret.plaintext() for secret in secrets}
        workspace = source if isinstance(source, dagger.Workspace) else None
        return cls(name, flags, selection, named, has_history, workspace)

    def prepare(self, environ: Mapping[str, str], **flags: object) -> Prepared:
        """Check the call, as every entry point does. Blocking.

        Raises:
            ModuleError: The settings name services, which the module cannot reach.
            PatchyardError: Something is wrong with it.
        """
        given = {
            **self.flags,
            "mode": "dagger",
            "secrets": tuple(self.secrets),
            "worktrees": str(WORKTREES.absolute()),
            **flags,
        }
        prepared = prepare(
            Call(
                plan_path=self.plan_path,
                repo=HOME,
                environ={**os.environ, **environ, **self.secrets},
                flags=given,
                selection=self.selection,
            )
        )
        if prepared.settings.services:
            raise ModuleError(
                "the settings have [container.services], ports of a machine that the module cannot reach; use "
                "`patchyard run --mode dagger` on that machine"
            )
        return prepared

    async def run(self, environ: Mapping[str, str], *, publish: bool = False) -> "RunResult":
        """Run the plan, and with `publish` push its branches and open pull requests.

        Raises:
            ModuleError: The call is wrong, or the run could not continue; the message says why.
        """
        with translate_errors():
            prepared = await to_thread.run_sync(lambda: self.prepare(environ, publish=publish))
            warnings = tuple(map(str, prepared.warnings))
            if left := nothing_to_start(prepared.plan):
                notice = f"{prepared.plan.path}: {left}: nothing is left to run"
                return RunResult(prepared, None, 0, (*warnings, notice))
            target = await to_thread.run_sync(self._target, prepared) if prepared.settings.publish else None
            messages, opener = _MessageRecorder(), partial(Store.beside, prepared.repository.common)
            recorder = await to_thread.run_sync(recorder_for, prepared, new_run_id(now()), opener)
            with recorder, Broadcast([Lines(sys.stdout), messages]) as listener:
                traced = TracingListener(listener)
                finished = await execute(prepared, recorder, traced, provider=ModuleRunners(), signals=False)
                failures = 0
                if target is not None:
                    failures = await to_thread.run_sync(_publish, opener, finished.run, target, listener)
                finished = await to_thread.run_sync(_with_stored_facts, opener, recorder.run, finished)
            left_out = filter(None, [left_out_warning(prepared)])
            return RunResult(prepared, finished, failures, (*warnings, *left_out, *messages.lines))

    def _target(self, prepared: Prepared) -> Target:
        """Check, before any task runs, that the run can be published. Blocking.

        Raises:
            ModuleError: The repository has no history to base a pull request on.
            ForgeError: It cannot be published; the message says why.
        """
        if not self.has_history:
            raise ModuleError(
                "pull requests need the repository's history: call it from the repository's own directory, not "
                "from a linked worktree, a clone that borrows another's objects, or files without a .git"
            )
        push_over_https(prepared)
        return target_for_call(prepared)

    async def github_environment(self, token: dagger.Secret | None, api: str | None) -> dict[str, str]:
        """Return the environment variables that GitHub's address and token are read from."""
        found = {"GITHUB_TOKEN": await token.plaintext()} if token else {}
        return {**found, **({"GITHUB_API_URL": api} if api else {})}

    async def patches(self) -> dagger.Directory:
        """Run the plan, and return the directory of its patches and its report.

        Raises:
            ModuleError: The call is wrong, or the run could not continue.
        """
        result = await self.run({})
        with translate_errors():
            await to_thread.run_sync(_export, result, PATCHES)
        return dag.current_module().workdir(str(PATCHES))

    async def changes(self) -> dagger.Changeset:
        """Run the plan, and return the changes of all its tasks as one changeset.

        Raises:
            ModuleError: A task failed, or two tasks conflict.
        """
        where = "." if self.workspace is None else await self.workspace.path()
        if where != ".":
            raise ModuleError(
                f"changes are applied to the directory that you call it from, which is {where} of the "
                "repository; call it from the repository's root"
            )
        result = (await self.run({})).checked()
        with translate_errors():
            merged = await to_thread.run_sync(_merge_changes, result, CHANGES)
            module = dag.current_module()
            before, after = (
                module.workdir(below(path), exclude=[unused()]) for path in (merged.before, merged.after)
            )
            return after.changes(before)

    async def check(self) -> str:
        """Return the plan's warnings, and how many tasks it has.

        Raises:
            ModuleError: The plan has mistakes.
        """
        with translate_errors():
            prepared = await to_thread.run_sync(self.prepare, {})
        plan = prepared.plan
        nobody = no_agent(plan, prepared.batches, prepared.settings, prepared.call.environ)
        notes = [str(warning) for warning in (*prepared.warnings, *([nobody] if nobody else []))]
        extent = plural(len(plan.tasks), "task")
        if plan.has_batches:
            extent += f" in {plural(len(plan.batches), 'batch')}"
        else:
            items = plural(plan.items, "item")
            notes.append(f"{named(plan.dialect)}: a task per {plan.unit} ({items}), order {plan.order}")
        verdict = nothing_left(plan) or ("the plan needs an agent" if nobody else "the plan can be run")
        return "\n".join([*notes, f"{self.plan_path}: {extent}: {verdict}"]) + "\n"


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run: its result, the number of tasks that could not be published, and its messages.

    `finished` is `None` where nothing was left to run.
    """

    prepared: Prepared
    finished: RunFinished | None
    failures: int
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The messages, and the summary that the command line prints."""
        shown = io.StringIO()
        if self.finished:
            show(summary(self.finished), shown)
        return "\n".join([*self.notes, shown.getvalue().strip("\n")]).rstrip("\n") + "\n"

    def checked(self) -> "RunResult":
        """Return this result if every task succeeded.

        Raises:
            ModuleError: A task failed, or could not be published; the message has the table.
        """
        if self.finished and self.finished.status is not RunStatus.SUCCEEDED:
            raise ModuleError(f"{headline(self.finished.verdict)}\n{self.text}")
        if self.failures:
            raise ModuleError(f"{plural(self.failures, 'task')} could not be published\n{self.text}")
        return self


class _MessageRecorder:
    """Record the messages that a run prints beside its table: conflicts, pull requests, notices."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._wording = Wording()

    def notify(self, event: Event) -> None:
        """Record the line of an event that has one."""
        text = self._wording.line(event)
        if text and isinstance(event, ConflictFound | Published | Notice):
            self.lines.append(text)

    def close(self) -> None:
        """Do nothing: no line is buffered."""


def _merge_changes(result: RunResult, directory: Path) -> MergedOutcomes:
    repository, base = result.prepared.repository, result.prepared.base
    outcomes = result.finished.outcomes if result.finished else ()
    merged_commit = merge_outcomes(repository, base, outcomes)
    return write_changeset(repository, base, merged_commit, directory.absolute())


def _publish(opener: Callable[[], Store], run: str, target: Target, listener: Listener) -> int:
    """Publish a stored run, and return how many of its tasks could not be published. Blocking."""
    with opener() as store:
        return publish_run(store, run, target, listener)


def _with_stored_facts(opener: Callable[[], Store], run: Run, finished: RunFinished) -> RunFinished:
    """Return the end of a run with its pull requests. Blocking."""
    with opener() as store:
        return with_stored_facts(store, run, finished, publishes=run.settings.publish)


def _export(result: RunResult, directory: Path) -> None:
    repository = result.prepared.repository
    directory.mkdir(exist_ok=True)
    if result.finished is None:
        return
    with Store.beside(repository.common) as store:
        export_run(repository, store, store.run(result.finished.run), directory)
