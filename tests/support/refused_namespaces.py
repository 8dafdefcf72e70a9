"""Ways in which a system refuses user namespaces: a command that runs another one there.

A module that is a script as well: `python refused_namespaces.py COMMAND...` runs a command under the filter of
system calls that container engines have by default.
"""

import ctypes
import os
import platform
import struct
import subprocess
import sys
from collections.abc import Sequence

NEW_NAMESPACES = 0x7E02_0000
"""The flags of clone(2) for new namespaces (Linux: `linux/sched.h`)."""
CALLS = {"x86_64": (272, 56), "aarch64": (97, 220)}
"""The numbers of unshare(2) and clone(2); that of clone3(2) is the same on all machines."""
_CLONE3, _EPERM, _ENOSYS = 435, 1, 38
_LOAD, _EQUAL, _HAS_BITS, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF_0000, 0x0005_0000

FILTERED = (sys.executable, __file__)
"""As in a container without privileges; there clone3(2) is refused so that programs use clone(2)."""
NO_MORE = (
    *("unshare", "--user", "--map-root-user", "sh", "-c"),
    *('echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh"),
)
"""In a user namespace that may have no others."""
APPARMOR = (
    *("unshare", "--user", "--map-root-user", "--mount", "sh", "-c"),
    *('mount -t tmpfs tmpfs /proc/sys/kernel && echo 1 > /proc/sys/kernel/"$0" && exec "$@"',),
    "apparmor_restrict_unprivileged_userns",
)
"""Where the setting of Ubuntu is seen."""


def works(command: Sequence[str]) -> bool:
    """Whether a command can be run in this way here."""
    done = subprocess.run([*command, "true"], capture_output=True, check=False)
    return done.returncode == 0


def _filter() -> bytes:
    unshare, clone = CALLS[platform.machine()]
    program = [
        (_LOAD, 0, 0, 0),  # the number of the call
        (_EQUAL, 5, 0, unshare),
        (_EQUAL, 3, 0, _CLONE3),
        (_EQUAL, 0, 4, clone),
        (_LOAD, 0, 0, 16),  # its first argument
        (_HAS_BITS, 1, 2, NEW_NAMESPACES),
        (_RETURN, 0, 0, _ERRNO | _ENOSYS),
        (_RETURN, 0, 0, _ERRNO | _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", code, *rest) for code, *rest in program)


def main() -> None:
    """Run the command of the arguments under the filter."""
    libc, program = ctypes.CDLL(None, use_errno=True), _filter()
    kept = ctypes.create_string_buffer(program)
    given = struct.pack("@HP", len(program) // 8, ctypes.addressof(kept))
    libc.prctl(38, 1, 0, 0, 0)  # no new privileges
    if libc.prctl(22, 2, ctypes.create_string_buffer(given), 0, 0):
        sys.exit(f"no filter: {os.strerror(ctypes.get_errno())}")
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - the command of the test


if __name__ == "__main__":
    main()
