"""Settings of the user's git configuration that the program reads itself."""

from collections.abc import Mapping
from pathlib import Path

from containers.git.command import Git
from containers.git.signatures import PATCHYARD_IDENTITY, Identity

_IDENTITY = ("config", "-z", "--get-regexp", r"^(user|author)\.(name|email)$")


def identity_calls(environ: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """Return the calls of git that `read_identity` makes: none if the variables are enough."""
    return () if all(map(_is_usable, _from_variables(environ))) else (_IDENTITY,)


def read_identity(git: Git, environ: Mapping[str, str]) -> Identity:
    """Return the user's identity as git resolves it, or patchyard's own if there is none. Blocking.

    The variables come before the configuration (https://git-scm.com/docs/git-commit#_commit_information).
    """
    name, email = _from_variables(environ)
    for call in identity_calls(environ):
        entries = git.run(*call, ok=(0, 1)).fields
        configured = dict(entry.partition("\n")[::2] for entry in entries)
        name = name or configured.get("author.name") or configured.get("user.name", "")
        email = email or configured.get("author.email") or configured.get("user.email", "")
    return Identity(name, email) if _is_usable(name) and _is_usable(email) else PATCHYARD_IDENTITY


def _from_variables(environ: Mapping[str, str]) -> tuple[str, str]:
    return environ.get("GIT_AUTHOR_NAME", ""), environ.get("GIT_AUTHOR_EMAIL", "")


def _is_usable(text: str) -> bool:
    """Whether anything of a name or an address is left after git strips what it calls crud (git: `ident.c`)."""
    return bool(text.strip(" \t\n.,:;<>\"\\'"))


def find_ignore_file(git: Git, environ: Mapping[str, str]) -> Path:
    """Return the user's global ignore file, whether or not it exists. Blocking.

    https://git-scm.com/docs/git-config#Documentation/git-config.txt-coreexcludesFile
    """
    configured = git.run("config", "-z", "--type=path", "--get", "core.excludesFile", ok=(0, 1)).fields
    config = environ.get("XDG_CONFIG_HOME") or f"{environ.get('HOME', '')}/.config"
    return Path(configured[-1]) if configured else Path(config, "git", "ignore")


def absolute_urls(git: Git) -> tuple[tuple[str, str], ...]:
    """Return settings with which remotes whose URL is a relative path are found from everywhere. Blocking.

    Args:
        git: A git that runs where the paths are relative to.
    """
    entries = git.run("config", "-z", "--get-regexp", r"^remote\..*\.url$", ok=(0, 1)).fields
    urls = dict.fromkeys(entry.partition("\n")[2] for entry in entries)
    pairs = ((url, absolute_url(url, git.cwd)) for url in urls)
    return tuple((f"url.{absolute}.insteadOf", url) for url, absolute in pairs if absolute != url)


def absolute_url(url: str, directory: Path) -> str:
    """Return a URL that is a path relative to a directory as an absolute path; others as they are. Blocking."""
    path = directory / url
    return str(path.resolve()) if url and not url.startswith("/") and path.exists() else url
