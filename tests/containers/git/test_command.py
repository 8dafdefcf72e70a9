"""Running git: the environment, errors, time limits."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

import pytest
from repositories import Clone, CountedGit

from containers.git.command import Git, GitError, GitTimeoutError, scrub_environment


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    with suppress(ProcessLookupError, FileNotFoundError):
        os.kill(pid, 0)
        return not stat.parent.parent.is_dir() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_the_environment() -> None:
    made = scrub_environment(
        {
            "PATH": "/bin", "HOME": "/home/u", "GIT_DIR": "/x", "GIT_INDEX_FILE": "i", "GIT_TRACE": "1",
            "GIT_SSH_COMMAND": "ssh -i key", "GIT_CONFIG_GLOBAL": "/g", "GIT_SSL_NO_VERIFY": "1",
            "GITHUB_TOKEN": "t", "GH_TOKEN": "t", "GH_ENTERPRISE_TOKEN": "t",
            "GITHUB_ENTERPRISE_TOKEN": "t", "GIT_TRACE_CURL": "1", "PATCHYARD_DATABASE": "d",
            "PATCHYARD_NOTIFY": "n", "PATCHYARD_TOKEN": "t", "LC_ALL": "de_DE.UTF-8", "https_proxy": "http://proxy",
        },
    )  # fmt: skip
    assert {name: value for name, value in made.items() if not name.startswith("GIT_CONFIG_")} == {
        "PATH": "/bin", "HOME": "/home/u", "GIT_SSH_COMMAND": "ssh -i key", "GIT_SSL_NO_VERIFY": "1",
        "https_proxy": "http://proxy", "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "",
        "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_REPLACE_OBJECTS": "1", "GIT_PAGER": "cat", "GIT_EDITOR": "false",
        "GIT_SEQUENCE_EDITOR": "false", "GIT_MERGE_AUTOEDIT": "no",
        "GIT_TRACE2": "0", "GIT_TRACE2_EVENT": "0", "GIT_TRACE2_PERF": "0",
    }  # fmt: skip
    assert made["GIT_CONFIG_GLOBAL"] == "/g"


def test_settings_in_the_environment_apply_unless_overridden(clone: Clone) -> None:
    given = {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "url.https://mirror.example/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/",
        "GIT_CONFIG_KEY_1": "core.autocrlf",
        "GIT_CONFIG_VALUE_1": "true",
    }
    git = Git.find({**clone.user.environ, **given}, clone.path)
    assert git.run("config", "url.https://mirror.example/.insteadOf").text == "https://github.com/"
    assert git.run("config", "core.autocrlf").text == "false"


@pytest.mark.parametrize(
    ("message", "calls"),
    [
        (f"fatal: failed to unpack tree object {'a' * 40}", 2),
        (f"error: Could not read {'b' * 40}\nfatal: Failed to traverse parents", 2),
        (f"fatal: unable to read tree ({'c' * 64})", 2),
        (f"fatal: bad object {'d' * 40}", 2),
        ("fatal: bad object main", 1),
        ("fatal: could not read Username for 'https://example.com': terminal prompts disabled", 1),
    ],
)
def test_git_is_called_again_for_an_object_that_gc_moved(
    clone: Clone, tmp_path: Path, message: str, calls: int
) -> None:
    """Git looks for an object in two places; meanwhile `git gc` may move it twice."""
    counted, program = tmp_path / "calls", tmp_path / "git"
    program.write_text(
        f'#!/bin/sh\necho x >> "{counted}"\n[ "$(wc -l < "{counted}")" -gt 1 ] && exec cat\n'
        f'printf "%s\\n" "{message}" >&2\nexit 128\n'
    )
    program.chmod(0o755)
    git = replace(Git.find(clone.user.environ, clone.path), program=str(program))
    with (
        nullcontext()
        if calls > 1
        else pytest.raises(GitError, match=r"bad object main|could not read Username")
    ):
        assert git.run("read-tree", stdin=b"given").text == "given"
    assert len(counted.read_text().split()) == calls


def test_error_has_command_exit_code_and_reason(clone: Clone) -> None:
    git = Git.find(clone.user.environ, clone.path)
    with pytest.raises(GitError) as error:
        git.run("cat-file", "blob", "nothing")
    assert str(error.value) == (
        "`git cat-file blob nothing` failed with exit code 128: Not a valid object name nothing"
    )
    assert error.value.code == 128


def test_error_does_not_contain_url_passwords(clone: Clone) -> None:
    git = Git.find(clone.user.environ, clone.path)
    with pytest.raises(GitError) as error:
        git.run("ls-remote", "http://uma:hunter22@127.0.0.1:9/x.git")
    assert "hunter22" not in str(error.value) + error.value.stderr
    assert "http://127.0.0.1:9/x.git" in str(error.value)


def test_timeout_kills_git_and_its_children(clone: Clone, tmp_path: Path) -> None:
    git = Git.find(clone.user.environ, clone.path)
    pid_file = tmp_path / "pid"
    with pytest.raises(GitError, match=r"did not end within 1 s, and was stopped"):
        git.run("-c", f"alias.slow=!echo $$ > {pid_file}; sleep 600", "slow", timeout=1)
    pid = int(pid_file.read_text())
    until = monotonic() + 30
    while is_alive(pid):
        assert monotonic() < until
        sleep(0.01)


class TestAhead:
    """Git that is started before its result is asked for."""

    HEAD = ("rev-parse", "HEAD")

    @pytest.fixture
    def counted(self, clone: Clone, tmp_path: Path) -> CountedGit:
        return CountedGit.at(tmp_path / "bin", clone.user)

    @pytest.fixture
    def git(self, clone: Clone, counted: CountedGit) -> Git:
        return Git.locate(counted.environ, clone.path)

    def test_one_call_takes_what_was_started_for_it(self, clone: Clone, counted: CountedGit, git: Git) -> None:
        with git.ahead(self.HEAD, ("rev-parse", "main")):
            assert git.at(environ={}).run("rev-parse", "main").text == clone.head
            assert git.run(*self.HEAD).text == clone.head
            assert sorted(counted.calls()) == ["rev-parse HEAD", "rev-parse main"]
            assert git.run(*self.HEAD).text == clone.head
            assert counted.calls() == ["rev-parse HEAD"]

    def test_calls_from_threads_get_one_each(self, clone: Clone, counted: CountedGit, git: Git) -> None:
        with git.ahead(self.HEAD), ThreadPoolExecutor(8) as threads:
            assert {*threads.map(lambda _: git.run(*self.HEAD).text, range(8))} == {clone.head}
        assert counted.calls() == ["rev-parse HEAD"] * 8

    def test_another_directory_environment_or_input_needs_another_git(
        self, clone: Clone, counted: CountedGit, git: Git
    ) -> None:
        with git.ahead(("hash-object", "--stdin"), ("rev-parse", "--git-dir")):
            assert git.at(clone.path / ".git").run("rev-parse", "--git-dir").text == "."
            bound = git.at(environ={"GIT_DIR": str(clone.path / ".git")})
            assert bound.run("rev-parse", "--git-dir").text == str(clone.path / ".git")
            given = git.run("hash-object", "--stdin", stdin=b"given").text
            assert git.run("hash-object", "--stdin").text != given
        assert sorted(call.split()[0] for call in counted.calls()) == ["hash-object"] * 2 + ["rev-parse"] * 3

    def test_what_no_call_took_is_ended_with_the_context(self, git: Git, tmp_path: Path) -> None:
        pid_file = tmp_path / "pid"
        until = monotonic() + 30
        with (
            suppress(ZeroDivisionError),
            git.ahead(("-c", f"alias.slow=!echo $PPID $$ > {pid_file}; exec sleep 600", "slow")),
        ):
            while not (pid_file.is_file() and pid_file.read_text().strip()):
                assert monotonic() < until
                sleep(0.01)
            raise ZeroDivisionError
        git_pid, alias_pid = map(int, pid_file.read_text().split())
        with pytest.raises(ProcessLookupError):  # it was waited for
            os.kill(git_pid, 0)
        while is_alive(alias_pid):
            assert monotonic() < until
            sleep(0.01)

    def test_a_context_inside_another_shares_what_was_started(self, counted: CountedGit, git: Git) -> None:
        with git.ahead(self.HEAD), git.ahead(self.HEAD, self.HEAD):
            git.run(*self.HEAD)
        assert counted.calls() == ["rev-parse HEAD"]

    def test_errors_are_those_of_the_call(self, git: Git, tmp_path: Path) -> None:
        gone, slow = git.at(tmp_path / "gone"), ("-c", "alias.slow=!sleep 600", "slow")
        with git.ahead(("rev-parse", "--verify", "nothing"), slow), gone.ahead(self.HEAD):
            with pytest.raises(GitError, match="Needed a single revision"):
                git.run("rev-parse", "--verify", "nothing")
            with pytest.raises(GitTimeoutError, match="did not end within 1 s"):
                git.run(*slow, timeout=1)
            with pytest.raises(GitError, match="gone: No such file or directory"):
                gone.run(*self.HEAD)


def test_missing_working_directory(clone: Clone, tmp_path: Path) -> None:
    git = replace(Git.find(clone.user.environ, clone.path), cwd=tmp_path / "gone")
    with pytest.raises(GitError, match=r"cannot run git in .*gone: No such file or directory"):
        git.run("version")


def test_death_by_signal_is_reported(clone: Clone) -> None:
    git = Git.find(clone.user.environ, clone.path)
    with pytest.raises(GitError, match="was killed by signal 9"):
        git.run("-c", "alias.die=!kill -9 $PPID; sleep 1", "die")


def test_prompts_are_switched_off(clone: Clone, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    program = tmp_path / "askpass"
    program.write_text(f"#!/bin/sh\ntouch {asked}\necho x\n")
    program.chmod(0o755)
    clone.user.configure(core_askPass=str(program))
    git = Git.find({**clone.user.environ, "SSH_ASKPASS": str(program)}, clone.path)
    with pytest.raises(GitError, match="terminal prompts disabled"):
        git.run("credential", "fill", stdin=b"protocol=https\nhost=example.com\n\n")
    assert not asked.exists()


@pytest.mark.parametrize("refused", [True, False])
def test_a_large_output_is_read_as_a_stream(
    clone: Clone, monkeypatch: pytest.MonkeyPatch, *, refused: bool
) -> None:
    """Also where the system has no files in memory."""

    def refuse(_: str) -> int:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    if refused:
        monkeypatch.setattr(os, "memfd_create", refuse, raising=False)
    git = Git.find(clone.user.environ, clone.path)
    name = os.fsencode(clone.head)
    with git.reading("cat-file", "--batch-check", stdin=(name + b"\n") * 20_000) as output:
        assert sum(1 for line in output if line.startswith(name)) == 20_000
    with pytest.raises(GitError, match="unknown option"), git.reading("cat-file", "--bad") as output:
        output.read()
