"""Objects of Git LFS, which a push leaves to a hook that the program does not run."""

from collections.abc import Mapping
from pathlib import Path

from containers.git.command import Git

MISSING = "git-lfs is not on PATH; install it"


def has_large_files(git: Git) -> bool:
    """Whether a repository may have objects of Git LFS. Blocking."""
    if git.run("config", "--get", "lfs.storage", ok=(0, 1)).text:
        return True
    common = git.run("rev-parse", "--path-format=absolute", "--git-common-dir").text
    return Path(common, "lfs", "objects").is_dir()


def upload_arguments(name: str, url: str, *, authenticated: bool) -> tuple[str, ...]:
    """Return the arguments of git that upload objects to a remote before a push.

    With a credential Git LFS would record in the user's configuration that the server wants one; it does not
    where that is set (https://github.com/git-lfs/git-lfs/blob/main/docs/man/git-lfs-config.adoc).
    """
    endpoint = f"{url.removesuffix('/').removesuffix('.git')}.git/info/lfs"
    options = ("-c", f"lfs.{endpoint}.access=basic") if authenticated else ()
    return (*options, "-c", "lfs.repositoryFormatVersion=0", "lfs", "pre-push", name, url)


def upload_input(commits: Mapping[str, str]) -> bytes:
    """Return the standard input for these arguments: a line for each branch of the remote and its new commit.

    https://git-scm.com/docs/githooks#_pre_push
    """
    lines = (f"{commit} {commit} {ref} {'0' * len(commit)}\n" for ref, commit in commits.items())
    return "".join(lines).encode()
