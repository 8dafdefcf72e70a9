"""Commit objects: read, create, apply a patch, merge; without a checkout."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

from containers.git.changes import ABSENT, GITLINK, RAW, Change, read_changes, read_changes_of_each
from containers.git.command import Git, GitError
from containers.git.file_errors import file_errors
from containers.git.loose_objects import LooseObjects
from containers.temporary import temporary_directory
from tasks.errors import remedy
from tasks.lazy.dataclasses import dataclass
from tasks.patch_data import InlineData, PatchData

if TYPE_CHECKING:
    from containers.git.overlay import Overlay

T = TypeVar("T")

_APPLY = ("-c", "apply.whitespace=nowarn", "-c", "apply.ignoreWhitespace=no", "apply", "--cached")


@dataclass(frozen=True, slots=True)
class Commit:
    """A whole commit object. `author` and `committer` include the time and its zone, as git writes them."""

    id: str
    tree: str
    parents: tuple[str, ...]
    author: str
    committer: str
    message: str


_MOST_FILES = 200
"""How many files a statistic names."""
_WIDEST = 10_000
"""Columns of a line of a statistic: no name is cut."""
_GRAPH = 40
"""Columns of its bars."""


class History:
    """Reads and creates commits without a checkout. Blocking.

    Args:
        git: A git that runs in the repository's common directory.
    """

    def __init__(self, git: Git) -> None:
        self._git = git

    def stat(self, old: str, new: str) -> str:
        """Return the files that differ between two trees or commits, in the form of `git diff --stat`.

        Names are whole, and only control characters in them are escaped.

        Raises:
            GitError: One of them is not in the repository.
        """
        size = (f"--stat={_WIDEST}", f"--stat-name-width={_WIDEST}", f"--stat-graph-width={_GRAPH}")
        options = ("-r", *size, f"--stat-count={_MOST_FILES}")
        git = self._git.configured([("core.quotePath", "false")])
        return git.run("diff-tree", *options, old, new).text

    def since(self, base: str, tips: Sequence[str]) -> tuple[Commit, ...]:
        """Return the commits that are reachable from `tips` and not from `base`, parents first.

        Raises:
            GitError: One of the commits is not in the repository.
        """
        if not tips:
            return ()
        wanted = "\n".join([*dict.fromkeys(tips), f"^{base}", ""]).encode()
        listed = self._git.run("rev-list", "--topo-order", "--reverse", "--stdin", stdin=wanted).stdout
        data = self._git.run("cat-file", "--batch", stdin=listed).stdout
        found = []
        position = 0
        while position < len(data):
            end = data.index(b"\n", position)
            name, _, size = data[position:end].decode("ascii").split(" ")
            position = end + 1 + int(size)
            found.append(_parse_commit(name, data[end + 1 : position]))
            position += 1
        return tuple(found)

    def missing_from(self, commit: str, tips: Sequence[str]) -> tuple[str, ...]:
        """Return the commits that are reachable from `commit` and from none of `tips`, parents first.

        Raises:
            GitError: One of the commits is not in the repository.
        """
        wanted = "\n".join([commit, *(f"^{tip}" for tip in tips), ""]).encode()
        return tuple(
            self._git.run("rev-list", "--topo-order", "--reverse", "--stdin", stdin=wanted).text.split()
        )

    def present(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of the names, ids or whole names of refs, that the repository has an object for."""
        wanted = list(names)
        listed = os.fsencode("\n".join([*wanted, ""]))
        lines = self._git.run("cat-file", "--batch-check", stdin=listed).text.split("\n")
        found = zip(wanted, lines, strict=False)
        return tuple(name for name, line in found if not line.endswith((" missing", " ambiguous")))

    def files(self, commit: str) -> tuple[str, ...]:
        """Return the paths of the files of a commit, sorted; without links and submodules."""
        listed = self._git.run("ls-tree", "-r", "-z", "--full-tree", commit).fields
        entries = (entry.partition("\t") for entry in listed)
        return tuple(sorted(path for about, _, path in entries if about.startswith("100")))

    def is_whole(self, commits: Sequence[str], start: str) -> bool:
        """Whether the repository has commits, with every object that `start` does not reach.

        Damaged files of such objects are set aside, so that the objects can be made again.

        Raises:
            GitError: A damaged file cannot be moved.
        """
        wanted = "\n".join([*commits, f"^{start}", ""]).encode()
        arguments = ("rev-list", "--objects", "--no-object-names", "--stdin")
        output = self._git.run(*arguments, stdin=wanted, ok=(0, 1, 128))
        loose = LooseObjects(self._git.cwd)
        if output.code:
            loose.set_aside_named(output.stderr)
            return False
        return not loose.set_aside_damaged(output.text.split())

    def without_damage(self, work: Callable[[], T]) -> T:
        """Call a function that uses git; after it met damaged objects, set these aside and call it again.

        Raises:
            GitError: It fails for another reason.
        """
        while True:
            try:
                return work()
            except GitError as error:
                if not LooseObjects(self._git.cwd).set_aside_named(error.stderr):
                    raise

    def apply(self, commit: str, diff: PatchData) -> str:
        """Return the id of the tree that a patch makes of a commit's tree.

        Raises:
            GitError: The patch does not apply.
        """
        with file_errors(), temporary_directory(self._scratch(), "apply") as directory:
            git = self._git.at(environ={"GIT_INDEX_FILE": str(directory / "index")})
            git.run("read-tree", commit)
            if isinstance(diff, InlineData) and diff:
                git.run(*_APPLY, stdin=diff.read())
            elif diff:
                from tempfile import TemporaryFile  # noqa: PLC0415 - start-up stays quick

                with cast("BinaryIO", TemporaryFile(dir=directory)) as file:
                    _write(file, diff.blocks())
                    git.run(*_APPLY, stdin=file)
            return git.run("write-tree").text

    def changes(self, old: str, new: str) -> tuple[Change, ...]:
        """Return the paths that differ between two commits; a renamed file is removed and added.

        Raises:
            GitError: One of the commits is not in the repository.
        """
        return read_changes(self._git, old, new)

    def changes_of_each(self, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[Change, ...]]:
        """Yield the paths that differ between the two trees of each pair, as `changes` does; few git processes.

        Raises:
            GitError: One of them is not a tree of the repository.
        """
        return read_changes_of_each(self._git, pairs)

    def overlay(self, tree: str, start: str) -> "Overlay":
        """Return a tree for changes to be put on top of it, which were made of `start` as it was.

        Raises:
            GitError: One of them is not in the repository.
        """
        from containers.git.overlay import Overlay  # noqa: PLC0415 - few commands need it

        return Overlay(self._git, tree, start, self._scratch())

    def content(self, revision: str, path: str, most: int) -> bytes | None:
        """Return a file of a commit or tree; `None` if there is none, or it has more than `most` bytes."""
        name = f"{revision}:{path}"
        asked = ("cat-file", "--batch-check=%(objecttype) %(objectsize)", "-z")
        kind, _, size = self._git.run(*asked, stdin=os.fsencode(name) + b"\0").text.rpartition(" ")
        if kind != "blob" or not size.isdecimal() or int(size) > most:
            return None
        return self._git.run("cat-file", "blob", name).stdout

    def large_files(self, commits: Sequence[str], least: int) -> Mapping[str, Mapping[str, int]]:
        """Return the files of more than `least` bytes that commits with one parent add or change, by commit.

        Each with its size as git stores it: of a file of Git LFS, that of the pointer.

        Raises:
            GitError: One of the commits is not in the repository.
        """
        if not commits:
            return {}
        listed = "".join(f"{commit}\n" for commit in commits).encode("ascii")
        arguments = ("diff-tree", "--stdin", *RAW)
        added: list[tuple[str, str, str]] = []  # commit, path and object
        commit, fields = "", iter(self._git.run(*arguments, stdin=listed).fields)
        for field in fields:
            if field.startswith(":"):
                _, mode, _, content, _ = field.removeprefix(":").split(" ")
                path = next(fields)
                if mode not in {ABSENT, GITLINK}:
                    added.append((commit, path, content))
            else:
                commit = field
        ids = "".join(f"{content}\n" for _, _, content in added).encode("ascii")
        lines = self._git.run("cat-file", "--batch-check=%(objectsize)", stdin=ids).text.split("\n")
        found: dict[str, dict[str, int]] = {}
        for (commit, path, _), line in zip(added, lines if added else (), strict=True):
            if line.isdecimal() and int(line) > least:
                found.setdefault(commit, {})[path] = int(line)
        return found

    def merged_tree(self, ours: str, theirs: str) -> str:
        """Return the id of the tree that merges two commits.

        Raises:
            GitError: They conflict.
        """
        tree, conflicts = self.merge_tree(ours, theirs)
        if conflicts is not None:
            raise GitError(f"{ours[:12]} and {theirs[:12]} conflict in {', '.join(conflicts)}")
        return tree

    def merge_tree(self, ours: str, theirs: str) -> tuple[str, tuple[str, ...] | None]:
        """Merge two commits into a tree; return its id, and the conflicting files or `None`.

        Raises:
            GitError: One of the commits is not in the repository.
        """
        # https://git-scm.com/docs/git-merge-tree#OUTPUT
        arguments = ("merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", ours, theirs)
        output = self._git.run(*arguments, ok=(0, 1))
        if not output.fields:  # not a conflict: some errors exit with 1 too
            reason = output.stderr.strip()
            raise GitError(f"cannot merge {ours[:12]} and {theirs[:12]}: {reason or 'git gave no reason'}")
        tree, *names = output.fields
        return tree, conflicting_files(names, ours, theirs) if output.code else None

    def write(self, commit: Commit) -> str:
        """Write a commit object, and return its id; `commit.id` is not used, and no ref moves."""
        lines = [f"tree {commit.tree}", *(f"parent {parent}" for parent in commit.parents)]
        lines += [f"author {commit.author}", f"committer {commit.committer}", "", commit.message]
        content = os.fsencode("\n".join(lines))
        return self._git.run("hash-object", "-t", "commit", "-w", "--stdin", stdin=content).text

    def _scratch(self) -> Path:
        scratch = self._git.cwd / "patchyard"
        try:
            scratch.mkdir(exist_ok=True)
        except OSError as error:
            raise GitError(f"cannot make {scratch}: {error.strerror}; {remedy(error)}") from None
        return scratch


def conflicting_files(names: Iterable[str], *commits: str) -> tuple[str, ...]:
    """Return the files that `merge-tree` names as conflicting, by their names in the commits, sorted.

    If one of the commits has a directory in place of a file, git calls the file `name~COMMIT`.
    """
    suffix = re.compile(rf"~(?:{'|'.join(map(re.escape, commits))})(?:_[0-9]+)?$")
    return tuple(sorted({suffix.sub("", name) for name in names}))


def _write(file: BinaryIO, blocks: Iterator[bytes]) -> None:
    """Write to a file, and go back to its beginning.

    Raises:
        GitError: It cannot be written.
    """
    try:
        file.writelines(blocks)
        file.seek(0)
    except OSError as error:
        raise GitError(f"cannot write a patch to a temporary file: {error.strerror}") from None


def _parse_commit(name: str, content: bytes) -> Commit:
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
