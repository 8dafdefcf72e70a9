"""Files that git would store otherwise than a commit has them, although nobody changed them.

With attributes such as `text`, `ident` or `filter`, what a checkout writes is converted back when it is added,
and need not give the committed bytes again, as for files with CRLF that are called text
(https://git-scm.com/docs/gitattributes). Whether git notices that depends on the times of the files.
"""

import os
from collections.abc import Sequence
from filecmp import cmp
from pathlib import Path
from stat import S_ISREG

from containers.filesystem import read_regular
from containers.git.changes import Change
from containers.git.command import Git, GitError
from containers.temporary import temporary_directory

_FILE = "100"
"""How the modes of files begin, executable or not."""


def may_convert(index: Path, common: Path) -> bool:
    """Whether a repository has attributes, by the names in an index and the repository's own file. Blocking."""
    own = read_regular(common / "info" / "attributes", limit=1 << 20)
    # An index of version 4 leaves out what a name has in common with the one before it, such as ".git".
    return bool(own and own.strip()) or (index.is_file() and b"attributes" in index.read_bytes())


def unchanged_content(
    git: Git, start: str, changes: Sequence[Change], root: Path, scratch: Path
) -> list[Change]:
    """Return those changes whose files have the content that a checkout of the start writes. Blocking.

    Args:
        git: Any git of the repository.
        start: Id of the commit that was checked out.
        changes: Changes since the start.
        root: The directory of the changed files.
        scratch: A directory for temporary files.

    Raises:
        GitError: The files cannot be checked out.
    """
    changed = [one for one in changes if one.old_mode.startswith(_FILE) and one.new_mode.startswith(_FILE)]
    changed = [one for one in changed if one.old != one.new]
    if not changed:
        return []
    with temporary_directory(scratch, "conversions") as directory:
        # In an empty directory git finds the attributes of the start in the index, none that a task wrote.
        written = directory / "tree"
        written.mkdir()
        names = {"GIT_WORK_TREE": str(written), "GIT_INDEX_FILE": str(directory / "index")}
        temporary = git.at(written, names)
        temporary.run("read-tree", start)
        paths = b"".join(os.fsencode(one.path) + b"\0" for one in changed)
        temporary.run("checkout-index", "--force", "--quiet", "-z", "--stdin", stdin=paths)
        return [one for one in changed if _same(written / one.path, root / one.path)]


def _same(written: Path, found: Path) -> bool:
    try:
        regular = S_ISREG(os.lstat(found).st_mode)
        return regular and cmp(written, found, shallow=False)
    except OSError as error:
        raise GitError(f"cannot compare {found}: {error.strerror}") from None
