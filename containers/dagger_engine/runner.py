"""Runner that runs each task in a container of one Dagger engine.

The task's tree is that of its start point in the repository, with a separate `.git`: the `.git` of a worktree
is a file that points outside of the tree (https://github.com/dagger/dagger/issues/9254). All steps are one
exec. Changes are exported into the worktree, where the patch is made as for a local task.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC
from functools import partial
from hashlib import sha256
from secrets import token_hex

import anyio
from anyio import get_cancelled_exc_class

from containers.agents.agent import first_line
from containers.agents.builtin import DEFAULT_IMAGE, Agent
from containers.concurrency import in_thread, plain_task_group
from containers.dagger_engine import step_script
from containers.dagger_engine.async_cache import AsyncCache
from containers.dagger_engine.client.api import ANY, Client, Container, Directory, Secret, Service
from containers.dagger_engine.client.values import together
from containers.dagger_engine.config import ContainerConfig
from containers.dagger_engine.encoding import as_utf8, encoding_error
from containers.dagger_engine.images import resolve_digests
from containers.dagger_engine.job_texts import texts_of_job
from containers.dagger_engine.places import WORK, Place, Prepared
from containers.dagger_engine.query import EngineClient, EngineError, EngineQueryError
from containers.dagger_engine.run_secret import RunSecret
from containers.dagger_engine.start_tree import StartTrees
from containers.dagger_engine.step_reporter import StepReporter
from containers.dagger_engine.step_script import Report
from containers.dagger_engine.sync_back import sync_back
from containers.git.working_tree.task_files import GIT
from containers.runner import ROUND_VARIABLE, Job, Watcher
from containers.task_log import TaskLog
from containers.worktrees.worktree import Worktree
from tasks.lazy.patterns import regex
from tasks.model import Step, StepKind
from tasks.outcome import StepResult

PATIENCE = 60.0
"""Seconds past its time limit, at least, that a container may take to start and end; half the limit if longer.

The limit is kept inside of the container, where a task may stop what keeps it. Also for how long nothing may
arrive while changes are copied back."""
VERSION_TIMEOUT = 20.0
"""Seconds that an agent may take to print its version."""
ROOT = frozenset({"", "0", "root"})
_NAME = regex(r"[A-Za-z_][A-Za-z0-9_]*")
"""Names that a POSIX shell accepts for variables."""


class EngineRunner:
    """Runs tasks as containers of one engine."""

    def __init__(self, client: Client, config: ContainerConfig, *, patience: float = PATIENCE) -> None:
        self._client = client
        self._config = config
        self._query = EngineClient(client)
        self._patience = patience
        self._mark = token_hex(8)
        """Distinguishes execs of this runner from cached ones."""
        self._secret = RunSecret(client, self._query, self._mark)
        self._starts = StartTrees(client, config, self._query)
        self._owners: AsyncCache[str] = AsyncCache()
        self._prepared: AsyncCache[Prepared] = AsyncCache()
        self._left: dict[str, Prepared] = {}
        """The containers after the last steps, by worktree, for the teardown."""

    async def resolve_digests(self, names: Iterable[str]) -> Mapping[str, str]:
        """Return the digests of images by name, without those that cannot be resolved.

        Raises:
            EngineError: The engine is unavailable.
        """
        return await resolve_digests(self._client, names)

    async def prefetch(self, start: str) -> None:
        """Have the engine make the tree of a commit that tasks will start from; errors are not raised."""
        await self._starts.prefetch(start)

    async def version(self, agent: Agent, image: str | None) -> str | None:
        """Return the version that an agent prints in its container; `None` if it does not run."""
        container = self._image(image, agent.setup)
        for name, value in agent.environment.items():
            container = container.with_env_variable(name, value)
        with suppress(EngineQueryError, EngineError):
            container = await self._query.run_long(container.sync)  # installs it, without a time limit
            said = container.with_exec(["sh", "-c", agent.version or ""])
            with anyio.move_on_after(VERSION_TIMEOUT):
                return first_line(await self._query(said.stdout))
        return None

    async def run(self, job: Job, worktree: Worktree, watcher: Watcher) -> tuple[StepResult, ...]:
        """Run the job's steps in a container, and copy their changes into the worktree.

        The watcher is called when the exec has ended, for all of its steps. A cancelled task leaves no changes:
        cancelling the query ends the exec, and its container is discarded.

        Raises:
            EngineError: The engine is unavailable.
        """
        began = time.monotonic()
        async with in_thread(TaskLog(job.log, job.secrets, job.log_limit, job.format, UTC)) as log:
            reporter = StepReporter(watcher, log)
            try:
                if job.steps:
                    await self._run(job, worktree, reporter)
            except get_cancelled_exc_class():
                with anyio.CancelScope(shield=True):
                    await reporter.report_interruption(time.monotonic() - began)
                raise
            finally:
                self._secret.forget(job)
        return tuple(reporter.results)

    async def _run(self, job: Job, worktree: Worktree, reporter: StepReporter) -> None:
        """Run the steps in a container and copy their changes back: first the set-up's, then the others'."""
        before = self._left.pop(worktree.name, None)
        if job.is_teardown and before is None:
            return  # the task had no container
        place = Place(job.first_round, job.timeout, before if job.is_teardown else None)
        parts = _split_setup(job.steps)
        while parts:
            for steps in parts:
                await self._run_part(job, worktree, steps, place, reporter)
                if reporter.failed:
                    break
            following = await reporter.next_round()
            if following is None:
                return
            parts = [dict(enumerate(following.steps, len(reporter.results) + 1))]
            place.round, place.is_repeated = following.number, True

    async def _run_part(
        self,
        job: Job,
        worktree: Worktree,
        steps: Mapping[int, Step],
        place: "Place",
        reporter: StepReporter,
    ) -> None:
        """Run some steps in one exec, copy their changes back, and report how they ended."""
        began = time.monotonic()
        await reporter.report_start(steps)
        try:
            before = self._left[worktree.name] = place.after or await self._prepare(job, worktree)
            if job.is_teardown:
                await self._secret.tell(job, worktree)
            after, report = await self._run_script(before, job, steps, place)
        except TimeoutError:
            await reporter.report_overdue(time.monotonic() - began)
            return
        except EngineQueryError as rejection:
            report = step_script.report(rejection.output)
            if all(number in report.records for number in steps):
                # The script itself exits with 0. It was killed, and the last record may be forged.
                report = report.without_last(steps)
            await reporter.report_results(steps, report, time.monotonic() - began, error=str(rejection))
            return
        self._left[worktree.name] = after
        stays = job.is_teardown or job.is_check
        error = None if stays else await self._copy_changes(before, after, worktree, job.patch_limit)
        cached = not error and self._is_cached(report, job)
        if error:
            report = report.without_last(steps)
        await reporter.report_results(steps, report, time.monotonic() - began, cached=cached, error=error)
        place.after = after
        if place.seconds is not None:  # by the script's own clock, which is also that of a cached result
            place.seconds -= sum(record.seconds for record in report.records.values())

    async def _run_script(
        self, before: Prepared, job: Job, steps: Mapping[int, Step], place: "Place"
    ) -> tuple[Prepared, Report]:
        """Run steps in the time that is left; return the container after them and the report of the script.

        Raises:
            EngineError: The engine is unavailable.
            EngineQueryError: The engine rejects the exec.
            TimeoutError: The container does not end.
        """
        seconds = place.seconds
        longest = None if seconds is None else seconds + job.grace + max(self._patience, seconds / 2)
        # What a round does may be what the last one did, which failed: it must not be a cache hit.
        key = token_hex(8) if self._config.fresh or place.is_repeated else None
        container = self._with_steps(before.container, job, steps, place, key)
        after, report = await self._read_report(container, longest)
        if report.failed and self._is_cached(report, job):
            # A cached failure is run again: what was missing then may be there now. Identical execs are one
            # exec (https://docs.dagger.io/features/caching), so the script gets a key.
            container = self._with_steps(before.container, job, steps, place, token_hex(8))
            after, report = await self._read_report(container, longest)
        return Prepared.from_container(after), report

    async def _copy_changes(
        self, before: Prepared, after: Prepared, worktree: Worktree, limit: int | None
    ) -> str | None:
        """Copy the changes of steps into the worktree; return why they could not be copied, or `None`."""
        try:
            await sync_back(
                before.tree,
                after.tree,
                worktree,
                self._query,
                self._config.files.export,
                limit=limit,
                patience=self._patience,
            )
        except EngineQueryError as rejection:
            return f"the task's changes could not be copied back: {rejection}"
        return None

    def _is_cached(self, report: Report, job: Job) -> bool:
        """Whether the report is of a cached exec: of another run, or of an earlier attempt in this one."""
        return report.run not in {None, job.run} or report.mark not in {None, self._mark}

    async def _read_report(self, container: Container, longest: float | None) -> tuple[Container, Report]:
        """Run the steps for at most `longest` seconds; return their container by its id, and the report.

        Raises:
            EngineQueryError: The script did not start.
            TimeoutError: The container did not end.
        """
        with anyio.fail_after(longest):
            query = partial(together, container.stdout(), container.loaded())
            output, after = await self._query.run_long(query)
        report = step_script.report(output)
        if report.run is None:
            code, said = await self._query(partial(together, after.exit_code(), after.stderr()))
            raise EngineQueryError(f"its image has no `sh` that works (exit code {code}): {said.strip()}")
        return after, report

    async def _prepare(self, job: Job, worktree: Worktree) -> "Prepared":
        """Return a container for a task, before its first step; tasks with the same requirements share it.

        Raises:
            EngineQueryError: The engine cannot create it.
        """
        if reason := encoding_error(texts_of_job(job, worktree)):
            raise EngineQueryError(reason)

        async with plain_task_group() as group:  # these values are cached
            group.start_soon(self._owner, self._image(job.image, job.layers), job)
            group.start_soon(self._starts.get, job.start, worktree)
            secret = await self._secret.tell(job, worktree)

        async def prepare() -> Prepared:
            container = await self._container(job, worktree, secret)
            return await self._query.run_long(Prepared.from_container(container).sync)

        if self._config.copy:  # these files differ between worktrees
            return await prepare()
        key = (job.image, job.layers, job.start, job.run, tuple(job.secrets.values.items()))
        return await self._prepared.get(key, prepare)

    async def _container(self, job: Job, worktree: Worktree, run: Secret) -> Container:
        client, config = self._client, self._config
        container = self._image(job.image, job.layers)
        owner = await self._owner(container, job)
        tree = await self._tree(job, worktree)
        for path in config.caches:
            # One per repository: others on the same engine must not get what its tasks leave there.
            key = sha256(config.repository.encode(errors="surrogateescape")).hexdigest()[:32]
            cache = client.cache_volume(f"patchyard-{key}{path}")
            container = container.with_mounted_cache(path, cache, owner=owner)
        for name, address in config.services.items():
            container = container.with_service_binding(name, self._service(address))
        container = container.with_workdir(WORK).with_mounted_directory(WORK, tree, owner=owner)
        for name, value in job.secrets.values.items():
            container = container.with_secret_variable(name, client.set_secret(name, value))
        # The engine does not report cache hits. The value of a secret set by the client is not part of the
        # cache key, so a report that names another run or mark is of a cached exec.
        return container.with_mounted_secret(step_script.RUN, run, mode=0o444)

    def _image(self, name: str | None, layers: Sequence[str]) -> Container:
        """Return an image with the set-up of an agent, as layers that all tasks share."""
        container = self._client.container().from_(name or DEFAULT_IMAGE)
        for command in layers:
            container = container.with_exec(["sh", "-e", "-c", command])
        return container

    def _service(self, address: str) -> Service:
        """Return a port of this machine as a service."""
        host, _, port = address.rpartition(":")
        return self._client.host().service(int(port), host)

    async def _owner(self, container: Container, job: Job) -> str:
        """Return the user of a job's image, "" for root; queried once per image."""

        async def query_user() -> str:
            user = await self._query(container.user)
            return "" if user.partition(":")[0] in ROOT else user

        return await self._owners.get((job.image, *job.layers), query_user)

    async def _tree(self, job: Job, worktree: Worktree) -> Directory:
        """Return the tree of a task's start point, with files that are copied from its worktree."""
        tree = await self._starts.get(job.start, worktree)
        if not self._config.copy:
            return tree
        copied = self._config.files.directory(
            self._client, worktree.path, include=self._config.copy, exclude=[GIT]
        )
        return tree.with_directory("/", copied)

    def _variables(self, job: Job, number: int) -> dict[str, str]:
        """Return the environment variables of the steps of a round, without secrets.

        The run's id, slot, port and attempt are not among them, as they would change the cache key: the script
        reads them from a secret (`run_secret.py`).
        """
        who = self._config.identity
        names = {
            f"GIT_{role}_{part}": value
            for role in ("AUTHOR", "COMMITTER")
            for part, value in (("NAME", as_utf8(who.name)), ("EMAIL", as_utf8(who.email)))
        }
        safe = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
        own = {"PATCHYARD_TASK": job.task, "PATCHYARD_WORKTREE": WORK, ROUND_VARIABLE: str(number)}
        every = {**names, **safe, **job.environment, **own}
        return {name: value for name, value in every.items() if name not in job.secrets.values}

    def _with_steps(
        self,
        container: Container,
        job: Job,
        steps: Mapping[int, Step],
        place: "Place",
        key: str | None,
    ) -> Container:
        variables = self._variables(job, place.round)
        for name in [name for name in variables if not _NAME.fullmatch(name)]:
            container = container.with_env_variable(name, variables.pop(name))
        script = step_script.script(
            steps,
            timeout=place.seconds,
            grace=job.grace,
            variables=variables,
            key=key,
            limits=self._config.limits,
        )
        for path, text in {step_script.SCRIPT: script, **step_script.inputs(steps)}.items():
            container = container.with_new_file(path, text)
        return container.with_exec(["sh", step_script.SCRIPT], expect=ANY)


def _split_setup(steps: Sequence[Step]) -> list[dict[int, Step]]:
    """Split the steps, by number, into set-up and others: changes of the set-up are not part of the patch."""
    numbered = dict(enumerate(steps, 1))
    setup = {number: step for number, step in numbered.items() if step.kind is StepKind.SETUP}
    rest = {number: step for number, step in numbered.items() if step.kind is not StepKind.SETUP}
    return [part for part in (setup, rest) if part]
