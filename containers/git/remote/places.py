"""Whether a remote is still where it was: compares URLs by what they lead to, not by how they are written.

A run, its resumption and its publication are different processes, and between them anything may have changed
the configuration of git.
"""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from containers.git.command import Git, GitError
from tasks.lazy.patterns import regex
from tasks.text import without_credentials

if TYPE_CHECKING:
    from containers.git.remote.remotes import Remote

_SCP = regex(r"(?:[^@/\s]+@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^:/\s@]+):(?!//)(?P<path>.*)", re.DOTALL)
"""`host:path`, which means ssh: https://git-scm.com/docs/git-clone#_git_urls"""
_PORTS = {"https": 443, "http": 80, "ssh": 22, "git+ssh": 22, "ssh+git": 22, "git": 9418}
_PLAIN = frozenset({"http", "git", "ftp"})
"""Schemes without encryption, where nothing shows which host answers."""


def url_call(name: str, *, push: bool = False) -> tuple[str, ...]:
    """Return the call of git that `url_of` makes first."""
    return "remote", "get-url", *(["--push"] if push else []), "--", name


def url_of(git: Git, name: str, *, push: bool = False) -> str | None:
    """Return the URL that git uses for a remote, after `insteadOf`; `None` if there is no such remote.

    Blocking.

    Args:
        git: A git that runs where the user would run it: the URL of a remote may be a relative path.
        name: The remote's name, such as `origin`, or a URL.
        push: Return the URL to push to (`pushUrl`, `pushInsteadOf`).
    """
    output = git.run(*url_call(name, push=push), ok=(0, 2, 128))
    if output.code == 0:
        return output.text.split("\n")[0]
    is_url = "/" in name or ":" in name
    return git.run("ls-remote", "--get-url", "--", name).text if is_url else None


def urls_of(url: Callable[..., str | None]) -> tuple[str, ...]:
    """Return the URLs that a remote is read from and pushed to, without credentials; none if it does not exist.

    Blocking. `url` is the remote's `url`.
    """
    fetch = url()
    push = url(push=True) if fetch else None
    return (without_credentials(fetch), without_credentials(push)) if fetch and push else ()


def check_unmoved(remote: "Remote", before: Sequence[str], run: str) -> None:
    """Check that a remote leads to where it did when a run started. Blocking.

    Args:
        remote: The remote.
        before: What `urls_of` returned then; nothing is checked without it.
        run: The run's id, for the message.

    Raises:
        GitError: It leads elsewhere.
    """
    if not before:
        return
    name = without_credentials(remote.name)
    for old, new in zip(before, urls_of(remote.url) or ("",) * len(before), strict=True):
        if not is_same_place(old, new):
            raise GitError(
                f"the remote {name} is {new or 'missing'} now, and was {old} when run {run} started, so "
                f"nothing was sent there; correct it with `git remote set-url {name}`, or add "
                f"`--remote {name}` if it is right as it is"
            )


def is_same_place(one: str, other: str) -> bool:
    """Whether two URLs lead to the same repository of the same host, by encrypted connections or both not."""
    return _place_of(one) == _place_of(other)


def _place_of(url: str) -> tuple[object, ...]:
    """Return what identifies where a URL leads to; the path of a directory is taken as it is."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return (url,)
    if "://" not in url:
        found = _SCP.fullmatch(url)
        return (found["host"].strip("[]").lower(), None, False, _plain_path(found["path"])) if found else (url,)
    if not parts.hostname or parts.query or parts.fragment:
        return (url,)
    port = None if port == _PORTS.get(parts.scheme) else port
    return (parts.hostname, port, parts.scheme in _PLAIN, _plain_path(parts.path))


def _plain_path(path: str) -> str:
    return path.strip("/").removesuffix(".git")
