"""Find the Dagger engine of the tests, or the reason why there is none."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import anyio

from containers.dagger_engine.query import EngineError
from containers.dagger_engine.session import CLI, HOST, Session

NONE = "no Dagger engine answers"
"""Prefix of the skip reason of tests that need it."""
REQUIRED = "PATCHYARD_REQUIRE_ENGINE"


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an environment that locate the engine and its command line."""
    kept = {name: value for name, value in environ.items() if "DAGGER" in name or name.startswith("DOCKER_")}
    return {"DO_NOT_TRACK": "1", **kept}


def obstacle(environ: Mapping[str, str], directory: Path) -> str | None:
    """Return why no engine can be used, in one line, or `None` if one answers."""
    if not (environ.get(HOST) or _has_docker(environ)):
        return f"{NONE} (set {HOST})"
    if not (environ.get(CLI) or shutil.which("dagger", path=environ.get("PATH"))):
        return f"{NONE}: there is no dagger command line on PATH"

    async def open_and_close() -> None:
        await (await Session.open(None, environ, directory / "session.log")).aclose()

    try:
        anyio.run(open_and_close)
    except EngineError as error:
        return f"{NONE} at {environ.get(HOST, 'the container runtime')}: {error}"
    return None


def _has_docker(environ: Mapping[str, str]) -> bool:
    docker = shutil.which("docker", path=environ.get("PATH"))
    command = [docker or "", "version", "--format", "{{.Server.Version}}"]
    return bool(docker) and not subprocess.run(command, check=False, capture_output=True, timeout=30).returncode


def environment(home: Mapping[str, str]) -> dict[str, str]:
    """Return a user's environment with the variables that locate the engine."""
    return {**home, **variables(os.environ)}
