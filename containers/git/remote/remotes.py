"""Remotes: list branches, fetch, push; every call has a time limit."""

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import field
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from containers.git.command import Git, GitError, GitTimeoutError, Output, useful_line
from containers.git.remote.places import url_of
from containers.temporary import temporary_directory
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.text import without_credentials

if TYPE_CHECKING:
    from containers.git.remote.remote_address import Address, Settings

TIMEOUT = 300.0
"""Limit of one call over the network, in seconds."""

_HEADS = "refs/heads/"
_NAME = "{remote}"
"""In the arguments of a call, the place of the remote's name."""
_USERNAME = "PATCHYARD_GIT_USERNAME"
_PASSWORD = "PATCHYARD_GIT_PASSWORD"  # noqa: S105 - the name of a variable
_HELPER = (
    f'!f() {{ test "$1" = get && printf "username=%s\\npassword=%s\\n" "${_USERNAME}" "${_PASSWORD}"; }}; f'
)
_REASON = regex(r"\((?P<reason>.*)\)$", re.DOTALL)
_UNREACHABLE = (
    (regex(r"could not read (Username|Password)"), "it requires a user name and a password; give a token"),
    (
        regex(r"Authentication failed|Invalid username or|invalid credentials", re.IGNORECASE),
        "it rejects the token or password; check that it has not expired",
    ),
    (
        regex(r"Permission denied \(|publickey"),
        "it rejects your SSH key; check that the SSH agent has it",
    ),
    (
        regex(r"Host key verification failed"),
        "its SSH host key is not known; connect once with ssh to check it",
    ),
    (regex(r"error: 403|Permission to .* denied"), "the token or account may not write there"),
    (
        regex(r"[Rr]epository .*not found|error: 404"),
        "the repository does not exist, or the token or account may not see it",
    ),
    (
        regex(r"SSL certificate problem|certificate verif|server certificate", re.IGNORECASE),
        "its certificate is not trusted; name that of its authority with `git config --global http.sslCAInfo`",
    ),
    (
        regex(r"Could not resolve host"),
        "its name cannot be resolved; check the network and the remote's URL",
    ),
    (
        regex(r"Connection (refused|timed out|reset)|Failed to connect|Could not connect|unreachable"),
        "it cannot be reached; check the network and the remote's URL",
    ),
    (
        regex(r"does not appear to be a git repository"),
        "there is no git repository; check the remote's URL with `git remote -v`",
    ),
)


class RemoteError(GitError):
    """A remote cannot be reached or refuses access. The message names it and says what to do."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A user name and a password for one host, passed to git in the environment of a single call."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Push:
    """A branch to push. `lease` is the commit that the remote has there; `None` if it has no such branch."""

    branch: str
    commit: str
    lease: str | None


class PushFailure(Enum):
    """What a failed push of a branch is due to."""

    BRANCH = auto()
    """The branch: it has moved on the remote, or git does not take it."""
    PUSH = auto()
    """The whole push, perhaps because of another branch in it: the branch may be taken in a push of its own."""
    REMOTE = auto()
    """The remote: it cannot be reached, or gives no access."""


@dataclass(frozen=True, slots=True)
class PushResult:
    """The result of a push: `error` is `None`, or one sentence; `failure` is what it is due to."""

    branch: str
    error: str | None = None
    failure: PushFailure | None = field(default=None, compare=False)


class Remote:
    """A remote of a repository, by its name or URL. Blocking; never prompts for a password.

    Args:
        git: A git that runs where the user would run it: the URL of a remote may be a relative path.
        name: The remote's name, such as `origin`, or a URL.
        address: Where every call over the network goes, whatever the configuration says by then; without one,
            each call goes where the configuration says.
    """

    def __init__(self, git: Git, name: str, address: "Address | None" = None) -> None:
        self._git = git
        self.name = name
        self._address = address

    def fixed(self) -> "Remote":
        """Return the remote with the URL to push to, and the settings to reach it, that it has now.

        Each of its calls over the network fails with a `RemoteError` if they have changed by then.

        Raises:
            GitError: There is no such remote.
        """
        from containers.git.remote.remote_address import read_address  # noqa: PLC0415 - start-up stays quick

        url = self.url(push=True)
        if url is None:
            raise GitError(f"there is no remote {self.name}; add it with `git remote add {self.name} URL`")
        return Remote(self._git, self.name, read_address(self._git, self.name, url))

    def url(self, *, push: bool = False) -> str | None:
        """Return the URL that git uses, after `insteadOf`; `None` if there is no such remote.

        Args:
            push: Return the URL to push to (`pushUrl`, `pushInsteadOf`).
        """
        if self._address is not None and push:
            return self._address.url
        return url_of(self._git, self.name, push=push)

    def configured_url(self) -> str | None:
        """Return the URL as the user wrote it, before `insteadOf`; `None` if there is no such remote."""
        output = self._git.run("config", "--get-all", f"remote.{self.name}.url", ok=(0, 1))
        return output.text.split("\n")[0] or None

    def set_url(self, url: str) -> None:
        """Change the URL in the configuration. Only for the program's own copies, never the user's repository.

        Raises:
            GitError: The configuration cannot be written.
        """
        self._git.run("config", f"remote.{self.name}.url", url)

    def branches(
        self, patterns: Sequence[str], credential: Credential | None, timeout: float = TIMEOUT
    ) -> Mapping[str, str]:
        """Return the remote's branches that match patterns such as `patchyard/*`, with their commits.

        Raises:
            RemoteError: The remote cannot be reached or read.
        """
        full = [f"{_HEADS}{pattern}" for pattern in patterns]
        lines = self._call(credential, timeout, "ls-remote", "--quiet", "--", _NAME, *full).split("\n")
        found = (line.split("\t") for line in lines if line)
        return {name.removeprefix(_HEADS): commit for commit, name in found if name.startswith(_HEADS)}

    def default_branch(self, credential: Credential | None, timeout: float = TIMEOUT) -> str | None:
        """Return the name of the branch that the remote's HEAD points to; `None` if it has none.

        Raises:
            RemoteError: The remote cannot be reached or read.
        """
        arguments = ("ls-remote", "--quiet", "--symref", "--", _NAME, "HEAD")
        for line in self._call(credential, timeout, *arguments).split("\n"):
            if line.startswith(f"ref: {_HEADS}"):
                return line.split("\t")[0].removeprefix(f"ref: {_HEADS}")
        return None

    def fetch(self, commit: str, credential: Credential | None, timeout: float = TIMEOUT) -> None:
        """Fetch one commit if the repository does not have it: no ref, no tag and no FETCH_HEAD changes.

        Raises:
            RemoteError: The remote cannot be reached or does not have the commit.
        """
        if self._git.run("cat-file", "-e", f"{commit}^{{commit}}", ok=range(256)).code == 0:
            return
        options = (
            "--no-write-fetch-head",
            "--no-tags",
            "--no-prune",
            "--no-recurse-submodules",
            "--no-auto-gc",
            "--quiet",
        )
        self._call(credential, timeout, "fetch", *options, "--refmap=", "--", _NAME, commit)

    def contains(self, tip: str, commit: str, credential: Credential | None, timeout: float = TIMEOUT) -> bool:
        """Return whether a tip of the remote is a commit or a descendant of it, by the remote's history alone.

        For a shallow clone, whose own history is cut; that does not change. Reads commits only, if the remote
        permits it (https://git-scm.com/docs/git-rev-list#Documentation/git-rev-list.txt---filterltfilter-specgt).

        Raises:
            RemoteError: The remote cannot be reached or does not have the tip.
        """
        asked = ("--path-format=absolute", "--git-common-dir", "--show-object-format")
        common, _, form = self._git.run("rev-parse", *asked).text.rpartition("\n")
        scratch = Path(common, "patchyard")
        scratch.mkdir(exist_ok=True)
        with temporary_directory(scratch, "history") as directory:
            aside = self._git.unbound().at(environ={"GIT_DIR": str(directory)})
            aside.run("init", "--quiet", "--bare", f"--object-format={form}", str(directory))
            arguments = ("fetch", "--quiet", "--no-tags", "--filter=tree:0", "--refmap=", "--", _NAME, tip)
            self._call(credential, timeout, *arguments, git=aside)
            return aside.run("merge-base", "--is-ancestor", commit, tip, ok=range(256)).code == 0

    def push(
        self, pushes: Sequence[Push], credential: Credential | None, timeout: float = TIMEOUT
    ) -> tuple[PushResult, ...]:
        """Push commits to branches in one call, each only if the remote's branch is at its lease.

        Never with `--set-upstream`, which writes the configuration: concurrent writers fail to lock it.

        Returns:
            One result per push, in the same order, with what went wrong.

        Raises:
            RemoteError: The credential has a line break in it.
        """
        if not pushes:
            return ()
        # https://git-scm.com/docs/git-push#Documentation/git-push.txt---no-force-with-lease
        leases = [f"--force-with-lease={_HEADS}{one.branch}:{one.lease or ''}" for one in pushes]
        refspecs = [f"{one.commit}:{_HEADS}{one.branch}" for one in pushes]
        arguments = (
            "push", "--porcelain", "--verbose", "--no-verify", "--no-signed", "--no-follow-tags",
            "--recurse-submodules=no", "--no-progress", *leases, "--", _NAME, *refspecs,
        )  # fmt: skip
        secret = credential.password if credential else ""
        if reason := self._upload_large_files(pushes, credential, timeout):
            return tuple(PushResult(one.branch, reason, PushFailure.PUSH) for one in pushes)
        try:
            output = self._run(credential, timeout, *arguments, push=True, ok=range(256))
        except GitTimeoutError:
            late = f"{self.name} did not answer within {timeout:g} s; try again later"
            return tuple(PushResult(one.branch, late, PushFailure.REMOTE) for one in pushes)
        stderr = _masked(output.stderr, secret)
        results = {one.branch: one for one in _parse_results(_masked(output.text, secret), stderr)}
        missing = None if output.code == 0 else _explain(self.name, stderr)
        missing = missing or f"{self.name} did not report the result of this push; try again"
        failure = PushFailure.REMOTE if _why_unreachable(stderr) else PushFailure.PUSH
        return tuple(results.get(one.branch, PushResult(one.branch, missing, failure)) for one in pushes)

    def _upload_large_files(
        self, pushes: Sequence[Push], credential: Credential | None, timeout: float
    ) -> str | None:
        """Upload the objects of Git LFS that the commits need; return why that failed, or `None`."""
        from containers.git.remote.large_files import (  # noqa: PLC0415 - start-up stays quick
            MISSING,
            has_large_files,
            upload_arguments,
            upload_input,
        )

        if not has_large_files(self._git):
            return None
        url = self.url(push=True) or self.name
        arguments = upload_arguments(self.name, url, authenticated=credential is not None)
        stdin = upload_input({f"{_HEADS}{one.branch}": one.commit for one in pushes})
        name = without_credentials(self.name)
        try:
            self._run(credential, timeout, *arguments, push=True, stdin=stdin)
        except GitTimeoutError:
            return f"{name} did not take the objects of Git LFS within {timeout:g} s; try again later"
        except RemoteError:
            raise
        except GitError as error:
            stderr = _masked(error.stderr, credential.password if credential else "")
            reason = MISSING if "not a git command" in stderr else useful_line(stderr)
            return f"the objects of Git LFS cannot be sent to {name}: {reason or 'git-lfs gave no reason'}"
        return None

    def _call(
        self, credential: Credential | None, timeout: float, *arguments: str, git: Git | None = None
    ) -> str:
        """Run git against the remote, and explain its errors."""
        secret = credential.password if credential else ""
        try:
            return self._run(credential, timeout, *arguments, push=False, git=git).text
        except RemoteError:
            raise
        except GitTimeoutError:
            raise RemoteError(f"{self.name} did not answer within {timeout:g} s; try again later") from None
        except GitError as error:
            stderr = _masked(error.stderr, secret)
            raise RemoteError(_explain(self.name, stderr), code=error.code, stderr=stderr) from None

    def _run(  # noqa: PLR0913 - what git is given, by name
        self,
        credential: Credential | None,
        timeout: float,
        *arguments: str,
        push: bool,
        ok: Container[int] = (0,),
        git: Git | None = None,
        stdin: bytes | None = None,
    ) -> Output:
        """Run git with a name for the remote in place of `_NAME`, and with the credential.

        `git` is that of the repository by default.

        Raises:
            RemoteError: The configuration has changed, or the credential has a line break in it.
        """
        name = self.name
        settings: Settings = ()
        if self._address is not None:
            try:
                self._address.check(self._git)
            except GitError as error:
                raise RemoteError(str(error)) from None
            name, settings = self._address.alias(authenticated=credential is not None)
        url = self.url(push=push or self._address is not None)
        options, environ = self._access(credential, url or self.name)
        options = ("-c", f"remote.{name}.mirror=false", *options) if push else options
        named = (name if argument == _NAME else argument for argument in arguments)
        ready = (git or self._git).configured(settings).at(environ=environ)
        return ready.run(*options, *named, ok=ok, timeout=timeout, stdin=stdin)

    def _access(self, credential: Credential | None, remote_url: str) -> tuple[tuple[str, ...], dict[str, str]]:
        """Return git options and variables that give a credential to the host of a URL only.

        An empty `credential.helper` resets the user's helpers (https://git-scm.com/docs/gitcredentials).
        """
        if credential is None:
            return (), {}
        # Each attribute of git's credential protocol is a line: https://git-scm.com/docs/git-credential#IOFMT
        if any(character in credential.username + credential.password for character in "\n\r\0"):
            raise RemoteError(
                f"the token for {without_credentials(self.name)} has a line break in it; set it again"
            )
        url = urlsplit(remote_url)
        if url.scheme not in {"http", "https"}:
            return (), {}
        host = url.netloc.rpartition("@")[2]
        options = ("-c", "credential.helper=", "-c", f"credential.{url.scheme}://{host}.helper={_HELPER}")
        return options, {_USERNAME: credential.username, _PASSWORD: credential.password}


def _parse_results(porcelain: str, stderr: str) -> Iterator[PushResult]:
    """Yield the result of each branch that git reports (https://git-scm.com/docs/git-push#_output)."""
    for line in porcelain.split("\n"):
        flag, _, rest = line.partition("\t")
        refs, _, summary = rest.partition("\t")
        name = refs.partition(f":{_HEADS}")[2]
        if len(flag) == 1 and name:
            yield _rejection(name, summary, stderr) if flag == "!" else PushResult(name)


def _rejection(branch: str, summary: str, stderr: str) -> PushResult:
    found = _REASON.search(summary)
    reason = found["reason"] if found else summary
    if "stale info" in reason or "fetch first" in reason or "non-fast-forward" in reason:
        moved = f"somebody else pushed to {branch}; it was not changed; look at their commits first"
        return PushResult(branch, moved, PushFailure.BRANCH)
    if "remote rejected" not in summary and "remote failure" not in summary:
        return PushResult(branch, f"the push to {branch} was rejected: {reason}", PushFailure.BRANCH)
    lines = (line.removeprefix("remote:") for line in stderr.split("\n") if line.startswith("remote:"))
    message = " ".join(" ".join(lines).split())
    declined = f"the remote declined the push to {branch} ({reason}){': ' if message else ''}{message}"
    return PushResult(branch, declined, PushFailure.PUSH)


def _masked(text: str, secret: str) -> str:
    return text.replace(secret, "***") if secret else text


def _why_unreachable(stderr: str) -> str | None:
    """Return why a remote cannot be used, and what to do; `None` if git's message is of another kind."""
    return next((sentence for pattern, sentence in _UNREACHABLE if pattern.search(stderr)), None)


def _explain(remote: str, stderr: str) -> str:
    """Return one sentence that says why a remote cannot be used."""
    name = without_credentials(remote)
    if sentence := _why_unreachable(stderr):
        return f"cannot use the remote {name}: {sentence} (git said: {useful_line(stderr)})"
    return f"cannot use the remote {name}: {useful_line(stderr) or 'git gave no reason'}"
