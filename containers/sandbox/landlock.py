"""A Landlock domain for the processes of a task, where the kernel has it (Linux 6.12).

It keeps them from connecting to abstract sockets of others, which a mount cannot hide, and from tracing
processes outside of it, such as the one that holds their namespaces. A thread has it, and what that thread
starts. See https://docs.kernel.org/userspace-api/landlock.html.
"""

import os
import stat
import struct
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ctypes

_CREATE_RULESET, _RESTRICT_SELF = 444, 446
"""Numbers of the system calls; they are the same on all machines."""
_VERSION = 1
_WITH_SCOPES = 6
"""The version of the interface that has scopes."""
_ABSTRACT_SOCKETS = 1
_NO_NEW_PRIVILEGES = 38
"""https://man7.org/linux/man-pages/man2/PR_SET_NO_NEW_PRIVS.2const.html"""


def restrict_thread(program: str) -> bool:
    """Put the calling thread, and what it starts, into a domain of its own; return whether it is in one.

    Args:
        program: The path of bubblewrap. One with the set-user-ID bit would not get its rights afterwards.
    """
    if not has_scopes() or is_set_user_id(program):
        return False
    libc = c_library()
    rules = struct.pack("=QQQ", 0, 0, _ABSTRACT_SOCKETS)  # file system, network, scopes
    ruleset = libc.syscall(_CREATE_RULESET, rules, len(rules), 0)
    if ruleset < 0:
        return False
    try:
        if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
            return False
        return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


@cache
def has_scopes() -> bool:
    """Whether the kernel has domains that keep abstract sockets from a process."""
    return sys.platform == "linux" and bool(
        c_library().syscall(_CREATE_RULESET, None, 0, _VERSION) >= _WITH_SCOPES
    )


@cache
def c_library() -> "ctypes.CDLL":
    """Return the C library. Each new object for it is a few kilobytes in cycles, which are collected late."""
    import ctypes  # noqa: PLC0415 - only needed here

    return ctypes.CDLL(None)


def is_set_user_id(program: str) -> bool:
    """Whether a program has the set-user-ID bit, or cannot be looked at. Blocking."""
    with suppress(OSError):
        return bool(Path(program).stat().st_mode & stat.S_ISUID)
    return True
