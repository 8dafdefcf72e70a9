"""Git processes: their files, their end, and what they do not inherit."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from containers.git.child import Child

LARGE = 3 << 20
"""Bytes that no pipe holds."""


def sh(script: str, stdin: bytes | int | None = None, stderr: int | None = None) -> Child:
    return Child(["/bin/sh", "-c", script], dict(os.environ), stdin, stderr)


def run_alone(script: str, **options: object) -> str:
    """Run a script in an interpreter of its own, since it changes what is open or ignored."""
    code = "import os, signal, sys\nfrom containers.git.child import Child\n" + dedent(script)
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
        timeout=60,
        **options,
    )  # type: ignore[call-overload]
    return str(done.stdout)


def test_much_input_and_output_at_the_same_time() -> None:
    with sh("tee /dev/stderr", b"x" * LARGE) as child:
        output, errors = child.communicate()
    assert (len(output), len(errors), child.wait()) == (LARGE, LARGE, 0)


def test_input_that_nobody_reads() -> None:
    with sh("exec 0<&-; echo done", b"x" * LARGE) as child:
        assert child.communicate() == (b"done\n", b"")


def test_without_input_there_is_an_end_of_file() -> None:
    for nothing in (None, b""):
        with sh("cat; echo end", nothing) as child:
            assert child.communicate() == (b"end\n", b"")


def test_files_in_place_of_pipes(tmp_path: Path) -> None:
    given, errors = tmp_path / "given", tmp_path / "errors"
    given.write_text("input")
    with (
        given.open("rb") as reading,
        errors.open("wb") as writing,
        sh("cat; echo bad >&2", reading.fileno(), writing.fileno()) as child,
    ):
        assert child.stdout.read() == b"input"
    assert errors.read_text() == "bad\n"


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -9 $$", -signal.SIGKILL)])
def test_exit_codes(script: str, code: int) -> None:
    with sh(script) as child:
        child.communicate()
    assert child.wait() == code


def test_an_error_kills_it_with_its_child_processes() -> None:
    with pytest.raises(ZeroDivisionError), sh("sleep 600 & echo; wait") as child:
        1 // len(child.stdout.readline()[1:])
    assert child.wait() == -signal.SIGKILL


def test_a_program_that_is_missing_leaves_nothing_open(tmp_path: Path) -> None:
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208 - names are enough
    with pytest.raises(FileNotFoundError):
        Child([str(tmp_path / "git")], {}, b"input")
    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208 - as above


def test_it_has_a_session_of_its_own_and_the_usual_signals() -> None:
    with sh("ps -o sid= -p $$; kill -PIPE $$; echo alive") as child:
        output, _ = child.communicate()
    assert int(output) != os.getsid(0)
    assert child.wait() == -signal.SIGPIPE


def test_inherited_descriptors_are_not_passed_on() -> None:
    reading, writing = os.pipe()
    script = f"""
        with Child(["/bin/sh", "-c", "ls /dev/fd"], dict(os.environ)) as child:
            print(child.communicate()[0].decode(), os.get_inheritable({writing}))
    """
    names = run_alone(script, pass_fds=[writing]).split()
    os.close(reading)
    os.close(writing)
    assert str(writing) not in names
    assert names[-1] == "False"


def test_standard_descriptors_that_are_closed() -> None:
    script = """
        os.dup2(1, 9)
        for number in (0, 1, 2):
            os.close(number)
        with Child(["/bin/sh", "-c", "cat; echo bad >&2"], dict(os.environ), b"input") as child:
            os.write(9, repr(child.communicate()).encode())
    """
    assert run_alone(script) == repr((b"input", b"bad\n"))


def test_a_program_that_was_started_with_ignored_ends_of_child_processes() -> None:
    script = """
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        with Child(["/bin/sh", "-c", "echo x; exit 3"], dict(os.environ)) as child:
            print(child.communicate()[0].decode(), child.wait())
    """
    assert run_alone(script).split() == ["x", "0"]
