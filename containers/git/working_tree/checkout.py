"""A worktree of the pool, seen through git: reset it, create its patch.

The worktree's own index, HEAD and `.git` are not trusted, because a task may have changed them. The program has
an index of its own per worktree, in the common git directory: `NAME.index` is the state after the last reset,
`NAME.base` has its commit and the hash of the index, and `NAME.staged`, to which patches add files, is a copy
or a second name of the index until git replaces it.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from containers.filesystem import is_directory, make_accessible, overwrite_file, refuse_mounts, remove
from containers.git.command import Git, GitError
from containers.git.commit_cache import CommitCache, Layout
from containers.git.file_errors import file_errors
from containers.git.loose_objects import OBJECT_ID, LooseObjects, names_object
from containers.git.object_writer import TreeWriter
from containers.git.working_tree.administration import detach, restore_administration
from containers.git.working_tree.errors import BrokenWorktreeError, UnusableWorktreeError
from containers.git.working_tree.index_file import hash_at_end, link_index
from containers.git.working_tree.sparse import (
    SparseCheckout,
    clean_given,
    given_layout,
    set_patterns,
    sparse_git,
)
from containers.git.working_tree.task_files import (
    GIT,
    FoundFiles,
    clean,
    empty_submodules,
    make_owned,
    remove_special,
    scan,
)
from containers.git.working_tree.task_repository import TaskRepositoryTemplate
from containers.git.working_tree.unchanged import LastReset, is_unchanged, put_back
from containers.git.working_tree.worktree_paths import WorktreePaths, owner_file, write_owner
from containers.temporary import temporary_directory
from tasks.outcome import Patch
from tasks.patch_data import InlineData
from tasks.secrets import Secrets

if TYPE_CHECKING:
    from containers.git.working_tree.staging import Staging

_TIME_LIMIT = 900.0
"""Seconds that a git call on a worktree may take; no call of a healthy repository takes that long."""
_NO_BASE = b"unknown"
"""In place of a commit while the files of the worktree are of none."""
_ATTEMPTS = 3
"""How often a reset, or a patch of objects that are removed or damaged meanwhile, is tried."""


class Checkout:
    """A worktree of the pool, seen through git. Blocking.

    Args:
        git: Any git of the repository.
        paths: The directories of the worktree.
        commits: Cache of the repository's commits.
        read_user_ignores: Returns the content of the user's global ignore file.
        template: Returns what the repository of a task begins with.
        keeps_modes: Returns whether a directory's file system stores the executable bit.
        trees: Writes trees of the repository.
    """

    def __init__(  # noqa: PLR0913 - what the worktrees of a repository share
        self,
        git: Git,
        paths: WorktreePaths,
        commits: CommitCache,
        *,
        read_user_ignores: Callable[[], bytes],
        template: Callable[[], TaskRepositoryTemplate],
        keeps_modes: Callable[[Path], bool],
        trees: TreeWriter,
    ) -> None:
        self.path = paths.path
        self._paths = paths
        self._commits = commits
        self._read_user_ignores = read_user_ignores
        self._template = template
        self._keeps_modes = keeps_modes
        self._trees = trees
        self._last_reset = LastReset()
        work_tree = {"GIT_WORK_TREE": str(paths.path)}
        git = replace(git, timeout=_TIME_LIMIT)
        # A reset moves the worktree's HEAD; a patch uses the repository only, since a task may break the rest.
        self._index, self._staged, self._base_file = map(paths.own, ("index", "staged", "base"))
        self._resetting = git.at(
            paths.path, {**work_tree, "GIT_DIR": str(paths.admin), "GIT_INDEX_FILE": str(self._index)}
        )
        self._staging = git.durable().at(
            paths.path, {**work_tree, "GIT_DIR": str(paths.common), "GIT_INDEX_FILE": str(self._staged)}
        )

    @file_errors()
    def reset(self, commit: str, keep: Sequence[str] = (), sparse: SparseCheckout | None = None) -> None:
        """Reset the worktree to exactly the files of a commit.

        Args:
            commit: Id of the commit. HEAD is detached there; no branch moves.
            keep: Patterns as in `.gitignore`, of untracked files that are not removed.
            sparse: Which files of the commit it has; all by default, and if the commit has submodules.

        Raises:
            BrokenWorktreeError: The worktree has to be removed and added again.
            GitError: The commit cannot be checked out.
        """
        restore_administration(self._paths, commit)
        detach(self._resetting, self._paths, commit)
        sparse = None if self._layout(commit).gitlinks else sparse
        old = self._discard_state(sparse)
        if keep or commit != old or not self._put_back(commit):
            self._remove_git_files(old)
            self._check_out_with_repairs(commit, old, keep)
            layout, is_new = given_layout(self._resetting, self._paths, self._layout(commit)), commit != old
            self._last_reset.record_checkout(self.path, layout, self._index, is_new=is_new)
        self._create_repository(commit, sparse)
        # After a loss of power, one of the two files may be older than the other.
        overwrite_file(self._base_file, f"{commit} {hash_at_end(self._index, commit)}".encode("ascii"))
        self._last_reset.record_time(self.path, is_known=not keep)

    def _discard_state(self, sparse: SparseCheckout | None) -> str | None:
        """Remove the state of the last reset; return its commit if the index of that commit can be reused."""
        old = self._base()
        if not set_patterns(self._paths, sparse):
            old = None
        if old is None:
            self._index.unlink(missing_ok=True)
        overwrite_file(self._base_file, _NO_BASE)
        self._staged.unlink(missing_ok=True)
        return old

    def _check_out_with_repairs(self, commit: str, old: str | None, keep: Sequence[str]) -> None:
        """Check a commit out; if that fails, make files accessible or rebuild the index, and try again."""
        for attempt in range(1, _ATTEMPTS + 1):
            if old is not None:
                self._empty_submodules(old)
            try:
                self._check_out(commit, old, keep)
                break
            except GitError as error:
                accessible = make_accessible(self.path)
                if attempt == _ATTEMPTS or not (accessible or self._index.exists()):
                    # Adding it again removes what git cannot, such as directories too deep for a path.
                    raise BrokenWorktreeError(str(error), code=error.code, stderr=error.stderr) from None
                if not accessible:
                    self._index.unlink()

    def _put_back(self, commit: str) -> bool:
        """Put back what a task changed since a reset to the same commit; return whether that was possible."""
        try:
            refuse_mounts(self.path)
            remove(self._paths.aside)
            if self._commits.layout(commit).gitlinks:
                return False
            look = partial(self._remove_git_files, commit)
            look_again = None if self._last_reset.is_racy else look
            put_back(self._resetting, self._options(), self._index, commit, self._last_reset, look=look_again)
        except (OSError, GitError):  # `git reset` tries, and permissions are repaired first
            return False
        return True

    def _remove_git_files(self, old: str | None) -> FoundFiles:
        """Remove what no git may see: the task's repository, nested ones, and special files."""
        try:
            refuse_mounts(self.path)
            remove(self.path / GIT)
            remove(self._paths.aside)
            layout = (self._last_reset.layout if old else None) or self._layout(old)
            found = scan(self.path, layout, self._last_reset.at, self._last_reset.inodes)
            self._last_reset.inodes = found.inodes
            remove_special(found)
            for path in found.git:
                remove(path)
        except OSError as error:
            raise UnusableWorktreeError(f"cannot remove {error.filename}: {error.strerror}") from None
        return found

    def _layout(self, commit: str | None) -> Layout:
        """Return the layout of a commit; an empty one if it is not known, or not in the repository any more."""
        with suppress(GitError):
            if commit is not None:
                return self._commits.layout(commit)
        return Layout((), {})

    def _create_repository(self, commit: str, sparse: SparseCheckout | None) -> None:
        """Give the task's git a repository of its own."""
        try:
            keeps_modes = self._keeps_modes(self.path.parent)
            self._template().create(
                self.path / GIT, commit, self._index, keeps_modes=keeps_modes, sparse=sparse
            )
            if not owner_file(self.path).exists():  # a worktree of release 0.2 has none
                write_owner(self.path, self._paths.admin)
        except OSError as error:
            raise GitError(f"cannot create {error.filename}: {error.strerror}") from None

    def _check_out(self, commit: str, old: str | None, keep: Sequence[str]) -> None:
        # Untracked files first, by the index of the last reset: if a task replaced a directory (by a link), the
        # replacement is removed before git compares a file in it.
        clean_given(self._resetting, self._paths, keep)
        reset = ("reset", "--hard", "--quiet", "--no-recurse-submodules", commit)
        sparse_git(self._resetting, self._paths).run(*self._options(), *reset)
        if old not in {None, commit}:
            clean(self._resetting, keep)  # the content of a directory that a task put in place of a file

    def _base(self) -> str | None:
        """Return the commit of the stored index; `None` if it is not known."""
        with suppress(OSError, ValueError):
            commit, _, name = self._base_file.read_bytes().decode("ascii").partition(" ")
            if OBJECT_ID.fullmatch(commit) and name == hash_at_end(self._index, commit):
                return commit
        return None

    def _empty_submodules(self, commit: str) -> None:
        """Remove the files of submodules, which git does not see."""
        try:
            layout = self._commits.layout(commit)
        except GitError:  # the repository does not have the commit any more, so its index is of no use
            self._index.unlink(missing_ok=True)
            return
        empty_submodules(self.path, layout)

    def ignored(self, paths: Sequence[str]) -> list[str]:
        """Return the paths that git would ignore if they existed.

        Args:
            paths: Relative paths; those of directories end in a slash.

        Raises:
            GitError: A path is below a link or in a submodule.
        """
        if not paths:
            return []
        # With "./" before it, git does not read a leading colon as pathspec magic (gitglossary, "pathspec").
        names = b"".join(b"./" + os.fsencode(path) + b"\0" for path in paths)
        found = self._resetting.run("check-ignore", "-z", "--stdin", stdin=names, ok=(0, 1)).fields
        return [path.removeprefix("./") for path in found]

    def is_plain(self, commit: str) -> bool:
        """Whether any git can check a commit out from the repository's own objects."""
        from containers.git.working_tree.standalone import is_plain  # noqa: PLC0415 - start-up stays quick

        gitlinks = self._commits.layout(commit).gitlinks
        return is_plain(self._paths.common, commit, has_submodules=bool(gitlinks))

    def filtered(self) -> list[str]:
        """Return the files of the start point that a filter such as Git LFS has changed in the worktree.

        Raises:
            GitError: They cannot be determined.
        """
        from containers.git.working_tree.standalone import filtered_files  # noqa: PLC0415 - start-up stays quick

        return filtered_files(self._resetting)

    @contextmanager
    def standalone(self, commit: str, depth: int) -> Iterator[Path]:
        """Create a repository of a commit and some of its history, which exists while in the context.

        Args:
            commit: Id of the commit.
            depth: Number of commits of its history; 0 for all.

        Raises:
            GitError: It cannot be created.
        """
        from containers.git.working_tree.standalone import create_standalone  # noqa: PLC0415 - start-up stays quick

        with temporary_directory(self._paths.scratch, "standalone") as directory:
            path = directory / "tree"
            create_standalone(self._staging, self._paths.common, commit, depth, path)
            yield path

    @file_errors()
    def snapshot(self, exclude: Sequence[str] = ()) -> str:
        """Return the id of the tree of the worktree's current files.

        Args:
            exclude: Patterns as in `.gitignore`, of files to leave out in addition to ignored ones.

        Raises:
            GitError: The worktree was not reset, or a file cannot be read.
        """
        if (commit := self._base()) is None:
            raise GitError(f"{self.path} was not reset yet")
        return self._open_staging(commit, exclude).stage(with_diff=False).tree

    @file_errors()
    def patch(
        self,
        start: str,
        *,
        baseline: str | None = None,
        exclude: Sequence[str] = (),
        secrets: Secrets | None = None,
        limit: int | None = None,
    ) -> Patch:
        """Return the patch of a task.

        It is relative to the start point's id, not to HEAD: a task may have committed.

        Args:
            start: Id of the commit that the task started from.
            baseline: A tree from `snapshot`: the patch has only changes since then.
            exclude: Patterns as in `.gitignore`, of files to leave out in addition to ignored ones.
            secrets: Values that the patch must not contain. They are searched for before any object of the
                patch is added to the repository.
            limit: How large the files of the patch may be together, in bytes; `None` for no limit.

        Raises:
            SecretFoundError: The patch contains a secret.
            PatchTooLargeError: The patch would be larger than the limit.
            GitError: The patch cannot be created; the worktree is unchanged.
        """
        from containers.git.working_tree.secret_scan import (  # noqa: PLC0415 - start-up stays quick
            stage_searched_patch,
        )
        from containers.git.working_tree.staging import stage_patch  # noqa: PLC0415 - likewise

        if baseline is None and self._is_unchanged(start):
            return Patch(start=start, tree=self._commits.tree(start), diff=InlineData(b""), files=())
        loose, staged, attempts = LooseObjects(self._paths.common), None, 0
        while staged is None:
            attempts += 1
            staging = replace(self._open_staging(start, exclude), limit=limit)
            try:
                if not secrets:
                    staged = stage_patch(staging, baseline, self._tree_after_reset)
                else:
                    objects = self._paths.common / "objects"
                    staged = stage_searched_patch(staging, baseline, self._tree_after_reset, secrets, objects)
            except GitError as error:
                # `git gc --prune=now` of the user removes objects that are in the index only.
                pruned = attempts < _ATTEMPTS and names_object(error.stderr)
                if not loose.set_aside_named(error.stderr) and not pruned:
                    raise
            if staged is None or loose.set_aside_damaged({change.new for change in staged.changes}):
                staged = None  # git took a damaged or removed object for stored: it is stored again
                for index in (self._index, self._staged):
                    index.unlink(missing_ok=True)
        files = sorted({change.path for change in staged.changes})
        return Patch(start=start, tree=staged.tree, diff=staged.diff or InlineData(b""), files=tuple(files))

    def _is_unchanged(self, start: str) -> bool:
        """Whether the worktree has exactly the files of a start point, seen without git."""
        if self._base() != start or self._staged.exists():
            return False
        return is_unchanged(self.path, self._index, start, self._last_reset)

    def _tree_after_reset(self, start: str) -> str:
        """Return the tree that set-up began with: an attempt that is continued begins with changes."""
        return self._commits.tree(self._base() or start)

    def _open_staging(self, start: str, exclude: Sequence[str]) -> "Staging":
        from containers.git.working_tree.conversions import may_convert  # noqa: PLC0415 - start-up stays quick
        from containers.git.working_tree.staging import Staging  # noqa: PLC0415 - likewise

        if not is_directory(self.path):
            raise GitError(f"its worktree {self.path} is gone, so it has no patch")
        make_owned(self.path)
        is_used = self._staged.exists()
        if self._index.is_file() and not is_used:
            link_index(self._index, self._staged)
        return Staging(
            git=sparse_git(self._staging, self._paths),
            root=self.path,
            index=self._staged,
            aside=self._paths.aside,
            scratch=self._paths.scratch,
            start=start,
            layout=self._commits.layout(self._base() or start),
            since=self._last_reset.at,
            known=self._last_reset.inodes,
            trees=self._trees,
            free_before=self._last_reset.free,
            is_used=is_used,
            options=(*self._options(), *self._excluding(exclude)),
            excludes=self._paths.own("excluded") if exclude else None,
            converts=may_convert(self._index, self._paths.common),
            worktree=self._paths,
        )

    def _excluding(self, patterns: Sequence[str]) -> tuple[str, ...]:
        """Write the user's global ignore patterns and these to a file; return the git options that use it."""
        if not patterns:
            return ()
        return ("-c", f"core.excludesFile={self._paths.write_excludes(patterns, self._read_user_ignores())}")

    def _options(self) -> tuple[str, ...]:
        """Return git options with the real value of `core.fileMode`, regardless of the configuration."""
        return ("-c", f"core.fileMode={'true' if self._keeps_modes(self.path.parent) else 'false'}")
