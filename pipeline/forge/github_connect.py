"""Find the GitHub repository and the token for a remote."""

import re
from collections.abc import Callable, Mapping

from containers.git.repository import Repository
from pipeline.forge.base import ForgeError
from pipeline.forge.github_client import GitHub
from pipeline.forge.github_urls import (
    GITHUB,
    RemoteRepository,
    api_url,
    find_token,
    parse_name,
    parse_remote,
    token_names,
    web_host,
)
from tasks.text import without_credentials


class NoTokenError(ForgeError):
    """There is no token for the forge."""


def connect(
    environ: Mapping[str, str],
    repository: Repository,
    remote: str,
    github: str | None,
    *,
    on_wait: Callable[[float], None] = lambda _: None,
) -> GitHub:
    """Return the GitHub repository of a remote. Blocking: runs git, and `gh auth token` if needed; no request.

    Args:
        environ: Environment, with `GITHUB_API_URL` and the variables of `token_names`.
        repository: The local repository.
        remote: Name of its remote, such as `origin`.
        github: `owner/repo` or `host/owner/repo`, to override the remote.
        on_wait: As for `GitHub`.

    Raises:
        NoTokenError: There is no token.
        ForgeError: The remote does not exist or is not on GitHub, or the token is invalid.
    """
    found, api = locate(environ, repository, remote, github)
    token = find_token(environ, web_host(api))
    if token is None:
        raise NoTokenError(_no_token(environ, found, web_host(api)))
    if not re.fullmatch(r"[!-~]+", token):
        raise ForgeError(f"the token for {web_host(api)} contains invalid characters; set it again")
    return GitHub(api, found.full_name, token, on_wait=on_wait)


def locate(
    environ: Mapping[str, str], repository: Repository, remote: str, github: str | None
) -> tuple[RemoteRepository, str]:
    """Return the GitHub repository of a remote, and the URL of the API. Blocking; parameters as for `connect`.

    Raises:
        ForgeError: The remote does not exist or is not on GitHub.
    """
    url = repository.remote(remote).url()
    if url is None:
        raise ForgeError(
            f"there is no remote {remote} to push to; add it with `git remote add {remote} URL`, or name "
            "another with --remote"
        )
    found = parse_remote(url) or parse_remote(repository.remote(remote).configured_url() or "")
    if github is not None:
        host = found.host if found else GITHUB
        found = parse_name(github, host)
        if found is None:
            raise ForgeError(f"--github: {github!r} is not of the form owner/repo")
    if found is None:
        raise ForgeError(
            f"the remote {remote} ({without_credentials(url)}) does not name a repository on GitHub; say "
            "which with --github owner/repo"
        )
    api = api_url(environ, found)
    if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", api):
        raise ForgeError(
            f"GITHUB_API_URL is {without_credentials(api)!r}; expected a URL such as https://HOST/api/v3"
        )
    return found, api


def _no_token(environ: Mapping[str, str], found: RemoteRepository, host: str) -> str:
    names = token_names(environ, host)
    name = "GITHUB_TOKEN" if "GITHUB_TOKEN" in names else names[0]
    login = "gh auth login" if host == GITHUB else f"gh auth login --hostname {host}"
    return (
        f"there is no token for {found.full_name} on {host}: set {name} to one with write access to contents "
        f"and pull requests there, or sign in with `{login}`"
    )
