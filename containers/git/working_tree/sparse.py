"""Sparse checkouts: a worktree has those files of a commit that the user's own checkout has.

Git decides by patterns in a file of the git directory, and marks the files that it leaves out in the index
(https://git-scm.com/docs/git-sparse-checkout#_internals_sparse_checkout). Blocking.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from containers.filesystem import is_directory, read_regular, remove, write_file
from containers.git.command import Git, GitError
from containers.git.commit_cache import Layout
from containers.git.index import LEFT_OUT, listed, put_entries, read_tags
from containers.git.working_tree.task_files import GIT, clean
from containers.git.working_tree.worktree_paths import WorktreePaths
from containers.temporary import temporary_directory
from tasks.lazy.dataclasses import dataclass

PATTERNS = "info/sparse-checkout"
"""The file of the patterns, in a git directory."""
_SPARSE, _CONE = "core.sparsecheckout", "core.sparsecheckoutcone"
_ON = {"true", "yes", "on", "1", ""}
"""Values that are true for git (https://git-scm.com/docs/git-config#_values); a setting may have none."""
_LARGEST = 1 << 24
_LARGEST_INDEX = 1 << 30
_CONE_LINE = b"# cone\n"


@dataclass(frozen=True, slots=True)
class SparseCheckout:
    """Which files of a commit a checkout has.

    Args:
        patterns: The content of the file of patterns.
        is_cone: Whether they name directories only, which is how git lets the user change them.
    """

    patterns: bytes
    is_cone: bool

    @classmethod
    def of(cls, settings: Mapping[str, str], git_dir: Path) -> "SparseCheckout | None":
        """Return that of the checkout of a git directory; `None` if it has all files.

        Args:
            settings: The settings of git that apply there, with lower-case names.
            git_dir: The git directory.
        """
        if settings.get(_SPARSE, "false").lower() not in _ON:
            return None
        patterns = read_regular(git_dir / PATTERNS, limit=_LARGEST)
        if not patterns or not patterns.strip():
            return None
        return cls(patterns, settings.get(_CONE, "false").lower() in _ON)

    @property
    def content(self) -> bytes:
        """The content of the file of patterns, from which `of_content` gets all of it."""
        return (_CONE_LINE if self.is_cone else b"") + self.patterns

    @classmethod
    def of_content(cls, content: bytes) -> "SparseCheckout":
        """Return that of a file which was written with `content`."""
        return cls(content.removeprefix(_CONE_LINE), content.startswith(_CONE_LINE))

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """The settings of a git directory that has the patterns."""
        return (("core.sparseCheckout", "true"), ("core.sparseCheckoutCone", str(self.is_cone).lower()))

    @property
    def digest(self) -> str:
        """The SHA-256 of the patterns, in hexadecimal digits."""
        return hashlib.sha256(self.patterns).hexdigest()


def is_sparse(paths: WorktreePaths) -> bool:
    """Whether a worktree was given only some files by its last reset."""
    return paths.own("sparse").exists()


def set_patterns(paths: WorktreePaths, sparse: SparseCheckout | None) -> bool:
    """Set which files a worktree has from the next checkout on; return whether they are those that it has.

    The patterns are kept among the program's own files: a task may have changed those of the git directory.

    Raises:
        OSError: They cannot be written.
    """
    kept, wanted = paths.own("sparse"), sparse.content if sparse else None
    if read_regular(kept, limit=_LARGEST) == wanted:
        return True
    if wanted is None:
        kept.unlink(missing_ok=True)
    else:
        write_file(kept, wanted)
    return False


def sparse_git(git: Git, paths: WorktreePaths) -> Git:
    """Return a git of a worktree that leaves out the files that the worktree was not given.

    Raises:
        OSError: The patterns cannot be written.
    """
    content = read_regular(paths.own("sparse"), limit=_LARGEST)
    if content is None:
        return git
    place = paths.admin / PATTERNS
    if not is_directory(place.parent):  # a task may have put a link there
        remove(place.parent)
        place.parent.mkdir()
    if read_regular(place, limit=_LARGEST) != content:
        remove(place)
        write_file(place, content)
    return git.configured(SparseCheckout.of_content(content).settings)


def given_layout(git: Git, paths: WorktreePaths, layout: Layout) -> Layout:
    """Return the layout of the files that a worktree was given.

    Args:
        git: Runs in the worktree, with the index of its last reset.
        paths: The directories of the worktree.
        layout: That of the commit.

    Raises:
        GitError: The index cannot be read.
    """
    if not is_sparse(paths):
        return layout
    given = set[str]()
    for path, tag in read_tags(git).items():
        directory = path.rpartition("/")[0]
        while tag != LEFT_OUT and directory and directory not in given:
            given.add(directory)
            directory = directory.rpartition("/")[0]
    return Layout(tuple(directory for directory in layout.directories if directory in given), {})


def clean_given(git: Git, paths: WorktreePaths, keep: Sequence[str]) -> None:
    """Remove all files that a worktree was not given.

    In a sparse one, `git clean` alone leaves files, and directories, where the commit has some that were left
    out; `git reset` then keeps those that differ.

    Args:
        git: Runs in the worktree, with the index of its last reset.
        paths: The directories of the worktree.
        keep: Patterns as in `.gitignore`, of files that stay.

    Raises:
        GitError: A directory cannot be read.
    """
    if not is_sparse(paths):
        clean(git, keep)
        return
    given = {}
    for entry in git.run("ls-files", "-s", "-t", "-z").fields:
        about, path = entry.split("\t", 1)
        tag, mode, name, _ = about.split(" ")
        if tag != LEFT_OUT:
            given[path] = (mode, name)
    with temporary_directory(paths.scratch, "given") as directory:
        of_given = git.at(environ={"GIT_INDEX_FILE": str(directory / "index")})
        put_entries(of_given, given)
        clean(of_given, keep)


def leave_out(git: Git, paths: WorktreePaths) -> None:
    """Mark the files that a worktree was not given in an index that was read from a commit.

    No file in the worktree changes, but for one that a task made where the commit has the same one.

    Args:
        git: A git that runs in the worktree, with the index.
        paths: The directories of the worktree.

    Raises:
        GitError: The index cannot be written.
        OSError: The patterns cannot be written.
    """
    if is_sparse(paths):
        of_worktree = git.at(environ={"GIT_DIR": str(paths.admin)})  # which has the patterns
        sparse_git(of_worktree, paths).run("sparse-checkout", "reapply")


def adopt_marks(git: Git, paths: WorktreePaths) -> None:
    """Mark in an index the files that the task's own git leaves out, and no others.

    A task may change the patterns, and remove a file that its worktree was not given (`git rm --sparse`). A
    file that is not there is removed only if it has no mark.

    Args:
        git: A git that runs in the worktree, with the index.
        paths: The directories of the worktree.

    Raises:
        GitError: The index cannot be read or written.
    """
    own = paths.path / GIT
    if read_regular(own / PATTERNS, limit=_LARGEST) is None:
        return
    content = read_regular(own / "index", limit=_LARGEST_INDEX)
    if content is None or content == read_regular(paths.own("index"), limit=_LARGEST_INDEX):
        return
    with temporary_directory(paths.scratch, "marks") as directory:
        copy = directory / "index"
        write_file(copy, content)
        try:
            theirs = read_tags(git.at(environ={"GIT_INDEX_FILE": str(copy)}))
        except GitError:  # it is damaged, or in parts
            return
    ours = read_tags(git)
    unmarked = [path for path, tag in ours.items() if tag == LEFT_OUT and theirs.get(path) != LEFT_OUT]
    marked = [path for path, tag in ours.items() if tag != LEFT_OUT and theirs.get(path) == LEFT_OUT]
    absent = [path for path in marked if not os.path.lexists(paths.path / path)]
    for option, found in (("--no-skip-worktree", unmarked), ("--skip-worktree", absent)):
        if found:
            git.run("update-index", "-z", option, "--stdin", stdin=listed(found))
