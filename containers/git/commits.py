"""Commits as they are written down, and made again elsewhere: the same names and times give the same ids."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from containers.git.command import Git, GitError

_APPLY = ("-c", "apply.whitespace=nowarn", "-c", "apply.ignoreWhitespace=no", "apply", "--cached")

_NOTHING, _SUBMODULE = "000000", "160000"
"""Modes of a path, as git writes them."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit, whole: `author` and `committer` are as git writes them, with the time and its zone."""

    id: str
    tree: str
    parents: tuple[str, ...]
    author: str
    committer: str
    message: str


@dataclass(frozen=True, slots=True)
class Change:
    """A path in which two commits differ, with its modes as git writes them: zeros where it is not there."""

    path: str
    old: str
    new: str

    @property
    def was(self) -> bool:
        """Whether it was a file or a link before."""
        return self.old not in {_NOTHING, _SUBMODULE}

    @property
    def stays(self) -> bool:
        """Whether it is a file or a link afterwards."""
        return self.new not in {_NOTHING, _SUBMODULE}


class History:
    """Reads and makes commits without a checkout. Everything here blocks.

    Args:
        git: A git that runs in the repository's common directory.
    """

    def __init__(self, git: Git) -> None:
        self._git = git

    def since(self, base: str, tips: Sequence[str]) -> tuple[Commit, ...]:
        """Return the commits that `tips` hold and `base` does not, parents first.

        Raises:
            GitError: One of them is not in the repository.
        """
        if not tips:
            return ()
        wanted = "\n".join([*dict.fromkeys(tips), f"^{base}", ""]).encode()
        listed = self._git.run("rev-list", "--topo-order", "--reverse", "--stdin", stdin=wanted).stdout
        data = self._git.run("cat-file", "--batch", stdin=listed).stdout
        found = []
        at = 0
        while at < len(data):
            end = data.index(b"\n", at)
            name, _, size = data[at:end].decode("ascii").split(" ")
            at = end + 1 + int(size)
            found.append(_parsed(name, data[end + 1 : at]))
            at += 1
        return tuple(found)

    def apply(self, commit: str, diff: bytes) -> str:
        """Return the tree that a patch makes of a commit's.

        Raises:
            GitError: It does not apply.
        """
        with TemporaryDirectory(dir=self._scratch(), prefix="apply-") as directory:
            git = self._git.at(environ={"GIT_INDEX_FILE": str(Path(directory, "index"))})
            git.run("read-tree", commit)
            if diff:
                git.run(*_APPLY, stdin=diff)
            return git.run("write-tree").text

    def changes(self, old: str, new: str) -> tuple[Change, ...]:
        """Return the paths in which two commits differ; one that was renamed is removed and added."""
        fields = self._git.run("diff-tree", "-r", "-z", "--raw", "--no-renames", old, new).fields
        modes = [field.removeprefix(":").split(" ")[:2] for field in fields[::2]]
        return tuple(Change(path, *pair) for path, pair in zip(fields[1::2], modes, strict=True))

    def merged(self, ours: str, theirs: str) -> str:
        """Return the tree that holds what two commits do.

        Raises:
            GitError: They conflict.
        """
        tree, conflicts = self.merge_tree(ours, theirs)
        if conflicts is not None:
            raise GitError(f"{ours[:12]} and {theirs[:12]} conflict in {', '.join(conflicts)}")
        return tree

    def merge_tree(self, ours: str, theirs: str) -> tuple[str, tuple[str, ...] | None]:
        """Return the tree that two commits give together, and the files in which they conflict, if they do.

        Raises:
            GitError: One of them is not there.
        """
        arguments = ("merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", ours, theirs)
        output = self._git.run(*arguments, ok=(0, 1))
        if not output.fields:  # which is also exit code 1
            told = output.stderr.strip()
            raise GitError(f"cannot merge {ours[:12]} and {theirs[:12]}: {told or 'git says nothing of why'}")
        tree, *names = output.fields
        return tree, conflicting(names, ours, theirs) if output.code else None

    def write(self, commit: Commit) -> str:
        """Write a commit into the repository, and return its id, whatever `commit.id` is. No branch moves."""
        lines = [f"tree {commit.tree}", *(f"parent {parent}" for parent in commit.parents)]
        lines += [f"author {commit.author}", f"committer {commit.committer}", "", commit.message]
        content = os.fsencode("\n".join(lines))
        return self._git.run("hash-object", "-t", "commit", "-w", "--stdin", stdin=content).text

    def _scratch(self) -> Path:
        scratch = self._git.cwd / "patchyard"
        try:
            scratch.mkdir(exist_ok=True)
        except OSError as error:
            raise GitError(f"cannot make {scratch}: {error.strerror}; make it writable") from None
        return scratch


def conflicting(names: Iterable[str], *commits: str) -> tuple[str, ...]:
    """Return the files that `merge-tree` names as conflicting, as they are called in the commits, in order.

    Where one of the commits has a directory in a file's place, git calls the file `name~COMMIT`.
    """
    suffix = re.compile(rf"~(?:{'|'.join(map(re.escape, commits))})(?:_[0-9]+)?$")
    return tuple(sorted({suffix.sub("", name) for name in names}))


def _parsed(name: str, content: bytes) -> Commit:
    header, _, message = os.fsdecode(content).partition("\n\n")
    fields = [line.partition(" ")[::2] for line in header.split("\n")]
    first = dict(reversed(fields))
    return Commit(
        id=name,
        tree=first["tree"],
        parents=tuple(value for key, value in fields if key == "parent"),
        author=first["author"],
        committer=first["committer"],
        message=message,
    )
