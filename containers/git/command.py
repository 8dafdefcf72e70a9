"""Run git with a controlled environment; the only place that starts git processes. Blocking.

The user's system and global configuration apply: they say how to reach remotes and which filters to use.
Settings that could change a result, run the user's code or prompt are overridden for every call.
"""

import os
import re
import shutil
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import field, replace
from pathlib import Path
from typing import BinaryIO, cast

from containers.git.child import Child
from containers.git.given_settings import configured_pairs, with_pairs
from containers.git.watchdog import Watchdog
from tasks.errors import PatchyardError
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.secrets import without_own_secrets
from tasks.text import without_credentials

OLDEST = (2, 38)
"""The first git with `merge-tree --write-tree` (https://git-scm.com/docs/git-merge-tree)."""
VERSION = ("version",)
"""The call of git that `check_version` makes."""
_KEPT = frozenset(
    {
        "GIT_ALLOW_PROTOCOL",
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_NOSYSTEM",
        "GIT_CONFIG_SYSTEM",
        "GIT_EXEC_PATH",
        "GIT_PROXY_COMMAND",
        "GIT_SSH",
        "GIT_SSH_COMMAND",
        "GIT_SSH_VARIANT",
    },
)
_KEPT_PREFIXES = ("GIT_SSL_", "GIT_PROXY_SSL_", "GIT_HTTP_")
_FIXED = {
    "LC_ALL": "C",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",  # set and empty: no prompt by core.askPass or SSH_ASKPASS either
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",  # a remote does not have the replacements
    # The configuration of the user, which a task may have written, saves neither environment nor requests of a
    # call with a token: https://git-scm.com/docs/api-trace2#_enabling_a_target
    "GIT_TRACE2": "0",
    "GIT_TRACE2_EVENT": "0",
    "GIT_TRACE2_PERF": "0",
    "GIT_PAGER": "cat",
    "GIT_EDITOR": "false",
    "GIT_SEQUENCE_EDITOR": "false",
    "GIT_MERGE_AUTOEDIT": "no",
}
_BINDING = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_DIR",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_WORK_TREE",
    },
)
"""Variables by which the program names a repository to git; those of the user are not passed on."""
_SETTINGS = {
    # No hook runs, and nothing in the background: `gc --auto` during a run breaks other git processes.
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "commit.gpgSign": "false",
    "tag.gpgSign": "false",
    "push.gpgSign": "false",
    # Every file is stored byte for byte.
    "add.ignoreErrors": "false",
    "core.attributesFile": "/dev/null",
    "core.autocrlf": "false",
    "core.bigFileThreshold": "512m",
    "core.checkStat": "default",
    "core.eol": "lf",
    "core.ignoreStat": "false",
    "core.quotePath": "true",
    "core.safecrlf": "false",
    "core.sparseCheckout": "false",
    "core.sparseCheckoutCone": "false",
    "core.symlinks": "true",
    "core.trustctime": "true",
    "index.sparse": "false",
    "sparse.expectFilesOutsideOfPatterns": "false",
    "submodule.recurse": "false",
    # A worktree of the pool changes no configuration, and temporary repositories are readable by every git.
    "init.defaultRefFormat": "files",
    "worktree.useRelativePaths": "false",
    # The index is one file, which can be copied, and whose hash says that it is whole.
    "core.splitIndex": "false",
    "index.skipHash": "false",
    "core.untrackedCache": "false",
    # Concurrent processes wait for each other's locks (milliseconds).
    "core.filesRefLockTimeout": "10000",
    "core.packedRefsTimeout": "10000",
    "reftable.lockTimeout": "10000",
    # Diffs and merges do not depend on the user.
    "diff.algorithm": "default",
    "diff.context": "3",
    "diff.ignoreSubmodules": "none",
    "diff.indentHeuristic": "true",
    "diff.interHunkContext": "0",
    "diff.mnemonicPrefix": "false",
    "diff.noprefix": "false",
    "diff.orderFile": "/dev/null",
    "diff.relative": "false",
    "diff.submodule": "short",
    "diff.suppressBlankEmpty": "false",
    "i18n.commitEncoding": "UTF-8",
    "i18n.logOutputEncoding": "UTF-8",
    "merge.conflictStyle": "merge",
    "merge.default": "text",
    "merge.directoryRenames": "conflict",
    "merge.renameLimit": "7000",
    "merge.renames": "true",
    "merge.renormalize": "false",
    # A push or a fetch changes only the refs that it names.
    "fetch.recurseSubmodules": "false",
    "fetch.writeCommitGraph": "false",
    "push.followTags": "false",
    "push.negotiate": "false",
    "push.pushOption": "",
    "push.recurseSubmodules": "no",
    "push.useForceIfIncludes": "false",
}
_FATAL = 128
_MOVED = regex(
    rb"(?i)(?:failed to unpack tree object|unable to read(?: tree| sha1 file of)?|could not read"
    rb"|bad (?:tree )?object|not a valid object(?: name)?) \(?[0-9a-f]{40}"
)
"""What git says of an object that it does not find, as when `git gc` packs it twice while git looks for it."""
_WATCHDOG = Watchdog()

_DURABLE = (
    # The files of a task's result are on disk before the store says that there is a result. `batch` syncs the
    # objects of a call together (https://git-scm.com/docs/git-config#Documentation/git-config.txt-corefsync).
    ("core.fsync", "loose-object,pack,pack-metadata,reference"),
    ("core.fsyncMethod", "batch"),
)


class GitError(PatchyardError):
    """A git command failed. The message has the command, its exit code and git's own message.

    Args:
        code: The exit code; `None` if git did not start or did not end by itself.
        stderr: The whole standard error.
    """

    def __init__(self, message: str, *, code: int | None = None, stderr: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.stderr = stderr


class GitTimeoutError(GitError):
    """A git command exceeded its time limit and was killed."""


@dataclass(frozen=True, slots=True)
class Output:
    """The output of a git process, and its exit code."""

    stdout: bytes
    stderr: str
    code: int

    @property
    def text(self) -> str:
        """Standard output as text, without the final newline."""
        return os.fsdecode(self.stdout).removesuffix("\n")

    @property
    def fields(self) -> list[str]:
        """Standard output split at NUL bytes, as `-z` separates names."""
        return [os.fsdecode(name) for name in self.stdout.split(b"\0") if name]


@dataclass(frozen=True, slots=True)
class Git:
    """Runs git in a directory, with a scrubbed environment, and by default within `timeout` seconds."""

    program: str
    cwd: Path
    environ: Mapping[str, str] = field(repr=False)
    timeout: float | None = None
    _ahead: dict[object, Child] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def find(cls, environ: Mapping[str, str], cwd: Path) -> "Git":
        """Return the git on the user's PATH.

        Raises:
            GitError: Git is missing or too old.
        """
        git = cls.locate(environ, cwd)
        git.check_version()
        return git

    @classmethod
    def locate(cls, environ: Mapping[str, str], cwd: Path) -> "Git":
        """Return the git on the user's PATH, whatever its version.

        Raises:
            GitError: Git is missing.
        """
        program = shutil.which("git", path=environ.get("PATH", os.defpath))
        if program is None:
            raise GitError("git is not installed, or not on PATH; install git 2.38 or newer")
        return cls(program, cwd, scrub_environment(environ))

    def check_version(self) -> None:
        """Check that git is new enough.

        Raises:
            GitError: It is too old.
        """
        version = self.run(*VERSION).text
        found = re.search(r"(\d+)\.(\d+)", version)
        if found and (int(found[1]), int(found[2])) < OLDEST:
            raise GitError(f"{version} at {self.program} is too old; patchyard needs git 2.38 or newer")

    def at(self, cwd: Path | None = None, environ: Mapping[str, str] | None = None) -> "Git":
        """Return the same git with another directory, and more variables."""
        return replace(self, cwd=cwd or self.cwd, environ={**self.environ, **(environ or {})})

    def unbound(self) -> "Git":
        """Return the same git without the variables that bind it to a repository and to files of it."""
        kept = {name: value for name, value in self.environ.items() if name not in _BINDING}
        return replace(self, environ=kept)

    def durable(self) -> "Git":
        """Return the same git, whose objects and refs survive a loss of power."""
        return self.configured(_DURABLE)

    def configured(self, settings: Sequence[tuple[str, str]]) -> "Git":
        """Return the same git with more settings, which have precedence over those of files."""
        return self.at(environ=with_pairs(self.environ, settings))

    def run(
        self,
        *arguments: str,
        stdin: bytes | BinaryIO | None = None,
        ok: Container[int] = (0,),
        timeout: float | None = None,
    ) -> Output:
        """Run git and wait until it ends.

        Args:
            arguments: The arguments of git; never a secret, since other users see them.
            stdin: Standard input, or an open file that has it; empty by default.
            ok: Exit codes that are not errors.
            timeout: In seconds; `None` for that of this git.

        Raises:
            GitTimeoutError: The time limit was exceeded; git and its child processes were killed.
            GitError: Git ended with another exit code, or did not start.
        """
        timeout = self.timeout if timeout is None else timeout
        stdout, stderr, code = self._communicate(arguments, stdin, timeout)
        if code == _FATAL and _MOVED.search(stderr) and (stdin is None or isinstance(stdin, bytes)):
            stdout, stderr, code = self._communicate(arguments, stdin, timeout)
        text = without_credentials(os.fsdecode(stderr))
        if code not in ok:
            raise command_error(arguments, code, text)
        return Output(stdout, text, code)

    @contextmanager
    def ahead(self, *calls: Sequence[str]) -> Iterator[None]:
        """Start git for calls of `run` that follow in the context, so that they have less to wait for.

        A call takes the git that was started with its arguments, directory and environment. What no call took
        is ended with the context.

        Args:
            calls: The arguments of each call, which has no standard input and must not change anything.
        """
        started = {self._key(arguments): arguments for arguments in calls}
        started = {key: arguments for key, arguments in started.items() if key not in self._ahead}
        try:
            for key, arguments in started.items():
                with suppress(GitError):  # the call reports it
                    self._ahead[key] = self._start(arguments, None)
            yield
        finally:
            for key in started:
                if child := self._ahead.pop(key, None):
                    with child:
                        child.kill()

    def _key(self, arguments: Sequence[str]) -> object:
        return self.cwd, tuple(arguments), frozenset(self.environ.items())

    def _started(self, arguments: Sequence[str]) -> Child | None:
        """Return the git that was started ahead for a call."""
        return self._ahead.pop(self._key(arguments), None) if self._ahead else None

    def _communicate(
        self, arguments: Sequence[str], stdin: bytes | BinaryIO | None, timeout: float | None
    ) -> tuple[bytes, bytes, int]:
        """Run git to its end, and kill it with all its child processes if that is interrupted."""
        child = (None if stdin else self._started(arguments)) or self._start(arguments, stdin)
        with child, _killed_after(child, timeout) as expired:
            stdout, stderr = child.communicate()
        if expired:
            raise _timeout_error(arguments, timeout)
        return stdout, stderr, child.wait()

    def _start(
        self, arguments: Sequence[str], stdin: bytes | BinaryIO | None, stderr: BinaryIO | None = None
    ) -> Child:
        given = stdin if stdin is None or isinstance(stdin, bytes) else stdin.fileno()
        try:
            self.cwd.stat()  # git itself would name it in a message of its own
            argv = [self.program, "-C", str(self.cwd), *arguments]
            return Child(argv, self.environ, given, stderr.fileno() if stderr else None)
        except OSError as error:
            raise GitError(f"cannot run git in {self.cwd}: {error.strerror}") from None

    @contextmanager
    def reading(self, *arguments: str, stdin: bytes = b"") -> Iterator[BinaryIO]:
        """Run git, and give its standard output as a stream: it may be larger than memory.

        The stream has to be read to its end in the context, after which git has ended.

        Raises:
            GitError: As for `run`.
        """
        with _unnamed(stdin) if stdin else nullcontext() as given, _unnamed() as errors:
            with (
                self._start(arguments, given, errors) as child,
                _killed_after(child, self.timeout) as expired,
            ):
                yield child.stdout
            errors.seek(0)
            if expired:
                raise _timeout_error(arguments, self.timeout)
            if code := child.wait():
                raise command_error(arguments, code, without_credentials(os.fsdecode(errors.read())))


def _unnamed(content: bytes = b"") -> BinaryIO:
    """Return an open file without a name, at its beginning: in memory, where the system has such files."""
    try:
        file = _in_memory() or _on_disk()
        file.write(content)
        file.seek(0)
    except OSError as error:
        raise GitError(f"cannot write a temporary file: {error.strerror}") from None
    return file


def _on_disk() -> BinaryIO:
    from tempfile import TemporaryFile  # noqa: PLC0415 - start-up stays quick

    return cast("BinaryIO", TemporaryFile())


def _in_memory() -> BinaryIO | None:
    if hasattr(os, "memfd_create"):
        with suppress(OSError):  # a container may forbid the call
            return cast("BinaryIO", os.fdopen(os.memfd_create("patchyard"), "w+b"))
    return None


def _timeout_error(arguments: Sequence[str], seconds: float | None) -> GitTimeoutError:
    command = describe_command(arguments)
    return GitTimeoutError(f"`{command}` did not end within {seconds or 0:g} s, and was stopped")


@contextmanager
def _killed_after(child: Child, seconds: float | None) -> Iterator[list[bool]]:
    """Kill a process and its child processes if it still runs after a time; the list then has an item."""
    expired: list[bool] = []

    def expire() -> None:
        expired.append(True)
        child.kill()

    if seconds is None:
        yield expired
        return
    with _WATCHDOG.calling_after(seconds, expire):
        yield expired


def scrub_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the user's environment without what changes results, with the program's own settings.

    https://git-scm.com/docs/git#_environment_variables
    """
    kept = {
        name: value
        for name, value in without_own_secrets(environ).items()
        if not name.startswith("GIT_") or name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
    return with_pairs({**kept, **_FIXED}, [*configured_pairs(environ), *_SETTINGS.items()])


def command_error(arguments: Sequence[str], code: int, stderr: str) -> GitError:
    """Return the error for a failed git command."""
    how = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
    reason = useful_line(stderr)
    return GitError(
        f"`{describe_command(arguments)}` {how}{': ' if reason else ''}{reason}", code=code, stderr=stderr
    )


def describe_command(arguments: Sequence[str], limit: int = 120) -> str:
    """Return a git command for messages: one line of at most `limit` characters, without credentials."""
    text = without_credentials(" ".join(["git", *arguments]).replace("\n", " "))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def useful_line(stderr: str) -> str:
    """Return the line of git's standard error that has the reason."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    for line in lines:
        for prefix in ("fatal: ", "error: "):
            if line.startswith(prefix):
                return line.removeprefix(prefix)
    return lines[-1] if lines else ""
