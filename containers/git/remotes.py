"""What git does over the network: look, fetch, push. Blocks, but never asks and never waits for ever."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from containers.git.command import Git, GitError, GitTimeoutError, useful_line
from tasks.text import without_credentials

TIMEOUT = 300.0
"""Seconds that one call over the network may take."""

_HEADS = "refs/heads/"
_USERNAME = "PATCHYARD_GIT_USERNAME"
_PASSWORD = "PATCHYARD_GIT_PASSWORD"  # noqa: S105 - the name of a variable
_HELPER = (
    f'!f() {{ test "$1" = get && printf "username=%s\\npassword=%s\\n" "${_USERNAME}" "${_PASSWORD}"; }}; f'
)
_REASON = re.compile(r"\((?P<reason>.*)\)$", re.DOTALL)
_UNREACHABLE = (
    (re.compile(r"could not read (Username|Password)"), "it wants a user name and a password; give a token"),
    (
        re.compile(r"Authentication failed|Invalid username or|invalid credentials", re.IGNORECASE),
        "it does not take the token or password; check that it has not expired",
    ),
    (
        re.compile(r"Permission denied \(|publickey"),
        "it does not take your SSH key; check that an agent holds it",
    ),
    (
        re.compile(r"Host key verification failed"),
        "its SSH host key is not known; connect once with ssh to check it",
    ),
    (re.compile(r"error: 403|Permission to .* denied"), "the token or account may not write there"),
    (
        re.compile(r"[Rr]epository .*not found|error: 404"),
        "there is no such repository, or the token or account may not see it",
    ),
    (
        re.compile(r"Could not resolve host"),
        "its name cannot be resolved; check the network and the remote's URL",
    ),
    (
        re.compile(r"Connection (refused|timed out|reset)|Failed to connect|Could not connect|unreachable"),
        "it cannot be reached; check the network and the remote's URL",
    ),
    (
        re.compile(r"does not appear to be a git repository"),
        "there is no git repository; check the remote's URL with `git remote -v`",
    ),
)


class RemoteError(GitError):
    """A remote could not be reached, or refuses; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A user name and a password for one host; handed to git in the environment of the one call."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Push:
    """A branch to push. `lease` is what the remote's branch must be now: an id, or `None` for "absent"."""

    branch: str
    commit: str
    lease: str | None


@dataclass(frozen=True, slots=True)
class PushResult:
    """What became of a push: `error` is `None`, or one plain sentence."""

    branch: str
    error: str | None = None


def remote_url(git: Git, remote: str, *, push: bool) -> str | None:
    """Return a remote's URL as git uses it, `insteadOf` applied; `None` if there is no such remote."""
    output = git.run("remote", "get-url", *(["--push"] if push else []), "--", remote, ok=(0, 2, 128))
    if output.code == 0:
        return output.text.split("\n")[0]
    is_url = "/" in remote or ":" in remote
    return git.run("ls-remote", "--get-url", "--", remote).text if is_url else None


def configured_url(git: Git, remote: str) -> str | None:
    """Return a remote's URL as the user wrote it, before `insteadOf`; `None` if there is no such remote."""
    output = git.run("config", "--get-all", f"remote.{remote}.url", ok=(0, 1))
    return output.text.split("\n")[0] or None


def list_branches(
    git: Git, remote: str, patterns: Sequence[str], credential: Credential | None, timeout: float
) -> Mapping[str, str]:
    """Return the branches of a remote that match patterns such as `patchyard/*`, with their commits."""
    full = [f"{_HEADS}{pattern}" for pattern in patterns]
    lines = _call(git, remote, credential, timeout, "ls-remote", "--quiet", "--", remote, *full).split("\n")
    found = (line.split("\t") for line in lines if line)
    return {name.removeprefix(_HEADS): commit for commit, name in found if name.startswith(_HEADS)}


def default_branch(git: Git, remote: str, credential: Credential | None, timeout: float) -> str | None:
    """Return the name of the branch that a remote's HEAD is; `None` if it has none."""
    said = _call(git, remote, credential, timeout, "ls-remote", "--quiet", "--symref", "--", remote, "HEAD")
    for line in said.split("\n"):
        if line.startswith(f"ref: {_HEADS}"):
            return line.split("\t")[0].removeprefix(f"ref: {_HEADS}")
    return None


def fetch(git: Git, remote: str, commit: str, credential: Credential | None, timeout: float) -> None:
    """Get one commit, and change nothing else: no ref, no tag, no FETCH_HEAD."""
    quiet = (
        "--no-write-fetch-head",
        "--no-tags",
        "--no-prune",
        "--no-recurse-submodules",
        "--no-auto-gc",
        "--quiet",
    )
    _call(git, remote, credential, timeout, "fetch", *quiet, "--refmap=", "--", remote, commit)


def push(
    git: Git, remote: str, pushes: Sequence[Push], credential: Credential | None, timeout: float
) -> tuple[PushResult, ...]:
    """Push commits to branches, each only where the branch is what its lease says."""
    if not pushes:
        return ()
    leases = [f"--force-with-lease={_HEADS}{one.branch}:{one.lease or ''}" for one in pushes]
    refspecs = [f"{one.commit}:{_HEADS}{one.branch}" for one in pushes]
    arguments = (
        "-c", f"remote.{remote}.mirror=false", "push", "--porcelain", "--verbose", "--no-verify", "--no-signed",
        "--no-follow-tags", "--recurse-submodules=no", "--no-progress", *leases, "--", remote, *refspecs,
    )  # fmt: skip
    options, environ, secret = _access(git, remote, credential, push=True)
    try:
        output = git.at(environ=environ).run(*options, *arguments, ok=range(256), timeout=timeout)
    except GitTimeoutError:
        late = f"{remote} did not answer within {timeout:g} s; try again later"
        return tuple(PushResult(one.branch, late) for one in pushes)
    stderr = _masked(output.stderr, secret)
    told = dict(_results(_masked(output.text, secret), stderr))
    missing = None if output.code == 0 else _explained(remote, stderr)
    missing = missing or f"{remote} did not say what became of it; try again"
    return tuple(PushResult(one.branch, told.get(one.branch, missing)) for one in pushes)


def _results(porcelain: str, stderr: str) -> Iterator[tuple[str, str | None]]:
    """Yield each branch that git tells of, and what went wrong with it."""
    for line in porcelain.split("\n"):
        flag, _, rest = line.partition("\t")
        refs, _, summary = rest.partition("\t")
        name = refs.partition(f":{_HEADS}")[2]
        if len(flag) == 1 and name:
            yield name, _rejection(name, summary, stderr) if flag == "!" else None


def _rejection(branch: str, summary: str, stderr: str) -> str:
    found = _REASON.search(summary)
    reason = found["reason"] if found else summary
    if "stale info" in reason or "fetch first" in reason or "non-fast-forward" in reason:
        return (
            f"somebody else pushed to {branch} meanwhile, so it is left as it is; look at their commits first"
        )
    if "remote rejected" not in summary:
        return f"the push to {branch} was rejected: {reason}"
    said = " ".join(
        line.removeprefix("remote:").strip() for line in stderr.split("\n") if line.startswith("remote:")
    )
    said = " ".join(said.split())
    return f"the remote declined the push to {branch} ({reason}){': ' if said else ''}{said}"


def _call(git: Git, remote: str, credential: Credential | None, timeout: float, *arguments: str) -> str:
    """Run git against a remote, and explain what goes wrong."""
    options, environ, secret = _access(git, remote, credential, push=False)
    try:
        return git.at(environ=environ).run(*options, *arguments, timeout=timeout).text
    except GitTimeoutError:
        raise RemoteError(f"{remote} did not answer within {timeout:g} s; try again later") from None
    except GitError as error:
        stderr = _masked(error.stderr, secret)
        raise RemoteError(_explained(remote, stderr), code=error.code, stderr=stderr) from None


def _access(
    git: Git, remote: str, credential: Credential | None, *, push: bool
) -> tuple[tuple[str, ...], dict[str, str], str]:
    """Return options and environment that hand a credential to the remote's own host, and to no other."""
    if credential is None:
        return (), {}, ""
    if any(character in credential.username + credential.password for character in "\n\r\0"):
        raise RemoteError(f"the token for {without_credentials(remote)} has a line break in it; set it anew")
    url = urlsplit(remote_url(git, remote, push=push) or remote)
    if url.scheme not in {"http", "https"}:
        return (), {}, credential.password
    host = url.netloc.rpartition("@")[2]
    options = ("-c", "credential.helper=", "-c", f"credential.{url.scheme}://{host}.helper={_HELPER}")
    return options, {_USERNAME: credential.username, _PASSWORD: credential.password}, credential.password


def _masked(text: str, secret: str) -> str:
    return text.replace(secret, "***") if secret else text


def _explained(remote: str, stderr: str) -> str:
    """Say in one sentence what keeps a remote from answering."""
    told = without_credentials(remote)
    for pattern, sentence in _UNREACHABLE:
        if pattern.search(stderr):
            return f"cannot use the remote {told}: {sentence} (git said: {useful_line(stderr)})"
    return f"cannot use the remote {told}: {useful_line(stderr) or 'git gave no reason'}"
