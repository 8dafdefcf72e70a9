"""A Dagger container as the place where a task runs.

The task's tree comes from the repository itself, as git has it at the task's start, with a `.git` of its own:
git works in it, for any user, and no task sees another's or the repository. All steps are one exec, since an
exec costs more than a second. What changed is exported into the worktree, where the same git as everywhere takes
the patch. `dagger` is imported where it is used: it takes a second.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

import anyio
from anyio import get_cancelled_exc_class, to_thread

from containers import driver
from containers.git import Identity
from containers.images import digests
from containers.runner import Job, RunnerError, TaskLog, Watcher
from containers.worktrees import Worktree
from tasks.model import Step, StepKind, StepResult

if TYPE_CHECKING:
    from dagger import Changeset, Client, Container, Directory

WORK = "/work"
"""Where a task's tree stands in its container."""
DEFAULT_IMAGE = "python:3.13"
"""Has git, a shell and Python; the default where nothing names an image."""
UNSEEN = (".git",)
NOT_REPOSITORY = ("worktrees", "hooks", "patchyard", "*.lock")
PATIENCE = 20.0
"""Seconds that an engine may take to say that it is there."""
OLDER = 1.5
"""Seconds by which a result must be older than its call to count as taken from the cache."""


class EngineError(RunnerError):
    """There is no engine, or it has gone."""

    exit_code: ClassVar[int] = 4


class Files(Protocol):
    """How files get from here into an engine, and back."""

    def directory(self, client: "Client", path: Path, exclude: Sequence[str] = ()) -> "Directory":
        """Return a directory of this machine, read afresh."""
        ...

    async def export(self, changes: "Changeset", path: Path) -> None:
        """Apply changes to a directory of this machine."""
        ...


class HostFiles:
    """The files of the machine that the client runs on."""

    def directory(self, client: "Client", path: Path, exclude: Sequence[str] = ()) -> "Directory":
        """Return a directory of the host, read afresh."""
        return client.host().directory(str(path), exclude=list(exclude), no_cache=True)

    async def export(self, changes: "Changeset", path: Path) -> None:
        """Apply changes to a directory of the host."""
        await changes.export(str(path))


@dataclass(frozen=True, slots=True)
class Place:
    """What the containers of a run have in common.

    `common` is the repository's common git directory. `identity` is whose name commits made inside carry.
    `depth` is how many commits of history a task sees, 0 for all. `caches` are directories that containers
    keep between tasks and runs. `copy` are patterns of files in the worktree that git does not have. `fresh`
    runs again what the engine has cached.
    """

    common: Path
    identity: Identity
    depth: int = 1
    caches: tuple[str, ...] = ()
    copy: tuple[str, ...] = ()
    fresh: bool = False
    files: Files = field(default_factory=HostFiles)


class EngineRunner:
    """Runs tasks as containers of one engine."""

    def __init__(self, client: "Client", place: Place) -> None:
        self._client = client
        self._place = place

    async def digests(self, names: Iterable[str]) -> Mapping[str, str]:
        """Return the digests of images by name, without those that are not to be had."""
        return await digests(self._client, names)

    async def run(self, job: Job, worktree: Worktree, watcher: Watcher) -> tuple[StepResult, ...]:
        """Run the job's steps in a container, and bring what they changed into the worktree.

        All steps are one exec: the watcher is told of each when the exec has ended.

        Raises:
            EngineError: The engine has gone.
        """
        began = time.time()
        log = await to_thread.run_sync(TaskLog, job.log, job.secrets)
        telling = _Telling(job, watcher, log)
        try:
            await self._run(job, worktree, telling, began)
        except get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await telling.interrupted(time.time() - began)
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(log.__exit__, None, None, None)
        return tuple(telling.results)

    async def _run(self, job: Job, worktree: Worktree, telling: "_Telling", began: float) -> None:
        """Build the container, run it, read how it went, and export what changed."""
        before = await self._tree(job, worktree)
        container = self._container(job, before)
        numbered = dict(enumerate(job.steps, 1))
        setup = {number: step for number, step in numbered.items() if step.kind is StepKind.SETUP}
        rest = {number: step for number, step in numbered.items() if step.kind is not StepKind.SETUP}
        for part in (setup, rest):
            if not part:
                continue
            await telling.begin(part)
            container = self._with_steps(container, job, part)
            ended = await self._ended(container, began)
            await telling.ended(part, ended)
            if telling.failed:
                break
            if part is setup:
                before = container.directory(WORK)
        if not telling.lost:
            await self._export(before, container.directory(WORK), job, worktree)

    async def _tree(self, job: Job, worktree: Worktree) -> "Directory":
        """Return the tree that the task starts from, with a `.git` of its own."""
        place = self._place
        git = place.files.directory(self._client, place.common, NOT_REPOSITORY).as_git()
        tree = git.ref(job.start).tree(depth=place.depth)
        if place.copy:
            copied = place.files.directory(self._client, worktree.path, UNSEEN)
            tree = tree.with_directory("/", copied, include=list(place.copy))
        return tree

    def _container(self, job: Job, tree: "Directory") -> "Container":
        client, place = self._client, self._place
        container = client.container().from_(job.image or DEFAULT_IMAGE)
        for command in job.layers:
            container = container.with_exec(["sh", "-e", "-c", command])
        for path in place.caches:
            container = container.with_mounted_cache(path, client.cache_volume(f"patchyard{path}"))
        container = container.with_workdir(WORK).with_mounted_directory(WORK, tree)
        for name, value in self._variables(job).items():
            container = container.with_env_variable(name, value)
        for name, value in job.secrets.values.items():
            container = container.with_secret_variable(name, client.set_secret(name, value))
        return container

    def _variables(self, job: Job) -> Mapping[str, str]:
        """Return the container's own variables.

        The run's id is among them only where nothing is to come from the cache: it would be another every time.
        """
        who = self._place.identity
        names = {
            f"GIT_{role}_{part}": value
            for role in ("AUTHOR", "COMMITTER")
            for part, value in (("NAME", who.name), ("EMAIL", who.email))
        }
        safe = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
        own = {"PATCHYARD_TASK": job.task, **({"PATCHYARD_RUN": job.run} if self._place.fresh else {})}
        return {**names, **safe, **job.environment, **own}

    def _with_steps(self, container: "Container", job: Job, steps: Mapping[int, Step]) -> "Container":
        from dagger import ReturnType  # noqa: PLC0415 - slow; see above

        own = self._client.directory().with_new_file(
            "run", driver.script(steps, timeout=job.timeout, grace=job.grace), permissions=0o755
        )
        for name, text in driver.inputs(steps).items():
            own = own.with_new_file(name, text)
        return container.with_mounted_directory(driver.HOME, own).with_exec(
            ["sh", f"{driver.HOME}/run"], expect=ReturnType.ANY
        )

    async def _ended(self, container: "Container", began: float) -> "_Ended":
        """Evaluate the exec, and return how its steps went; what cannot run at all is an ending too."""
        asked = time.monotonic()

        async def read() -> _Ended:
            await container.exit_code()
            results = await container.file(driver.RESULTS).contents()
            output = await container.stdout()
            since = driver.began(results)
            return _Ended(
                driver.records(results), driver.outputs(output), cached=bool(since and since < began - OLDER)
            )

        ended = await self._guarded(read)
        return replace(ended, seconds=time.monotonic() - asked)

    async def _export(self, before: "Directory", after: "Directory", job: Job, worktree: Worktree) -> None:
        """Bring what changed into the worktree: not `.git`, and nothing that git ignores."""
        kept = await to_thread.run_sync(worktree.checkout.tracked_ignored)

        def seen(tree: "Directory") -> "Directory":
            shown = self._client.directory().with_directory("/", tree, exclude=list(UNSEEN), gitignore=True)
            return shown.with_directory("/", tree, include=list(kept)) if kept else shown

        changes = seen(after).changes(seen(before))

        async def export() -> _Ended:
            await self._place.files.export(changes, worktree.path)
            return _Ended()

        ended = await self._guarded(export)
        if ended.error:
            raise EngineError(f"what task {job.task} changed could not be brought back: {ended.error}")

    async def _guarded(self, ask: "Callable[[], Awaitable[_Ended]]") -> "_Ended":
        """Ask the engine; what it says no to is an ending, and an engine that has gone is an error.

        Raises:
            EngineError: It does not answer any more.
        """
        import dagger  # noqa: PLC0415 - slow; see above

        try:
            return await ask()
        except dagger.ExecError as error:
            ended = _Ended(error=_killed(error.exit_code))
        except dagger.QueryError as error:
            ended = _Ended(error=_sentence(str(error)))
        except dagger.DaggerError as error:
            raise EngineError(f"it does not answer: {_sentence(str(error))}") from error
        # An engine that dies under an exec says so in the words of whatever failed first: ask it.
        try:
            with anyio.fail_after(PATIENCE):
                await self._client.default_platform()
        except (dagger.DaggerError, TimeoutError) as error:
            raise EngineError(f"it does not answer: {ended.error}") from error
        return ended


@dataclass(frozen=True, slots=True)
class _Ended:
    """How an exec ended: the records and outputs of its steps, or why there are none."""

    records: Mapping[int, driver.Record] = field(default_factory=dict)
    outputs: Mapping[int, str] = field(default_factory=dict)
    cached: bool = False
    error: str | None = None
    seconds: float = 0.0


def _killed(code: int) -> str:
    if code == 137:  # noqa: PLR2004 - 128 + KILL
        return "its container was killed (exit code 137): most often it ran out of memory"
    return f"its container ended with exit code {code}"


def _sentence(message: str) -> str:
    """Return the last part of an engine's message, which says most, as one line."""
    line = " ".join(message.split())
    return line if len(line) <= 500 else f"…{line[-500:]}"  # noqa: PLR2004 - what a person reads


class _Telling:
    """Tells the log and the watcher how the steps of a task went."""

    def __init__(self, job: Job, watcher: Watcher, log: TaskLog) -> None:
        self._job = job
        self._watcher = watcher
        self._log = log
        self._running: tuple[int, Step] | None = None
        self.results: list[StepResult] = []
        self.lost = False  # whether the container ended in a way that leaves no files to read

    @property
    def failed(self) -> bool:
        """Whether the next step may not begin."""
        return bool(self.results) and not self.results[-1].ok

    async def begin(self, steps: Mapping[int, Step]) -> None:
        """Tell that the first of some steps begins."""
        self._running = next(iter(steps.items()))
        await self._watcher.step_started(*self._running)

    async def ended(self, steps: Mapping[int, Step], ended: _Ended) -> None:
        """Tell how the steps of an exec went, in order, up to the first that failed."""
        self.lost = ended.error is not None
        for number, step in steps.items():
            result = self._result(number, step, ended)
            if self._running is None:
                await self._watcher.step_started(number, step)
            await self._end(number, result, ended.outputs.get(number, ""))
            if not result.ok:
                return

    async def interrupted(self, seconds: float) -> None:
        """Tell that the step which was under way was cancelled."""
        if self._running is not None:
            number, step = self._running
            await self._end(number, StepResult(step, None, seconds, cancelled=True), "")

    def _result(self, number: int, step: Step, ended: _Ended) -> StepResult:
        record = ended.records.get(number)
        if record is None:
            return StepResult(
                step, None, ended.seconds, error=ended.error or "it left no trace in its container"
            )
        return StepResult(
            step, record.exit_code, record.seconds, timed_out=record.timed_out, cached=ended.cached
        )

    async def _end(self, number: int, result: StepResult, output: str) -> None:
        def write() -> StepResult:
            self._log.begin(result.step)
            self._log.write(output.encode(errors="surrogateescape"))
            return self._log.end(result)

        result = await to_thread.run_sync(write)
        self._running = None
        self.results.append(result)
        await self._watcher.step_finished(number, result)
