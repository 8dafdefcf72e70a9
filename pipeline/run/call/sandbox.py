"""The sandbox of a prepared run."""

from pathlib import Path

from containers.sandbox.bubblewrap import find_sandbox
from containers.sandbox.mounts import why_not
from containers.sandbox.policy import Policy
from containers.sandbox.sandbox import Sandbox
from pipeline.run.call.prepare import Prepared


def prepare_sandbox(prepared: Prepared) -> Sandbox | str:
    """Return the sandbox for tasks of this machine, or why there is none and what to do. Blocking."""
    environ, repository, settings = prepared.call.environ, prepared.repository, prepared.settings
    home = Path(environ["HOME"]).resolve() if environ.get("HOME") else None
    checkout, common = repository.root.resolve(), repository.common.resolve()
    if reason := why_not(checkout, common, home):
        return f"{reason}; put the repository into a directory of its own"
    found = find_sandbox(environ)
    if found.program is None:
        return str(found)
    policy = Policy(settings.sandbox_network, settings.sandbox_write)
    return Sandbox(found.program, policy, checkout, common, home if home and home.is_dir() else None)
