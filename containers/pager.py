"""Show text through the user's pager, as git does. Blocking."""

import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from tasks.secrets import without_own_secrets

VARIABLES = ("GIT_PAGER", "PAGER")
"""What names a pager, the first that is set: https://git-scm.com/docs/git-var#Documentation/git-var.txt-GITPAGER"""
DEFAULTS = {"LESS": "FRX", "LV": "-c"}
"""Options of usual pagers, if the user has none: quit if it fits the screen, show colours, keep the screen."""
NOT_STARTED = frozenset({126, 127})
"""Exit codes of a shell whose command is not executable, or missing."""


def pager_of(environ: Mapping[str, str]) -> str | None:
    """Return the command of the user's pager; `None` if they want none, or the terminal can show none."""
    if environ.get("TERM", "dumb") == "dumb":
        return None
    named = next((environ[name] for name in VARIABLES if name in environ), None)
    if named is None:
        named = "less" if shutil.which("less", path=environ.get("PATH")) else ""
    return None if named.strip() in {"", "cat"} else named


def page(command: str, lines: Callable[[], Iterable[bytes]], environ: Mapping[str, str]) -> bool:
    """Show lines through a pager, and wait until the user leaves it; return whether it could be started.

    Args:
        command: The command of the pager, for a shell.
        lines: Returns what is shown; it is read no further than the pager reads.
        environ: The environment.
    """
    env = {**DEFAULTS, **without_own_secrets(environ)}
    with subprocess.Popen(["/bin/sh", "-c", command], stdin=subprocess.PIPE, env=env) as process:
        try:
            for line in lines():
                if process.stdin:
                    process.stdin.write(line)
        except BrokenPipeError:
            pass  # the user left before the end
        finally:
            _close(process)
    return process.returncode not in NOT_STARTED


def _close(process: "subprocess.Popen[bytes]") -> None:
    """Wait until the pager ends: Ctrl-C is for the pager, not for this process."""
    with suppress(BrokenPipeError):
        if process.stdin:
            process.stdin.close()
    while True:
        with suppress(KeyboardInterrupt):
            process.wait()
            return
