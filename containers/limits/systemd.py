"""A scope of systemd: a control group that systemd leaves to the processes in it.

See https://systemd.io/CONTROL_GROUP_INTERFACE.
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from time import monotonic, sleep

from containers.limits.delegation import own_group
from containers.limits.limits import LimitsError

START_TIMEOUT = 10.0
"""Seconds that systemd may take to make a scope."""
_POLL_INTERVAL = 0.005
_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")


def enter_scope(environ: Mapping[str, str]) -> Path:
    """Move this process into a new scope, and return its control group. Blocking.

    Of root, it is one of the system; of other users, one of their own service manager. It ends when all
    processes in it have.

    Raises:
        LimitsError: It cannot be made.
    """
    name = f"patchyard-{os.getpid()}-{os.urandom(4).hex()}.scope"
    properties = (
        *("Description", "s", "Tasks of patchyard", "Delegate", "b", "true"),
        *("CollectMode", "s", "inactive-or-failed", "PIDs", "au", "1", str(os.getpid())),
    )
    command = (
        *("busctl", "--system" if os.getuid() == 0 else "--user", "--quiet", "call", *_MANAGER),
        *("StartTransientUnit", "ssa(sv)a(sa(sv))", name, "fail", "4", *properties, "0"),
    )
    runtime = {"XDG_RUNTIME_DIR": f"/run/user/{os.getuid()}", **environ}
    try:
        done = subprocess.run(command, env=runtime, capture_output=True, timeout=START_TIMEOUT, check=False)
    except FileNotFoundError:
        raise LimitsError("systemd (`busctl`) is not on PATH") from None
    except (OSError, subprocess.TimeoutExpired):
        raise LimitsError("systemd does not answer") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise LimitsError(f"systemd makes no scope: {said}")
    return _wait_for(name)


def _wait_for(name: str) -> Path:
    """Wait until this process is in a scope: the answer of systemd comes before."""
    end = monotonic() + START_TIMEOUT
    while (group := own_group()).name != name:
        if monotonic() > end:
            raise LimitsError("systemd has made no scope in time")
        sleep(_POLL_INTERVAL)
    return group
