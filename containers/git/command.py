"""How git is called: the one place that starts git processes.

Everything here blocks. The user's system and global configuration stay in force, because they say how to reach
remotes and which filters files go through; what could change a result, run the user's code or ask a question
is overridden for every call.
"""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from tasks.errors import PatchyardError
from tasks.secrets import FORGE_TOKENS
from tasks.text import without_credentials

OLDEST = (2, 38)
"""The first git with `merge-tree --write-tree`."""

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
    "GIT_ASKPASS": "",  # set and empty: nothing is asked, also not by core.askPass or SSH_ASKPASS
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",  # a remote does not have the replacements
    "GIT_PAGER": "cat",
    "GIT_EDITOR": "false",
    "GIT_SEQUENCE_EDITOR": "false",
    "GIT_MERGE_AUTOEDIT": "no",
}
_SETTINGS = {
    # Nothing of the user's is run, and nothing runs in the background.
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "commit.gpgSign": "false",
    "tag.gpgSign": "false",
    "push.gpgSign": "false",
    # Files are taken as they are, all of them.
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
    "submodule.recurse": "false",
    # An index is one file, which can be copied.
    "core.splitIndex": "false",
    "core.untrackedCache": "false",
    # Two processes at once wait for each other.
    "core.filesRefLockTimeout": "10000",
    "core.packedRefsTimeout": "10000",
    # A diff and a merge are the same for everybody.
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
    # A push or a fetch moves what it names, and nothing else.
    "fetch.recurseSubmodules": "false",
    "fetch.writeCommitGraph": "false",
    "push.followTags": "false",
    "push.negotiate": "false",
    "push.pushOption": "",
    "push.recurseSubmodules": "no",
    "push.useForceIfIncludes": "false",
}


class GitError(PatchyardError):
    """A git call failed; the message has the command, its exit code and what it said.

    `code` is the exit code, `None` where git did not end by itself. `stderr` is all that it said.
    """

    def __init__(self, message: str, *, code: int | None = None, stderr: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.stderr = stderr


class GitTimeoutError(GitError):
    """A git call took too long and was ended."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a git process wrote, and its exit code."""

    stdout: bytes
    stderr: str
    code: int

    @property
    def text(self) -> str:
        """Standard output as text, without the newline at its end."""
        return os.fsdecode(self.stdout).removesuffix("\n")

    @property
    def fields(self) -> list[str]:
        """Standard output as the names that `-z` separates."""
        return [os.fsdecode(name) for name in self.stdout.split(b"\0") if name]


@dataclass(frozen=True, slots=True)
class Git:
    """Starts git processes in a directory, with an environment of the program's own."""

    program: str
    cwd: Path
    environ: Mapping[str, str] = field(repr=False)

    @classmethod
    def find(cls, environ: Mapping[str, str], cwd: Path) -> "Git":
        """Return the git on the user's PATH.

        Raises:
            GitError: There is none, or it is too old.
        """
        program = shutil.which("git", path=environ.get("PATH", os.defpath))
        if program is None:
            raise GitError("git is not installed, or not on PATH; install git 2.38 or newer")
        git = cls(program, cwd, scrubbed(environ))
        said = git.run("version").text
        version = re.search(r"(\d+)\.(\d+)", said)
        if version and (int(version[1]), int(version[2])) < OLDEST:
            raise GitError(f"{said} at {program} is too old; patchyard needs git 2.38 or newer")
        return git

    def at(self, cwd: Path | None = None, environ: Mapping[str, str] | None = None) -> "Git":
        """Return the same git in another directory, with more in its environment."""
        return replace(self, cwd=cwd or self.cwd, environ={**self.environ, **(environ or {})})

    def run(
        self,
        *arguments: str,
        stdin: bytes | None = None,
        ok: Container[int] = (0,),
        timeout: float | None = None,
    ) -> Output:
        """Run git to its end.

        Args:
            arguments: What follows `git`; never a secret.
            stdin: Bytes for standard input, which is empty without them.
            ok: Exit codes that are answers.
            timeout: In seconds; `None` for no limit.

        Raises:
            GitError: It ended otherwise, or did not start.
        """
        try:
            # A session of its own: Ctrl-C reaches the program alone, and what git starts can be ended with it.
            with subprocess.Popen(
                [self.program, *arguments],
                cwd=self.cwd,
                env=self.environ,
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            ) as process:
                try:
                    stdout, stderr = process.communicate(stdin, timeout)
                except BaseException:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    raise
        except subprocess.TimeoutExpired:
            raise GitTimeoutError(
                f"`{shown(arguments)}` did not end within {timeout:g} s, and was stopped"
            ) from None
        except OSError as error:
            raise GitError(f"cannot run git in {self.cwd}: {error.strerror}") from None
        said = without_credentials(os.fsdecode(stderr))
        if process.returncode not in ok:
            raise failure(arguments, process.returncode, said)
        return Output(stdout, said, process.returncode)


def scrubbed(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the program's git calls, made from the user's."""
    kept = {
        name: value
        for name, value in environ.items()
        if name not in FORGE_TOKENS
        and (not name.startswith("GIT_") or name in _KEPT or name.startswith(_KEPT_PREFIXES))
    }
    pairs = [*_handed_over(environ), *_SETTINGS.items()]
    config = {"GIT_CONFIG_COUNT": str(len(pairs))}
    for number, (key, value) in enumerate(pairs):
        config[f"GIT_CONFIG_KEY_{number}"] = key
        config[f"GIT_CONFIG_VALUE_{number}"] = value
    return {**kept, **_FIXED, **config}


def _handed_over(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what the user configures by environment (CI systems do); it stands before our own, which wins."""
    count = environ.get("GIT_CONFIG_COUNT", "")
    names = [
        (f"GIT_CONFIG_KEY_{n}", f"GIT_CONFIG_VALUE_{n}") for n in range(int(count) if count.isdecimal() else 0)
    ]
    return [(environ[key], environ[value]) for key, value in names if environ.get(key) and value in environ]


def failure(arguments: tuple[str, ...], code: int, stderr: str) -> GitError:
    """Return the error of a git call that failed."""
    how = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
    said = useful_line(stderr)
    return GitError(f"`{shown(arguments)}` {how}{': ' if said else ''}{said}", code=code, stderr=stderr)


def shown(arguments: tuple[str, ...], limit: int = 120) -> str:
    """Return the command as people read it: on one line, short, without credentials."""
    text = without_credentials(" ".join(["git", *arguments]).replace("\n", " "))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def useful_line(stderr: str) -> str:
    """Return the line of git's messages that says what is wrong."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    for line in lines:
        for prefix in ("fatal: ", "error: "):
            if line.startswith(prefix):
                return line.removeprefix(prefix)
    return lines[-1] if lines else ""
