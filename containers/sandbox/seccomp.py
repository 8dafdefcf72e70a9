"""A filter of system calls, for a thread and what it starts, or in the form that bubblewrap takes.

With TIOCSTI, a process types into the terminal that it was started from, and so leaves the sandbox
(https://nvd.nist.gov/vuln/detail/CVE-2017-5226); TIOCLINUX pastes into a console. Keyrings of the kernel belong
to the user's session, whatever namespaces a process is in (keyrings(7)). What io_uring(7) does is past every
filter, and it has had many faults; programs do without it, since the default of Docker refuses it, too. Filters
are explained in https://docs.kernel.org/userspace-api/seccomp_filter.html.
"""

import platform
import struct
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

from containers.sandbox.landlock import c_library, is_set_user_id

TIOCSTI, TIOCLINUX = 0x5412, 0x541C
"""Requests of ioctl(2) that are refused (Linux: `asm-generic/ioctls.h`)."""
IO_URING_SETUP = 425
"""The number of io_uring_setup(2); it is the same on all machines."""
_EPERM = 1
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
"""Instructions: load a word, jump if it is equal, return (Linux: `linux/bpf_common.h`)."""
_NUMBER, _ARCHITECTURE, _SECOND_ARGUMENT = 0, 4, 24
"""Offsets in `struct seccomp_data`; the lower half of the argument, on little-endian machines."""
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000

_LENGTH = 8
"""Bytes of an instruction."""
_NO_NEW_PRIVILEGES, _SET_FILTER, _BY_PROGRAM = 38, 22, 2
"""https://man7.org/linux/man-pages/man2/PR_SET_SECCOMP.2const.html"""


class _Machine(NamedTuple):
    audit: int
    """Its number in `linux/audit.h`."""
    ioctl: int
    keys: tuple[int, int, int]
    """Of add_key(2), request_key(2) and keyctl(2)."""


MACHINES: Mapping[str, _Machine] = MappingProxyType(
    {"x86_64": _Machine(0xC000003E, 16, (248, 249, 250)), "aarch64": _Machine(0xC00000B7, 29, (217, 218, 219))}
)
_X32 = 0x40000000
"""The bit of system calls of the x32 interface, which has numbers of its own for them."""


@cache
def call_filter(machine: str | None = None) -> bytes | None:
    """Return the filter; `None` for a machine whose numbers are not known.

    Args:
        machine: Its name as `uname -m` prints it; by default this one.
    """
    known = MACHINES.get(machine or platform.machine())
    if known is None:
        return None
    refused = [number | bit for number in (*known.keys, IO_URING_SETUP) for bit in (0, _X32)]
    calls = [known.ioctl, known.ioctl | _X32]
    program = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_EQUAL, known.audit, 1, 0),
        _instruction(_RETURN, _KILL),  # a 32-bit program would have other numbers
        _instruction(_LOAD, _NUMBER),
        # Each jump leads to the last instruction, which refuses.
        *(_instruction(_EQUAL, number, len(refused) - place + 6, 0) for place, number in enumerate(refused)),
        *(_instruction(_EQUAL, number, len(calls) - place, 0) for place, number in enumerate(calls)),
        _instruction(_RETURN, _ALLOW),
        _instruction(_LOAD, _SECOND_ARGUMENT),
        _instruction(_EQUAL, TIOCSTI, 2, 0),
        _instruction(_EQUAL, TIOCLINUX, 1, 0),
        _instruction(_RETURN, _ALLOW),
        _instruction(_RETURN, _ERRNO | _EPERM),
    ]
    return b"".join(program)


def filter_thread(program: str) -> bool:
    """Put the calling thread, and what it starts, under the filter; return whether it is.

    Bubblewrap itself would put only the task's command under it, at the last moment: until then, a process of
    an earlier step could trace it, and do what is refused.

    Args:
        program: The path of bubblewrap. One with the set-user-ID bit would not get its rights afterwards.
    """
    instructions = call_filter()
    if instructions is None or is_set_user_id(program):
        return False
    import ctypes  # noqa: PLC0415 - only needed here

    libc = c_library()
    held = ctypes.create_string_buffer(instructions, len(instructions))
    described = struct.pack("HP", len(instructions) // _LENGTH, ctypes.addressof(held))  # struct sock_fprog
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return False
    return bool(libc.prctl(_SET_FILTER, _BY_PROGRAM, described) == 0)


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """Return a `struct sock_filter`; the jumps skip so many instructions."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
