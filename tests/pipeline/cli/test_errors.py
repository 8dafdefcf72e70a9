"""Errors that a command does not expect: a sentence and an exit code, or the traceback of a defect."""

import subprocess
import sys

import pytest

PROGRAM = """
import errno
from pipeline.cli.main import ErrorReportingGroup
from tasks.errors import PatchyardError

group = ErrorReportingGroup()
no_space = OSError(errno.ENOSPC, "No space left on device", "/repo/.git/x")

@group.command()
def command():
    raise {error}

group(["command"])
"""


def result_of(error: str) -> "subprocess.CompletedProcess[str]":
    """Run a command that raises the error of an expression."""
    program = PROGRAM.format(error=error)
    return subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("no_space", "/repo/.git/x: No space left on device"),
        ("ExceptionGroup('a', [ExceptionGroup('b', [no_space])])", "/repo/.git/x: No space left on device"),
        (r"ExceptionGroup('a', [ValueError(), PatchyardError('a sentence\x1b')])", "a sentence<U+001B>"),
        ("RecursionError()", "a file or a directory is nested too deeply; make it flatter"),
        (
            "RuntimeError(\"Symlink loop from '/work/trees'\")",
            "a symbolic link leads to itself: /work/trees",
        ),
        ('RuntimeError("can\'t start new thread")', "the system permits no more threads; raise the limit"),
        ("MemoryError()", "there is not enough memory; close other programs, or raise the limit"),
    ],
)
def test_an_expected_error_is_one_sentence(error: str, message: str) -> None:
    done = result_of(error)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"patchyard: {message}\n")


def test_a_defect_is_not_hidden() -> None:
    assert "ValueError: a defect" in result_of("ExceptionGroup('a', [ValueError('a defect')])").stderr
