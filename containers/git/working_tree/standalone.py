"""Self-contained repositories: of one commit and its history, or of the files in a directory."""

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from containers.git.command import Git
from containers.git.signatures import PATCHYARD_IDENTITY, Signature, create_commit
from tasks.lazy.patterns import regex

_EVERYBODY = 0o666
_PACK = "-c pack.threads=1 -c pack.window=0"
"""The same objects give the same pack, so that an engine which caches by digest finds it again."""
_DRIVER = regex(r"filter\.([A-Za-z0-9_.-]+)\.(?:smudge|process)", re.IGNORECASE)


def filtered_files(git: Git) -> list[str]:
    """Return the files of an index that a filter of the user's configuration changes in a checkout. Blocking.

    Git LFS is such a filter (https://git-scm.com/docs/gitattributes#_filter).

    Raises:
        GitError: The configuration or the index cannot be read.
    """
    patterns = [f":(attr:filter={driver})" for driver in _drivers(git)]
    return list(git.run("ls-files", "-z", "--", *patterns).fields) if patterns else []


def _drivers(git: Git) -> list[str]:
    """Return the names of the filters that change files in a checkout."""
    settings = git.run("config", "-z", "--name-only", "--get-regexp", r"^filter\.", ok=(0, 1)).fields
    return sorted({found[1] for setting in settings if (found := _DRIVER.fullmatch(setting))})


def is_plain(common: Path, commit: str, *, has_submodules: bool) -> bool:
    """Whether any git can check a commit out from the repository's own objects. Blocking.

    Not with submodules, with objects in another repository or still on the remote (partial clone), or with
    SHA-256 ids, which some versions of git do not support.
    """
    elsewhere = borrows(common) or any((common / "objects").glob("pack/*.promisor"))
    return not (has_submodules or elsewhere or len(commit) > 40)  # noqa: PLR2004 - the length of a SHA-1


def borrows(common: Path) -> bool:
    """Whether a repository uses objects of another, as after `git clone --shared`. Blocking."""
    alternates = common / "objects" / "info" / "alternates"
    return alternates.exists() and bool(alternates.read_bytes().strip())


def create_standalone(git: Git, common: Path, commit: str, depth: int, directory: Path) -> None:
    """Create a repository at `directory`, which must not exist, that every user may write to. Blocking.

    Filters are not applied to its files: that of Git LFS would look for its objects in this repository.

    Args:
        git: Any git of the repository.
        common: The repository's common git directory.
        commit: The commit to check out, without a branch and without submodules.
        depth: Number of commits of its history to include; 0 for all, with tags.
        directory: The repository to create.

    Raises:
        GitError: It cannot be created.
    """
    directory.mkdir(parents=True)
    git_dir = directory / ".git"
    paths = {"GIT_DIR": git_dir, "GIT_WORK_TREE": directory, "GIT_INDEX_FILE": git_dir / "index"}
    own_git = git.at(directory, {name: str(path) for name, path in paths.items()})
    kind = "sha256" if len(commit) > 40 else "sha1"  # noqa: PLR2004 - the length of a SHA-1
    own_git.run("init", "--quiet", "--template=", f"--object-format={kind}")
    history = ("--tags",) if depth == 0 else ("--no-tags", f"--depth={depth}")
    packer = f"{shlex.quote(git.program)} {_PACK} -c uploadpack.allowAnySHA1InWant=true upload-pack"
    own_git.run("fetch", "--quiet", *history, f"--upload-pack={packer}", "--", str(common), commit)
    own_git.run("update-ref", "--no-deref", "HEAD", commit)
    own_git.run("read-tree", commit)
    own_git.run(*_without_filters(own_git), "checkout-index", "--all", "--force", "--quiet")
    own_git.run(
        "read-tree", commit
    )  # rebuilds the index without the times and inode numbers of this machine's files
    (git_dir / "FETCH_HEAD").unlink(missing_ok=True)
    _allow_everybody(directory)


def _without_filters(git: Git) -> list[str]:
    """Return options that turn all filters off."""
    values = ("smudge=", "process=", "required=false")
    return [part for driver in _drivers(git) for value in values for part in ("-c", f"filter.{driver}.{value}")]


def initialize(path: Path, environ: Mapping[str, str]) -> None:
    """Create a repository of the files in a directory, with one commit that depends only on them. Blocking.

    Raises:
        GitError: It cannot be created.
    """
    git = Git.find(environ, path)
    git.run("init", "--quiet", "--initial-branch", "main")
    git.run("add", "--all")
    tree = git.run("write-tree").text
    signature = Signature(PATCHYARD_IDENTITY, "@0 +0000")
    commit = create_commit(git, tree, [], b"The files as they are\n", signature)
    git.run("update-ref", "refs/heads/main", commit)


def _allow_everybody(directory: Path) -> None:
    """Give every user read and write access to everything below a directory."""
    for parent, _, names in os.walk(directory):
        Path(parent).chmod(0o777)
        for path in (Path(parent, name) for name in names):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & 0o7777 | _EVERYBODY)
