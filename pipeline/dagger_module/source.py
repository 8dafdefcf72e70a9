"""The caller's repository on the disk of the module's runtime."""

import os
import posixpath
import re
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

import dagger
from anyio import to_thread

from containers.filesystem import remove
from containers.git.working_tree.standalone import borrows, initialize
from pipeline.dagger_module.errors import ModuleError
from pipeline.forge.github_urls import api_url, parse_name, parse_remote, web_host
from pipeline.run.call.prepare import Prepared

HOME = Path("caller")
"""The copy of the caller's repository, below the runtime's working directory."""
SETTINGS_FILES = ("patchyard.toml", "pyproject.toml", "patchyard.lock")
UNNEEDED = (".git/patchyard", ".git/worktrees", ".git/hooks", ".git/*.lock")
Source = dagger.Directory | dagger.Workspace
"""The caller's repository: a named one, or the one that the call comes from."""


def select_files(
    source: Source, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> dagger.Directory:
    """Return a part of the caller's files; of a workspace, the engine uploads nothing else."""
    if isinstance(source, dagger.Workspace):
        return source.directory("/", include=list(include), exclude=list(exclude))
    return source.filter(include=list(include), exclude=list(exclude))


async def import_repository(source: Source) -> bool:
    """Copy a repository to `HOME`: its git directory, and the settings files of its tree.

    Returns whether the copy has the history.
    """
    await select_files(source, include=[".git", *SETTINGS_FILES], exclude=UNNEEDED).export(str(HOME))
    git = HOME / ".git"
    if git.is_dir() and not borrows(git):
        return True
    # A linked worktree, a clone that borrows objects of another, or a directory without git: its files become
    # a repository of one commit.
    await select_files(source, exclude=[".git"]).export(str(HOME))
    await to_thread.run_sync(remove, git)
    await to_thread.run_sync(initialize, HOME, dict(os.environ))
    return False


def plan_place(path: str, taken: Collection[str]) -> tuple[str, list[str]]:
    """Return the path of a plan in the repository without detours, and patterns of what is read of it.

    Raises:
        ModuleError: It is outside of the repository, or begins with a name that is `taken` here.
    """
    place = PurePosixPath(posixpath.normpath(path))
    if place.is_absolute() or place.parts[:1] in {(), ("..",)}:
        raise ModuleError(f"{path} is not a path in the repository; name a plan elsewhere with --plan FILE")
    if place.parts[0] in taken:
        raise ModuleError(f"a plan cannot be in {place.parts[0]} here; name it with --plan FILE")
    beside = place.parent / "*SUMMARY.md"
    return str(place), [str(place), f"{place}/*.md", f"{place}/*.json", str(beside)]


async def import_plan(source: Source, path: str, taken: Collection[str]) -> str:
    """Copy a plan of the caller's repository, a file or a directory, to the same path here, and return that.

    Raises:
        ModuleError: There is no such plan.
    """
    name, parts = plan_place(path, taken)
    found = select_files(source, include=parts)
    if not await found.exists(name):
        raise ModuleError(f"the repository has no {path}; name a plan with --plan FILE or --plan-path PATH")
    await found.export(".")
    return name


async def variable_name(secret: dagger.Secret) -> str:
    """Return the name of the environment variable of a secret.

    Raises:
        ModuleError: The secret has no such name.
    """
    name = (await secret.uri()).rpartition(":")[2].rpartition("/")[2]
    if not name.isidentifier():
        raise ModuleError(f"a secret needs the name of a variable; give it as env:NAME, not as {name!r}")
    return name


def push_over_https(prepared: Prepared) -> None:
    """Set the copied repository's remote to HTTPS, to push with the token: there are no SSH keys. Blocking.

    Raises:
        ModuleError: It has no remote, and the settings name no repository on GitHub.
    """
    repository, remote, github = prepared.repository, prepared.settings.remote, prepared.settings.github
    url = repository.remote(remote).url() or ""
    if not (url or github):
        raise ModuleError(
            f"the repository has no remote {remote}; name the one on GitHub with --github owner/repo"
        )
    if url.startswith(("http://", "https://")):
        return
    api = api_url(prepared.call.environ, None)
    if found := parse_remote(url) or parse_name(github or "", web_host(api)):
        # A GitHub server of one's own may use another port than 443; its API then has the same one.
        place = re.match(r"https?://(?P<host>[^/:]+)(:\d+)?", api)
        web = place[0] if place and place["host"] == found.host else f"https://{found.host}"
        repository.remote(remote).set_url(f"{web}/{found.full_name}.git")
