"""The filter of system calls, by an interpreter of its program: what the kernel would answer."""

import struct

import pytest

from containers.sandbox.seccomp import IO_URING_SETUP, MACHINES, TIOCLINUX, TIOCSTI, call_filter

ALLOWED, REFUSED, KILLED = 0x7FFF0000, 0x00050001, 0x80000000
X32 = 0x40000000


def _answer(program: bytes, architecture: int, number: int, argument: int = 0) -> int:
    words = {0: number, 4: architecture, 24: argument}
    instructions = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    at = accumulator = 0
    while True:
        code, if_true, if_false, value = instructions[at]
        if code == 0x06:
            return int(value)
        if code == 0x20:
            accumulator = words[value]
            at += 1
        else:
            at += 1 + (if_true if accumulator == value else if_false)


@pytest.mark.parametrize("machine", MACHINES)
def test_calls(machine: str) -> None:
    program, known = call_filter(machine) or b"", MACHINES[machine]
    for bit in (0, X32):
        for request, expected in ((TIOCSTI, REFUSED), (TIOCLINUX, REFUSED), (0x5413, ALLOWED)):
            assert _answer(program, known.audit, known.ioctl | bit, request) == expected
        for number in (*known.keys, IO_URING_SETUP):
            assert _answer(program, known.audit, number | bit, TIOCSTI) == REFUSED
    for number in {1, known.keys[0] - 1, known.keys[2] + 1, known.ioctl + 1}:
        assert _answer(program, known.audit, number, TIOCSTI) == ALLOWED
    assert _answer(program, 1, known.ioctl) == KILLED


def test_a_machine_with_unknown_numbers_has_no_filter() -> None:
    assert call_filter("sparc") is None
