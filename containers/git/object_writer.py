"""Write commits and trees as files: a git process takes longer than the rest of a small commit. Blocking.

What git would change or refuse is left to `git commit-tree` and `git write-tree`: the ids have to be the same.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from containers.git.changes import ABSENT, Change, directories_above
from containers.git.command import Git, GitError
from containers.git.commit_cache import CommitCache
from containers.git.loose_objects import LooseObjects, hash_like
from containers.git.signatures import Signature, create_commit
from tasks.lazy.patterns import regex

_DATE = regex(r"@(\d{1,11} (?!-0000)[+-](?:0\d|1[0-4])[0-5]\d)")
_CRUD = frozenset(".,:;<>\"\\'")
"""Characters that git removes at the ends of a name (git: `crud` in `ident.c`), besides spaces and controls."""

_MOST_TREES = 8
"""Trees up to which writing each of them to the disk takes less time than git does."""
_TREE = b"40000"
_MODES = frozenset({_TREE, b"100644", b"100755", b"120000", b"160000"})
"""The modes that git writes; old trees may have others, which it changes."""

Entry = tuple[bytes, bytes]
"""The mode and the binary object id of an entry of a tree."""


class CommitWriter:
    """Creates the commits of a repository.

    Args:
        git: A git that writes to the repository.
        common: The common git directory.
        known: Cache of the repository's commits.
    """

    def __init__(self, git: Git, common: Path, known: CommitCache) -> None:
        self._git = git
        self._known = known
        self._loose = LooseObjects(common)

    def create(self, tree: str, parents: Sequence[str], message: bytes, signature: Signature) -> str:
        """Create a commit object, and return its id; no ref moves.

        Raises:
            GitError: The tree or a parent is not in the repository.
        """
        written = None
        if all(map(self._has_commit, parents)):
            written = self.write(tree, parents, message, signature)
        return written or create_commit(self._git, tree, parents, message, signature)

    def write(self, tree: str, parents: Sequence[str], message: bytes, signature: Signature) -> str | None:
        """Write a commit whose parents are in the repository; return its id, or `None` if git has to do it."""
        line, text = _signed(signature), _text(message)
        if line is None or text is None or len(set(parents)) != len(parents):
            return None
        if not self._loose.has(tree):
            return None
        lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
        content = "\n".join([*lines, f"author {line}", f"committer {line}", "", text]).encode()
        data = b"commit %d\0%s" % (len(content), content)
        name = hash_like(tree, data).hexdigest()
        return name if self.write_object(name, data) else None

    def write_object(self, name: str, data: bytes) -> bool:
        """Write an object with its header; return whether it is on the disk: otherwise git has to write it."""
        if self._has_own_permissions:
            return False
        with suppress(OSError):  # git says why
            self._loose.write(name, data)
            return True
        return False

    def read_configuration(self) -> None:
        """Read the configuration, which is done once."""
        _ = self._has_own_permissions

    def has_file(self, name: str) -> bool:
        """Whether an object has a file of its own, as one that git wrote just now."""
        return self._loose.has(name)

    def _has_commit(self, commit: str) -> bool:
        if self._known.is_recorded(commit):  # `git gc --prune=now` of the user may have removed it since
            return self._loose.has(commit)
        return bool(self._known.tree(commit))

    @cached_property
    def _has_own_permissions(self) -> bool:
        """Whether git sets other permissions of files than the umask gives."""
        return self._git.run("config", "--get", "core.sharedRepository", ok=(0, 1)).code == 0


class TreeWriter:
    """Writes trees of a repository: those of the directories in which a few files changed.

    `git write-tree` reads and writes the whole index, and a look at each object takes it longer than the rest
    (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects).

    Args:
        known: Cache of the repository's commits.
        writer: Writes its objects.
    """

    def __init__(self, known: CommitCache, writer: CommitWriter) -> None:
        self._known = known
        self._writer = writer

    def write(self, commit: str, changes: Collection[Change]) -> str | None:
        """Return the id of a commit's tree with some changes, which is then on the disk.

        Args:
            commit: Id of the commit.
            changes: Files and submodules that are added, changed or removed.

        Returns:
            `None` if git has to write it, which also finds out whether a file's content is missing.
        """
        wanted = _by_directory(changes)
        if len(wanted) > _MOST_TREES or not all(map(self._has_content, changes)):
            return None
        removed = {change.path for change in changes if change.old_mode != ABSENT}
        try:
            found = self._known.directories(commit, sorted(wanted.keys() - removed))
        except GitError:
            return None
        trees = {directory: _parse(content, len(commit) // 2) for directory, content in found.items()}
        return self._write_all(commit, wanted, trees)

    def _write_all(
        self,
        like: str,
        wanted: Mapping[str, dict[bytes, Entry | None]],
        trees: Mapping[str, dict[bytes, Entry] | None],
    ) -> str | None:
        """Write each directory, those in others first; return the id of the topmost."""
        for directory in sorted(wanted, key=lambda path: (path.count("/") + bool(path), path), reverse=True):
            tree = trees.get(directory, {})
            if tree is None:
                return None
            entries = {name: entry for name, entry in {**tree, **wanted[directory]}.items() if entry}
            content = _tree(entries)
            data = b"tree %d\0%s" % (len(content), content)
            name = hash_like(like, data).hexdigest()
            if directory and not entries:
                _put(wanted, directory, None)
                continue
            if not self._writer.write_object(name, data):
                return None
            if not directory:
                return name
            _put(wanted, directory, (_TREE, bytes.fromhex(name)))
        return None

    def _has_content(self, change: Change) -> bool:
        return not change.has_file or self._writer.has_file(change.new)


def _by_directory(changes: Collection[Change]) -> dict[str, dict[bytes, Entry | None]]:
    """Return what changes in each directory, and the directories that these are in."""
    found: dict[str, dict[bytes, Entry | None]] = {"": {}}
    for change in changes:
        directory, _, name = change.path.rpartition("/")
        is_absent = change.new_mode == ABSENT
        entry = None if is_absent else (change.new_mode.encode("ascii"), bytes.fromhex(change.new))
        found.setdefault(directory, {})[os.fsencode(name)] = entry
        for above in directories_above(directory):
            found.setdefault(above, {})
    return found


def _put(wanted: Mapping[str, dict[bytes, Entry | None]], directory: str, entry: Entry | None) -> None:
    """Set the entry of a directory in the one above; a file that took its place stays."""
    above, _, name = directory.rpartition("/")
    if entry or not wanted[above].get(os.fsencode(name)):
        wanted[above][os.fsencode(name)] = entry


def _parse(content: bytes, size: int) -> dict[bytes, Entry] | None:
    """Return the entries of a tree; `None` if git would not have written it like this."""
    found = dict(_entries(content, size))
    is_usual = all(mode in _MODES for mode, _ in found.values()) and _tree(found) == content
    return found if is_usual else None


def _entries(content: bytes, size: int) -> Iterator[tuple[bytes, Entry]]:
    position = 0
    while position < len(content):
        end = content.index(b"\0", position)
        mode, _, name = content[position:end].partition(b" ")
        position = end + 1 + size
        yield name, (mode, content[end + 1 : position])


def _tree(entries: Mapping[bytes, Entry]) -> bytes:
    """Return a tree with entries, sorted as git sorts them: directories as if their names ended in a slash."""
    names = sorted(entries, key=lambda name: name + b"/" if entries[name][0] == _TREE else name)
    return b"".join(b"%s %s\0%s" % (entries[name][0], name, entries[name][1]) for name in names)


def _signed(signature: Signature) -> str | None:
    """Return author or committer as a commit has them; `None` if git would change them."""
    date = _DATE.fullmatch(signature.date or "")
    parts = (signature.identity.name, signature.identity.email)
    if date is None or not all(map(_is_plain, parts)):
        return None
    return f"{parts[0]} <{parts[1]}> {date[1]}"


def _is_plain(part: str) -> bool:
    ends = {part[:1], part[-1:]}
    return part.isprintable() and bool(part) and not ends & (_CRUD | {" "}) and not {"<", ">"} & set(part)


def _text(message: bytes) -> str | None:
    """Return a message as text; `None` if git would not take it as UTF-8 (git: `verify_utf8` in `commit.c`)."""
    try:
        text = message.decode()
    except UnicodeDecodeError:
        return None
    if any("\ufdd0" <= letter <= "\ufdef" or ord(letter) & 0xFFFE == 0xFFFE for letter in text):  # noqa: PLR2004
        return None
    return text
