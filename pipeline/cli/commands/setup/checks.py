"""What `doctor` checks: each check yields what it found, and what to do about it."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from containers.agents.agent import missing_requirement, resolve_agent
from containers.agents.builtin import BUILT_IN, Agent
from containers.agents.presence import installed, presence, program_of
from containers.git.command import OLDEST, Git, GitError
from containers.git.repository import NotARepositoryError, Repository
from containers.git.signatures import PATCHYARD_IDENTITY
from containers.sandbox.sandbox import Sandbox
from containers.worktrees.copies import unmatched
from containers.worktrees.directory import default_directory
from pipeline.cli.commands.setup.agents import found_versions, number_in
from pipeline.config.settings import Settings
from pipeline.config.sources import ConfigError, ConfigFileError, Sources, load, secret_values
from pipeline.config.trust import TrustStore, needed_grants, trust_command
from pipeline.run.call.limits import limits_found
from pipeline.run.call.prepare import check_worktrees
from pipeline.run.call.sandbox import prepare_sandbox
from tasks.errors import PatchyardError
from tasks.lazy.dataclasses import dataclass
from tasks.model import Mode, PlanSettings, SandboxMode
from tasks.sizes import format_size

LOW_SPACE, LEAST_SPACE = 5_000_000_000, 500_000_000
"""Bytes of free space below which a disk is nearly full, and below which it is full."""


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, in one sentence that says what to do if something is wrong."""

    area: str
    state: State
    text: str


@dataclass(slots=True)
class Subject:
    """What is checked; `repository` and `sources` are `None` where they cannot be had."""

    path: Path
    environ: Mapping[str, str]
    repository: Repository | None = None
    sources: Sources | None = None

    @property
    def settings(self) -> Settings:
        """The settings without a plan."""
        return self.sources.resolve(PlanSettings()) if self.sources else Settings()


def check_git(subject: Subject) -> Iterator[Finding]:
    """Check git, the repository, and who makes the commits."""
    try:
        version = Git.find(subject.environ, Path("/")).run("version").text
    except GitError as error:
        yield Finding("git", State.ERROR, str(error))
        return
    yield Finding("git", State.OK, f"{version} (at least {'.'.join(map(str, OLDEST))} is needed)")
    try:
        subject.repository = repository = Repository.open(subject.path, subject.environ)
        repository.resolve("HEAD")
    except NotARepositoryError as error:
        yield Finding("repository", State.ERROR, str(error))
        return
    except GitError as error:
        yield Finding("repository", State.ERROR, str(error))
    else:
        branch = repository.branch() or "no branch"
        yield Finding("repository", State.OK, f"{repository.root}, on {branch}")
    who = repository.identity()
    if who == PATCHYARD_IDENTITY:
        hint = "set them with `git config --global user.name NAME` and `… user.email ADDRESS`"
        text = f"git knows no name and address of yours, so commits are made as {who.name}; {hint}"
        yield Finding("identity", State.WARNING, text)
    else:
        yield Finding("identity", State.OK, f"commits are made as {who.name} <{who.email}>")


def check_settings(subject: Subject) -> Iterator[Finding]:
    """Check the settings of the environment and of the files, and the trust in them."""
    root = subject.repository.root if subject.repository else subject.path
    try:
        subject.sources = sources = load({}, subject.environ, root)
    except ConfigFileError as error:
        for diagnostic in error.diagnostics:
            yield Finding("settings", State.ERROR, str(diagnostic))
        return
    except ConfigError as error:
        yield Finding("settings", State.ERROR, str(error))
        return
    found = (
        f"{len(sources.origins)} set; `patchyard config --set` shows them" if sources.origins else "defaults"
    )
    yield Finding("settings", State.OK, found)
    yield from _named_things(subject)
    if sources.forced.get("trust"):
        return
    store = TrustStore(subject.environ)
    for grant in needed_grants(sources, PlanSettings(), "", root):
        if not store.has(grant, root):
            text = f"{grant} needs your trust: review it, then run `{trust_command('')}`"
            yield Finding("trust", State.WARNING, text)


def _named_things(subject: Subject) -> Iterator[Finding]:
    """Check that what the settings name is there: secrets, the base, and files to copy."""
    settings, repository = subject.settings, subject.repository
    for name in settings.secrets:
        try:
            secret_values([name], subject.environ)
        except ConfigError as error:
            yield Finding("secrets", State.ERROR, str(error))
    if repository is None:
        return
    if settings.base:
        try:
            repository.resolve(settings.base)
        except GitError as error:
            yield Finding("base", State.ERROR, str(error))
    for pattern in unmatched(repository.root, settings.copy):
        text = f"{pattern} is not in {repository.root}, so no worktree gets it: make it, or name it no more"
        yield Finding("copy", State.WARNING, text)


def check_space(subject: Subject) -> Iterator[Finding]:
    """Check the directory of the worktrees, and the disk that it is on."""
    repository, settings = subject.repository, subject.settings
    if repository is None:
        return
    directory = settings.worktrees or default_directory(repository).path
    there = next(parent for parent in (directory, *directory.parents) if parent.exists())
    try:
        check_worktrees(settings, repository)
    except ConfigError as error:
        yield Finding("worktrees", State.ERROR, str(error))
    else:
        if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
            hint = "make it yours, or name another directory with --worktrees"
            yield Finding("worktrees", State.ERROR, f"{directory}: {there} cannot be written; {hint}")
        else:
            yield Finding("worktrees", State.OK, f"{directory}, for {settings.pool_size} tasks at once")
    for place in dict.fromkeys((there, repository.common)):
        free = shutil.disk_usage(place).free
        state = State.ERROR if free < LEAST_SPACE else State.WARNING if free < LOW_SPACE else State.OK
        hint = "" if state is State.OK else "; `patchyard clean` removes what no run uses"
        yield Finding("disk", state, f"{format_size(free)} free at {place}{hint}")


def check_agents(subject: Subject) -> Iterator[Finding]:
    """Check which agents are installed, whether they can log in, and the one that the settings name."""
    settings, environ = subject.settings, subject.environ
    known = {**BUILT_IN, **settings.agents}
    here = {name: known[name] for name in installed(known.values(), environ)}
    versions = found_versions(here.values(), environ)
    for name, agent in here.items():
        yield _agent(agent, versions.get(name), environ)
    if not here:
        names = dict.fromkeys(program_of(agent) or name for name, agent in known.items())
        text = f"none is installed; tasks of commands need none, others one of {', '.join(names)}"
        yield Finding("agents", State.WARNING, text)
    if settings.agent is None:
        hint = 'name one with --agent, as `agent = "NAME"` in patchyard.toml, or in the plan'
        yield Finding("agent", State.NOTE, f"none is named in the settings; for tasks without commands, {hint}")
        return
    chosen = resolve_agent(settings.agent, settings.agents)
    if missing := missing_requirement(chosen, environ, contained=settings.mode is Mode.DAGGER):
        yield Finding("agent", State.ERROR, missing)
    else:
        yield Finding("agent", State.OK, f"{settings.agent}, as the settings say")


def _agent(agent: Agent, version: str | None, environ: Mapping[str, str]) -> Finding:
    found = presence(agent, environ)
    name = f"{agent.name} {number_in(version)}" if version else agent.name
    if found.access or not agent.secrets:
        return Finding("agents", State.OK, f"{name}: {found.access}" if found.access else name)
    keys = " or ".join(agent.secrets)
    text = f"{name}: neither a login nor a key is found; log in with `{found.program}`, or set {keys}"
    return Finding("agents", State.WARNING, text)


def check_sandbox(subject: Subject) -> Iterator[Finding]:
    """Check whether tasks of this machine run in the sandbox."""
    settings = subject.settings
    if subject.repository is None:
        return
    if settings.sandbox is SandboxMode.OFF:
        yield Finding("sandbox", State.NOTE, "off: tasks of this machine have your rights")
        return
    found = prepare_sandbox(settings, subject.repository, subject.environ)
    if isinstance(found, Sandbox):
        found.close()
        yield Finding("sandbox", State.OK, f"tasks of this machine run in it, with {found.program}")
    else:
        state = State.ERROR if settings.sandbox is SandboxMode.ON else State.WARNING
        yield Finding("sandbox", state, f"none, so tasks have your rights: {found}")


def check_limits(subject: Subject) -> Iterator[Finding]:
    """Check by what the limits of tasks of this machine hold, if there are any."""
    if found := limits_found(subject.settings, subject.environ):
        yield Finding("limits", State.OK, found)


def check_engine(subject: Subject) -> Iterator[Finding]:
    """Check the Dagger engines, if the settings use one."""
    from containers.dagger_engine.address import EngineAddress  # noqa: PLC0415 - slow to import
    from containers.dagger_engine.engines import connect_engines  # noqa: PLC0415 - slow to import
    from containers.dagger_engine.query import EngineError  # noqa: PLC0415 - likewise

    settings, environ = subject.settings, subject.environ
    if settings.mode is not Mode.DAGGER and not settings.engines:
        yield Finding("engine", State.NOTE, f"not used: tasks run in mode {settings.mode}")
        return

    async def connect(address: EngineAddress, log: Path) -> None:
        async with connect_engines(address, environ, log):
            pass

    addresses = [EngineAddress.parse(engine) for engine in settings.engines] or [EngineAddress()]
    for address in addresses:
        with TemporaryDirectory() as directory:
            try:
                anyio.run(partial(connect, address, Path(directory, "log")))
            except EngineError as error:
                yield Finding("engine", State.ERROR, str(error))
            else:
                yield Finding("engine", State.OK, f"{address} answers")


def check_github(subject: Subject, *, offline: bool) -> Iterator[Finding]:
    """Check the remote, the token, and what it may do."""
    from pipeline.forge.base import ForgeError  # noqa: PLC0415 - slow to import
    from pipeline.forge.github_connect import connect, locate  # noqa: PLC0415 - likewise

    repository, settings = subject.repository, subject.settings
    if repository is None:
        return
    # It is a mistake only if the settings say that runs are published.
    unused = State.ERROR if settings.publish else State.NOTE
    try:
        found, _ = locate(subject.environ, repository, settings.remote, settings.github)
    except ForgeError as error:
        yield Finding("github", unused, f"{error} (needed to publish)")
        return
    try:
        forge = connect(subject.environ, repository, settings.remote, settings.github)
    except ForgeError as error:
        yield Finding("token", State.ERROR if settings.publish else State.WARNING, str(error))
        return
    yield Finding("token", State.OK, f"there is one for {found.full_name}")
    if offline:
        return
    try:
        forge.check_access()
    except ForgeError as error:
        yield Finding("github", State.ERROR, str(error))
    else:
        yield Finding("github", State.OK, f"{found.full_name} accepts branches and pull requests of yours")


def findings(subject: Subject, *, offline: bool) -> Iterator[Finding]:
    """Yield what every check finds, as it is found. Blocking; with `offline` nothing is asked of GitHub."""
    checks: Iterable[Callable[[Subject], Iterator[Finding]]] = (
        *(check_git, check_settings, check_space, check_agents, check_sandbox, check_limits, check_engine),
        partial(check_github, offline=offline),
    )
    for check in checks:
        try:
            yield from check(subject)
        except PatchyardError as error:
            yield Finding(
                getattr(check, "__name__", "check_github").removeprefix("check_"), State.ERROR, str(error)
            )
