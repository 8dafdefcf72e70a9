"""The environment of this process: its own secrets are taken out at the start, before any other process starts.

Any process of the same user can read the environment that a program was started with in /proc/PID/environ,
whatever the program changes later (https://man7.org/linux/man-pages/man5/proc_pid_environ.5.html). So the
entries are overwritten in place, which hides them from root as well, and the kernel is asked to keep the memory
and the environment of this process from others of the same user.
"""

import json
import os
import sys
from collections.abc import Container, Mapping

from tasks.secrets import OWN_SECRETS, without_own_secrets

ON_STDIN = "PATCHYARD_SECRETS_ON_STDIN"
"""Variable of a child process of patchyard itself: its secrets are on its standard input, as JSON."""
PR_SET_DUMPABLE = 4
"""https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html; it does not outlast an exec."""


def take_secrets() -> dict[str, str]:
    """Take the program's own secrets out of the environment of this process, and return them by variable.

    On systems other than Linux they are kept from child processes only. Blocking.
    """
    names = OWN_SECRETS & os.environ.keys()
    if sys.platform == "linux":
        _close_memory_and_erase(names)
    taken = {name: os.environ.pop(name) for name in names}
    return taken | (_read_stdin() if os.environ.pop(ON_STDIN, None) else {})


def hand_over(environ: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
    """Return the environment of a process of patchyard, and what to send to its standard input."""
    secrets = {name: value for name, value in environ.items() if name in OWN_SECRETS}
    return {**without_own_secrets(environ), ON_STDIN: "1"}, json.dumps(secrets).encode()


def _read_stdin() -> dict[str, str]:
    """Read what `hand_over` returned, and leave an empty standard input."""
    with os.fdopen(os.dup(0), "rb") as stream:
        secrets: dict[str, str] = json.loads(stream.read())
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.dup2(descriptor, 0)
    os.close(descriptor)
    return secrets


def _close_memory_and_erase(names: Container[str]) -> None:
    """Close this process to others of the same user, and overwrite entries of its first environment."""
    import ctypes  # noqa: PLC0415 - only needed here

    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    entries = ctypes.POINTER(ctypes.c_void_p).in_dll(libc, "environ")
    index = 0
    while entries and (address := entries[index]):
        entry = ctypes.string_at(address)
        if os.fsdecode(entry.partition(b"=")[0]) in names:
            ctypes.memset(address, 0, len(entry))
        index += 1
