"""A commit as a repository of its own, with its files and no more of its history than was asked for."""

import os
import shlex
from pathlib import Path

from containers.git.command import Git

_EVERYBODY = 0o666
_PACK = "-c pack.threads=1 -c pack.window=0"
"""The same objects give the same pack: whoever knows its content by a digest knows it again."""


def is_plain(common: Path, commit: str, *, has_submodules: bool) -> bool:
    """Whether any git can make a checkout of a commit from the repository's objects alone.

    It cannot where it would look for submodules, or where objects are kept elsewhere; and a SHA-256 repository
    is not for every git.
    """
    elsewhere = borrows(common) or any((common / "objects").glob("pack/*.promisor"))
    return not (has_submodules or elsewhere or len(commit) > 40)  # noqa: PLR2004 - the length of a SHA-1


def borrows(common: Path) -> bool:
    """Whether a repository has objects of another, as after `git clone --shared`."""
    alternates = common / "objects" / "info" / "alternates"
    return alternates.exists() and bool(alternates.read_bytes().strip())


def make(git: Git, common: Path, commit: str, depth: int, directory: Path) -> None:
    """Make a repository at `directory`, which must not exist, that any user may work in. Blocks.

    Args:
        git: Any git of the repository.
        common: The repository's common git directory.
        commit: What is checked out, without a branch. Submodules are not.
        depth: How many commits of its history come along; 0 for all, with tags.
        directory: Where it is made.

    Raises:
        GitError: It cannot be made.
    """
    directory.mkdir(parents=True)
    own = directory / ".git"
    places = {"GIT_DIR": own, "GIT_WORK_TREE": directory, "GIT_INDEX_FILE": own / "index"}
    inside = git.at(directory, {name: str(path) for name, path in places.items()})
    kind = "sha256" if len(commit) > 40 else "sha1"  # noqa: PLR2004 - the length of a SHA-1
    inside.run("init", "--quiet", "--template=", f"--object-format={kind}")
    history = ("--tags",) if depth == 0 else ("--no-tags", f"--depth={depth}")
    packer = f"{shlex.quote(git.program)} {_PACK} -c uploadpack.allowAnySHA1InWant=true upload-pack"
    inside.run("fetch", "--quiet", *history, f"--upload-pack={packer}", "--", str(common), commit)
    inside.run("update-ref", "--no-deref", "HEAD", commit)
    inside.run("read-tree", commit)
    inside.run("checkout-index", "--all", "--force", "--quiet")
    inside.run("read-tree", commit)  # an index without the times and numbers of this machine's files
    (own / "FETCH_HEAD").unlink(missing_ok=True)
    _open_up(directory)


def _open_up(directory: Path) -> None:
    """Let every user read and write what is below a directory."""
    for parent, _, names in os.walk(directory):
        Path(parent).chmod(0o777)
        for path in (Path(parent, name) for name in names):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & 0o7777 | _EVERYBODY)
