"""A Dagger container as the place where a task runs.

The task's tree comes from the repository itself, as git has it at the task's start, with a `.git` of its own:
git works in it, for any user, and no task sees another's or the repository. All steps are one exec. What they
changed is exported into the worktree, where the same git as everywhere takes the patch. `dagger` is imported
where it is used: it takes a second.
"""

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Protocol

import anyio
from anyio import get_cancelled_exc_class, to_thread

from containers.agents.agent import first_line
from containers.agents.builtin import Agent
from containers.concurrency import in_thread
from containers.dagger_engine import step_script as driver
from containers.dagger_engine.async_cache import AsyncCache
from containers.dagger_engine.encoding import as_utf8, encoding_error
from containers.dagger_engine.images import resolve_digests
from containers.dagger_engine.query import EngineClient, EngineError, EngineQueryError
from containers.dagger_engine.step_reporter import StepReporter
from containers.dagger_engine.sync_back import GIT, sync_back
from containers.git.repository import GitError, Identity
from containers.runner import Job, Watcher
from containers.task_log import TaskLog
from containers.worktrees.worktree import Worktree
from tasks.model import Step, StepKind, StepResult

if TYPE_CHECKING:
    from dagger import Client, Container, Directory, Service

WORK = "/work"
"""Where a task's tree stands in its container."""
VERSION_PATIENCE = 20.0
"""Seconds that an agent may take to say its version."""
DEFAULT_IMAGE = "python:3.13"
"""Has git, a shell and Python; the default where nothing names an image."""
OBJECTS = ("objects", "shallow")
TAGS = ("packed-refs", "refs/tags")
UNFINISHED = ("**/tmp_*", "objects/incoming-*")
"""What git is about to write; it may be gone the next moment."""
CONFIG = """\
[core]
\trepositoryformatversion = 0
\tbare = true
[pack]
\tthreads = 1
\twindow = 0
[uploadpack]
\tallowAnySHA1InWant = true
"""
"""The repository's configuration as the engine sees it: not the user's, which may hold a token; and the same
objects give the same pack, so that a task is known again by its tree."""
RUN_SECRET = "patchyard-run"  # noqa: S105 - the name of one
ROOT = frozenset({"", "0", "root"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""Names of variables that a shell can have."""


class Files(Protocol):
    """How files get from here into an engine, and back."""

    def directory(
        self, client: "Client", path: Path, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> "Directory":
        """Return a directory of this machine, read afresh."""
        ...

    async def export(self, directory: "Directory", path: Path) -> None:
        """Write what is in a directory over one of this machine."""
        ...


class HostFiles:
    """The files of the machine that the client runs on."""

    def directory(
        self, client: "Client", path: Path, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> "Directory":
        """Return a directory of the host, read afresh.

        Raises:
            RefusedError: No engine can be told where it is.
        """
        if refused := encoding_error([(f"the path {path}", str(path))]):
            raise EngineQueryError(refused)
        return client.host().directory(str(path), include=list(include), exclude=list(exclude), no_cache=True)

    async def export(self, directory: "Directory", path: Path) -> None:
        """Write what is in a directory over one of the host."""
        await directory.export(str(path))


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """What the containers of a run have in common.

    `common` is the repository's common git directory. `identity` is whose name commits made inside carry.
    `depth` is how many commits of history a task sees, 0 for all. `caches` are directories that containers
    keep between tasks and runs. `copy` are patterns of files in the worktree that git does not have. `fresh`
    runs again what the engine has cached. `services` are ports of this machine, such as `localhost:11434`, by
    the names under which containers reach them, each at the same port.
    """

    common: Path
    identity: Identity
    depth: int = 1
    caches: tuple[str, ...] = ()
    copy: tuple[str, ...] = ()
    fresh: bool = False
    services: Mapping[str, str] = field(default_factory=dict)
    files: Files = field(default_factory=HostFiles)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A container, and the task's tree in it without `.git`."""

    container: "Container"
    tree: "Directory"


class EngineRunner:
    """Runs tasks as containers of one engine."""

    def __init__(self, client: "Client", place: ContainerConfig) -> None:
        self._client = client
        self._place = place
        self._ask = EngineClient(client)
        self._mark = token_hex(8)
        """By which it knows what it ran itself from what the engine ran earlier."""
        self._starts: AsyncCache[Directory] = AsyncCache()
        self._owners: AsyncCache[str] = AsyncCache()
        self._prepared: AsyncCache[_Prepared] = AsyncCache()

    async def resolve_digests(self, names: Iterable[str]) -> Mapping[str, str]:
        """Return the digests of images by name, without those that are not to be had.

        Raises:
            EngineError: The engine has gone.
        """
        return await resolve_digests(self._client, names)

    async def version(self, agent: Agent, image: str | None) -> str | None:
        """Return what an agent says of its version in its container; `None` where it does not run."""
        container = self._image(image, agent.setup)
        for name, value in agent.environment.items():
            container = container.with_env_variable(name, value)
        with suppress(EngineQueryError, EngineError):
            container = await self._ask.attend(container.sync)  # installs it, which takes what it takes
            said = container.with_exec(["sh", "-c", agent.version or ""])
            with anyio.move_on_after(VERSION_PATIENCE):
                return first_line(await self._ask(said.stdout))
        return None

    async def run(self, job: Job, worktree: Worktree, watcher: Watcher) -> tuple[StepResult, ...]:
        """Run the job's steps in a container, and bring what they changed into the worktree.

        The watcher is told of all steps when the exec has ended. A task that is cancelled leaves nothing: its
        container is gone with its files.

        Raises:
            EngineError: The engine has gone.
        """
        began = time.monotonic()
        async with in_thread(TaskLog(job.log, job.secrets)) as log:
            telling = StepReporter(watcher, log)
            try:
                if job.steps:
                    await self._run(job, worktree, telling)
            except get_cancelled_exc_class():
                with anyio.CancelScope(shield=True):
                    await telling.interrupted(time.monotonic() - began)
                raise
        return tuple(telling.results)

    async def _run(self, job: Job, worktree: Worktree, telling: StepReporter) -> None:
        """Run the steps in a container, and bring back what they changed: the set-up's first."""
        now: _Prepared | None = None
        left = job.timeout
        for steps in _parts(job.steps):
            asked = time.monotonic()
            await telling.begin(steps)
            try:
                before = now or await self._prepare(job, worktree)
                key = token_hex(8) if self._place.fresh else None
                container = self._with_steps(before.container, job, steps, left, key)
                report = await self._report(container)
                if report.failed and self._is_cached(report, job):
                    # What failed is run again: it may have been for want of something that is there now.
                    container = self._with_steps(before.container, job, steps, left, token_hex(8))
                    report = await self._report(container)
            except EngineQueryError as no:
                report = driver.report(no.output)
                if all(number in report.records for number in steps):
                    # The script itself ends with 0: it was ended, and the last of these words is not its own.
                    report = report.without_last(steps)
                await telling.ended(steps, report, time.monotonic() - asked, error=str(no))
                return
            now = _Prepared(container, container.directory(WORK).without_directory(GIT))
            try:
                await sync_back(before.tree, now.tree, worktree, self._ask, self._place.files.export)
            except EngineQueryError as no:
                lost = f"what the task changed could not be brought back: {no}"
                await telling.ended(steps, report.without_last(steps), time.monotonic() - asked, error=lost)
                return
            cached = self._is_cached(report, job)
            await telling.ended(steps, report, time.monotonic() - asked, cached=cached)
            if telling.failed:
                return
            if left is not None:  # by what the script says: that is the same for what comes from the cache
                left -= sum(record.seconds for record in report.records.values())

    def _is_cached(self, report: driver.Report, job: Job) -> bool:
        """Whether steps were run by another run, or for an earlier attempt of this one."""
        return report.run not in {None, job.run} or report.mark not in {None, self._mark}

    async def _report(self, container: "Container") -> driver.Report:
        """Run the steps, and return what the script says of them.

        Raises:
            RefusedError: The script did not even begin.
        """
        report = driver.report(await self._ask.attend(container.stdout))
        if report.run is None:
            code, said = await self._ask(container.exit_code), await self._ask(container.stderr)
            raise EngineQueryError(f"its image has no `sh` that works (exit code {code}): {said.strip()}")
        return report

    async def _prepare(self, job: Job, worktree: Worktree) -> "_Prepared":
        """Return a container for a task, before its first step: the same for all tasks that need the same.

        Raises:
            RefusedError: The engine cannot make it.
        """
        if refused := encoding_error(_texts(job, worktree)):
            raise EngineQueryError(refused)

        async def prepare() -> _Prepared:
            container = await self._ask.attend((await self._container(job, worktree)).sync)
            return _Prepared(container, container.directory(WORK).without_directory(GIT))

        if self._place.copy:  # which are in each worktree for itself
            return await prepare()
        key = (job.image, job.layers, job.start, job.run, tuple(job.secrets.values.items()))
        return await self._prepared.get(key, prepare)

    async def _container(self, job: Job, worktree: Worktree) -> "Container":
        client, place = self._client, self._place
        container = self._image(job.image, job.layers)
        owner = await self._owner(container, job)
        tree = await self._tree(job, worktree)
        for path in place.caches:
            cache = client.cache_volume(f"patchyard{path}")
            container = container.with_mounted_cache(path, cache, owner=owner)
        for name, address in place.services.items():
            container = container.with_service_binding(name, self._service(address))
        container = container.with_workdir(WORK).with_mounted_directory(WORK, tree, owner=owner)
        for name, value in job.secrets.values.items():
            container = container.with_secret_variable(name, client.set_secret(name, value))
        # The engine does not say what it has taken from its cache. A secret's value makes no difference to the
        # cache: steps that name another run than this one, or another mark, were run by that.
        run = client.set_secret(RUN_SECRET, f"{driver.RUN_PREFIX} {job.run} {self._mark}")
        return container.with_mounted_secret(driver.RUN, run, mode=0o444)

    def _image(self, name: str | None, layers: Sequence[str]) -> "Container":
        """Return an image with what its agent needs: layers that all tasks share."""
        container = self._client.container().from_(name or DEFAULT_IMAGE)
        for command in layers:
            container = container.with_exec(["sh", "-e", "-c", command])
        return container

    def _service(self, address: str) -> "Service":
        """Return a port of this machine as a service."""
        from dagger import PortForward  # noqa: PLC0415 - slow; see above

        host, _, port = address.rpartition(":")
        forward = PortForward(backend=int(port), frontend=int(port))
        return self._client.host().service([forward], host=host)

    async def _owner(self, container: "Container", job: Job) -> str:
        """Return who the image's user is, "" for root; the engine is asked once for each image."""

        async def ask() -> str:
            user = await self._ask(container.user)
            return "" if user.partition(":")[0] in ROOT else user

        return await self._owners.get((job.image, *job.layers), ask)

    async def _tree(self, job: Job, worktree: Worktree) -> "Directory":
        """Return the tree that the task starts from, with a `.git` of its own; tasks of one start share it."""
        tree = await self._starts.get(job.start, partial(self._start, job, worktree))
        if not self._place.copy:
            return tree
        copied = self._place.files.directory(
            self._client, worktree.path, include=self._place.copy, exclude=[GIT]
        )
        return tree.with_directory("/", copied)

    async def _start(self, job: Job, worktree: Worktree) -> "Directory":
        files, depth, checkout = self._place.files, self._place.depth, worktree.checkout
        if await to_thread.run_sync(checkout.is_plain, job.start):
            include = OBJECTS if depth else OBJECTS + TAGS
            objects = files.directory(self._client, self._place.common, include=include, exclude=UNFINISHED)
            git = objects.with_new_file("HEAD", f"{job.start}\n").with_new_file("config", CONFIG)
            tree = git.with_new_directory("refs").as_git().ref(job.start).tree(depth=depth)
            return await self._ask(tree.sync)
        try:
            async with in_thread(checkout.standalone(job.start, depth)) as made:
                return await self._ask(files.directory(self._client, made).sync)
        except GitError as error:
            raise EngineQueryError(f"no container can have its files: {error}") from error

    def _variables(self, job: Job) -> dict[str, str]:
        """Return the steps' own variables, without those that are secrets.

        The run's id, which is another every time, is not among them: the script reads it.
        """
        who = self._place.identity
        names = {
            f"GIT_{role}_{part}": value
            for role in ("AUTHOR", "COMMITTER")
            for part, value in (("NAME", as_utf8(who.name)), ("EMAIL", as_utf8(who.email)))
        }
        safe = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
        own = {"PATCHYARD_TASK": job.task}
        every = {**names, **safe, **job.environment, **own}
        return {name: value for name, value in every.items() if name not in job.secrets.values}

    def _with_steps(
        self,
        container: "Container",
        job: Job,
        steps: Mapping[int, Step],
        timeout: float | None,
        key: str | None,
    ) -> "Container":
        from dagger import ReturnType  # noqa: PLC0415 - slow; see above

        variables = self._variables(job)
        for name in [name for name in variables if not _NAME.fullmatch(name)]:
            container = container.with_env_variable(name, variables.pop(name))
        script = driver.script(steps, timeout=timeout, grace=job.grace, variables=variables, key=key)
        for path, text in {driver.SCRIPT: script, **driver.inputs(steps)}.items():
            container = container.with_new_file(path, text)
        return container.with_exec(["sh", driver.SCRIPT], expect=ReturnType.ANY)


def _texts(job: Job, worktree: Worktree) -> Iterator[tuple[str, str]]:
    """Give what an engine is told of a job, each after what it is: never a value that is a secret."""
    yield f"the path of its worktree, {worktree.path},", str(worktree.path)
    yield f"its image, {job.image},", job.image or ""
    for name, value in (*job.secrets.values.items(), *job.environment.items()):
        yield f"the value of {name}", f"{name}{value}"
    yield "a command that sets up its agent", "".join(job.layers)
    for number, step in enumerate(job.steps, 1):
        yield f"step {number}, `{step.title}`,", f"{''.join(step.argv)}{step.stdin or ''}"


def _parts(steps: Sequence[Step]) -> list[dict[int, Step]]:
    """Return the steps by their numbers, in two parts: the set-up, whose changes are no part of the patch."""
    numbered = dict(enumerate(steps, 1))
    setup = {number: step for number, step in numbered.items() if step.kind is StepKind.SETUP}
    rest = {number: step for number, step in numbered.items() if step.kind is not StepKind.SETUP}
    return [part for part in (setup, rest) if part]
