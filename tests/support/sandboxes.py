"""Whether the tests of the sandbox can run here, and what they do in it."""

import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from project import PATIENCE, Project

from containers.sandbox.bubblewrap import Availability, find_sandbox

NONE = "no sandbox works on this machine"
REQUIRED = "PATCHYARD_REQUIRE_SANDBOX"
"""Variable that makes the tests fail where they would be skipped."""
ON = {"PATCHYARD_SANDBOX": "on"}


@cache
def _found() -> Availability:
    return find_sandbox(os.environ)


def require_sandbox() -> str:
    """Return the path of bubblewrap; skip the test where it does not work, or fail it if that is required."""
    found = _found()
    if found.program is None:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{NONE}: {found}", pytrace=False)
        pytest.skip(f"{NONE}: {found}")
    return found.program


def fill_home(project: Project, files: Mapping[str, str]) -> Path:
    """Write files into the home directory of a project's user, and return the directory."""
    home = Path(project.environ["HOME"])
    for name, text in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return home


@contextmanager
def without_layers(project: Project, directory: Path) -> Iterator[None]:
    """Keep what a project's runs leave on an overlay, where the kernel makes no layer over a home directory."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount an overlay for a test")
    state, parts = project.root / ".git" / "patchyard", {}
    for name in ("lowerdir", "upperdir", "workdir"):
        parts[name] = directory / "overlay" / name
        parts[name].mkdir(parents=True)
    state.mkdir(exist_ok=True)
    options = ",".join(f"{name}={path}" for name, path in parts.items())
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(state)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(state)], check=True)


def sandbox_log(project: Project, script: str, *arguments: str, **environ: str) -> str:
    """Run a script as a task in the sandbox; return its log, without the script itself."""
    plan, limit = project.tasks({"1": script}), 4 * PATIENCE  # tools may compile; the test has a limit too
    options = ("--json", "--no-cache", *arguments)
    done = project.call("run", plan, *options, environ={**ON, **environ}, patience=limit)
    log = project.log(done.expect().run, "1")
    assert done.events("run_started")[0]["sandbox"] is True
    return "\n".join(line for line in log.splitlines() if not line.startswith("$"))


@contextmanager
def serving(directory: Path) -> Iterator[int]:
    """Serve a directory by HTTP on this machine, and give the port."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(directory))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()
