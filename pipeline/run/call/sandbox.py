"""The sandbox of a run's tasks."""

from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path

from containers.agents.builtin import BUILT_IN
from containers.git.repository import Repository
from containers.sandbox.bubblewrap import INSTALL, find_sandbox
from containers.sandbox.locations import agents_elsewhere, database_files, program_of, secrets_elsewhere
from containers.sandbox.mounter import Mounter
from containers.sandbox.mounts import is_written, why_not
from containers.sandbox.policy import Policy
from containers.sandbox.sandbox import Sandbox
from pipeline.config.settings import Settings
from pipeline.store.database_url import VARIABLE
from tasks.model import SandboxMode


def prepare_sandbox(settings: Settings, repository: Repository, environ: Mapping[str, str]) -> Sandbox | str:
    """Return the sandbox for tasks of this machine, which the caller closes, or why there is none. Blocking."""
    home = Path(environ["HOME"]).resolve() if environ.get("HOME") else None
    checkout, common = repository.root.resolve(), repository.common.resolve()
    if reason := why_not(checkout, common, home):
        return f"{reason}; put the repository into a directory of its own"
    with ExitStack() as stack:
        mounter = stack.enter_context(closing(Mounter()))
        found = find_sandbox(environ, mounter=mounter)
        if found.program is None:
            return str(found)
        if is_written(found.program, home, settings.sandbox_write):
            return f"{found} is where tasks can write; {INSTALL}"
        home = home if home and home.is_dir() else None
        hidden = (*secrets_elsewhere(home, environ), *database_files(environ.get(VARIABLE)))
        agents = {**BUILT_IN, **settings.agents}
        programs = {name: program_of(agent.command) or name for name, agent in agents.items()}
        policy = Policy(settings.sandbox_network, settings.sandbox_write)
        moved = agents_elsewhere(home, environ)
        stack.pop_all()  # the sandbox closes it
    return Sandbox(
        found.program, policy, checkout, common, home, hidden, programs, moved=moved, mounter=mounter
    )


def sandbox_sentence(settings: Settings, repository: Repository, environ: Mapping[str, str]) -> str:
    """Return with which rights tasks of this machine run, as a clause. Blocking."""
    if settings.sandbox is SandboxMode.OFF:
        return "tasks have your rights: the sandbox is off"
    found = prepare_sandbox(settings, repository, environ)
    if isinstance(found, str):
        return without_sandbox(found)
    found.close()
    return "tasks run in the sandbox"


def without_sandbox(reason: str) -> str:
    """Return that there is no sandbox, and why, as a clause."""
    return f"tasks run without a sandbox, with your rights: {reason}"
