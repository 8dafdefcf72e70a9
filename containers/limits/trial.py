"""Find out by one try which limits control groups can hold here."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping

from containers.limits.groups import RunGroups, open_groups
from containers.limits.limits import Limits
from tasks.text import first_line

_TRIAL_TIMEOUT = 60.0
"""Seconds for the try."""


def find_groups(limits: Limits, environ: Mapping[str, str]) -> tuple[tuple[str, ...], str]:
    """Return the names of the limits that control groups hold here, and why the others have none. Blocking.

    It is tried in another process, since that moves to another group.

    Args:
        limits: The limits of a task.
        environ: The user's environment, by which systemd is reached.
    """
    if not limits:
        return (), ""
    command = (sys.executable, "-P", "-m", __name__, json.dumps([getattr(limits, name) for name in _NAMES]))
    try:
        done = subprocess.run(command, env=environ, capture_output=True, timeout=_TRIAL_TIMEOUT, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return (), f"they cannot be tried: {first_line(str(error))}"
    names, reason = json.loads(done.stdout)
    return tuple(names), reason


_NAMES = ("cpus", "memory", "processes", "files")


def _try() -> None:
    with open_groups(Limits(*json.loads(sys.argv[1])), os.environ) as groups:
        if isinstance(groups, RunGroups):
            with groups.task() as group:
                subprocess.run(group.command(["true"]), check=True)
            found = groups.limits.names, ""
        else:
            found = (), groups
        sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    _try()
