"""Submodules in a task's worktree: which commits they are at. No git runs in a repository of the task."""

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from containers.filesystem import is_directory, read_regular, write_file
from containers.git.changes import GITLINK
from containers.git.command import Git, GitError
from containers.git.index import Entry, put_entries, read_entries, remove_entries
from containers.git.working_tree.task_repository import GitDirectory
from containers.git.working_tree.worktree_paths import read_pointer
from containers.temporary import temporary_directory
from tasks.lazy.dataclasses import dataclass


class SubmoduleWorkError(GitError):
    """A task worked inside a submodule; that work is not part of its patch. The message names the submodule."""


def declared_submodules(git: Git, root: Path) -> frozenset[str]:
    """Return the paths in the `.gitmodules` of a worktree; none if it is not readable. Blocking."""
    content = read_regular(root / ".gitmodules", limit=1 << 20)
    if not content:
        return frozenset()
    try:
        pattern = r"^submodule\..*\.path$"
        listed = git.run("config", "-z", "-f", "-", "--get-regexp", pattern, stdin=content, ok=(0, 1))
    except GitError:
        return frozenset()
    return frozenset(entry.partition("\n")[2] for entry in listed.fields)


@dataclass(frozen=True, slots=True)
class SubmoduleReader:
    """Reads the submodules of a worktree.

    Args:
        git: Any git; only its program and environment are used.
        root: The worktree.
        moved: The nested `.git` entries of the worktree, and where each one is now.
        scratch: A directory for temporary repositories.
        options: Options for every git command that reads files.
    """

    git: Git
    root: Path
    moved: Mapping[Path, Path]
    scratch: Path
    options: tuple[str, ...] = ()

    def has_repository(self, path: str) -> bool:
        """Whether there is a repository at a path."""
        return self.root / path / ".git" in self.moved

    def commit(self, path: str, old: str | None) -> str | None:
        """Return the commit of a submodule, for the patch. Blocking.

        Args:
            path: The submodule.
            old: Its commit at the start of the task; `None` for a new one.

        Returns:
            The commit; `None` if a new one has no commit yet, or no remote from which it could be fetched.

        Raises:
            SubmoduleWorkError: It has changes, or commits that its remote does not have: nobody would get them.
            GitError: It cannot be compared with its commit.
        """
        directory = self._git_directory(path)
        head, refs = self._refs(directory) if directory else (None, {})
        if old is None and not (head and _remote_commits(refs)):
            return None
        if directory is None or head is None:
            raise SubmoduleWorkError(f"the repository of the submodule {path} cannot be read any more")
        self._check_files(path, directory, head, old)
        remote = _remote_commits(refs)
        if head != old and self._find_outside(directory, {head}, remote):
            raise SubmoduleWorkError(
                f"it made commits in the submodule {path} that the submodule's remote does not have; "
                "push them there first"
            )
        self._check_refs(path, directory, refs, remote | {head, old or head})
        return head

    def _git_directory(self, path: str) -> GitDirectory | None:
        """Return the git directory of a submodule: its own, or one of the task's repository; no other."""
        original = self.root / path / ".git"
        dot_git = self.moved[original]
        if is_directory(dot_git):
            return GitDirectory(dot_git)
        directory = read_pointer(dot_git, original.parent)
        modules = self.root / ".git" / "modules"
        if directory is None or not directory.is_relative_to(modules) or directory.resolve() != directory:
            return None
        return GitDirectory(directory)

    def _check_refs(
        self, path: str, directory: GitDirectory, refs: Mapping[str, str], known: Collection[str]
    ) -> None:
        """Check that no branch or stash has commits that none of the known ones contains."""
        own = {
            commit: name
            for name, commit in refs.items()
            if name == "refs/stash" or (name.startswith("refs/heads/") and directory.has_work_on(name))
        }
        if left := own.get(self._find_outside(directory, own, known)):
            kind = "a stash" if left == "refs/stash" else f"commits on the branch {left[11:]}"
            raise SubmoduleWorkError(
                f"it left {kind} in the submodule {path}, which cannot be part of the patch; "
                "push or remove that in the submodule's own repository"
            )

    def _check_files(self, path: str, directory: GitDirectory, head: str, old: str | None) -> None:
        with temporary_directory(self.scratch, "submodule") as temporary:
            git = self._borrowing(temporary, directory, self.root / path)
            # 128: the old commit is not there any more, as in a shallow clone.
            before = _gitlinks(git, old, ok=(0, 128)) if old and old != head else {}
            nested = _gitlinks(git, head)
            remove_entries(git, nested)
            for inner, entry in nested.items():
                full = f"{path}/{inner}"
                # One that was not updated together with this one is where it was.
                expected = {entry[1], before.get(inner, entry)[1]}
                if self.has_repository(full) and self.commit(full, entry[1]) not in expected:
                    raise SubmoduleWorkError(f"it changed the commit of the submodule {full}")
            git.run(*self.options, "add", "-A", "--", ".", *excluding(nested))
            put_entries(git, nested)
            changed = git.run("diff-index", "--cached", "--name-only", "-z", head).fields
        if changed:
            raise SubmoduleWorkError(
                f"it changed {changed[0]} in the submodule {path}, which cannot be part of the patch; "
                "commit and push it in the submodule's own repository"
            )

    def _refs(self, directory: GitDirectory) -> tuple[str | None, Mapping[str, str]]:
        """Return the commit of HEAD, and the refs with their commits. Of tables, git reads a copy."""
        if not (tables := directory.tables()):
            return directory.head(), directory.refs()
        with temporary_directory(self.scratch, "submodule") as temporary:
            git = self._borrowing(temporary, directory, self.root)
            with (temporary / "config").open("a", encoding="ascii") as config:
                config.write("[extensions]\n\trefStorage = reftable\n")
            (temporary / "reftable").mkdir()
            for table, content in tables.items():
                (temporary / "reftable" / table).write_bytes(content)
            head = git.run("rev-parse", "--verify", "--quiet", "HEAD", ok=(0, 1)).text
            lines = git.run("for-each-ref", "--format=%(refname) %(objectname)").text.split("\n")
        return head or None, dict(line.rsplit(" ", 1) for line in lines if line)

    def _find_outside(self, directory: GitDirectory, commits: Iterable[str], known: Collection[str]) -> str:
        """Return one of the commits that none of the known ones contains; nothing if there is none."""
        wanted = sorted(set(commits) - set(known))
        if not wanted:
            return ""
        with temporary_directory(self.scratch, "submodule") as temporary:
            git = self._borrowing(temporary, directory, self.root)
            lines = "\n".join([*wanted, *(f"^{commit}" for commit in sorted(known)), ""]).encode()
            # In this order, what comes first is in no other.
            options = ("--ignore-missing", "--topo-order", "--max-count=1", "--stdin")
            return git.run("rev-list", *options, stdin=lines).text

    def _borrowing(self, temporary: Path, directory: GitDirectory, work_tree: Path) -> Git:
        """Return a git of a temporary repository with the objects of another, and nothing else of it."""
        if not is_directory(directory.objects):
            raise GitError("it has no objects")
        for name in ("objects/info", "refs"):
            (temporary / name).mkdir(parents=True)
        kind = "[extensions]\n\tobjectFormat = sha256\n" if directory.is_sha256 else ""
        write_file(temporary / "HEAD", b"ref: refs/heads/none\n")
        write_file(temporary / "config", f"[core]\n\trepositoryFormatVersion = 1\n{kind}".encode("ascii"))
        write_file(temporary / "objects/info/alternates", os.fsencode(directory.objects) + b"\n")
        names = {"GIT_DIR": temporary, "GIT_WORK_TREE": work_tree, "GIT_INDEX_FILE": temporary / "index"}
        return self.git.unbound().at(work_tree, {name: str(path) for name, path in names.items()})


def _remote_commits(refs: Mapping[str, str]) -> frozenset[str]:
    return frozenset(commit for name, commit in refs.items() if name.startswith("refs/remotes/"))


def _gitlinks(git: Git, commit: str, ok: Collection[int] = (0,)) -> Mapping[str, Entry]:
    """Read a commit into the index, and return its submodules."""
    git.run("read-tree", commit, ok=ok)
    return {path: entry for path, entry in read_entries(git).items() if entry[0] == GITLINK}


def excluding(paths: Iterable[str]) -> list[str]:
    """Return pathspecs that exclude paths (gitglossary, "pathspec")."""
    return [f":(top,exclude,literal){path}" for path in paths]
