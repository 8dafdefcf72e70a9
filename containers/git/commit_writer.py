"""Write commit objects as files: a git process takes longer than the rest of a small task's commit. Blocking.

What git would change or refuse is left to `git commit-tree`: the ids have to be the same.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from containers.git.command import Git
from containers.git.commit_cache import CommitCache
from containers.git.commits import Signature, create_commit
from containers.git.loose_objects import LooseObjects, hash_like
from tasks.lazy.patterns import regex

_DATE = regex(r"@(\d{1,11} (?!-0000)[+-](?:0\d|1[0-4])[0-5]\d)")
_CRUD = frozenset(".,:;<>\"\\'")
"""Characters that git removes at the ends of a name (git: `crud` in `ident.c`), besides spaces and controls."""


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
        if self._has_own_permissions or not self._loose.has(tree):
            return None
        lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
        content = "\n".join([*lines, f"author {line}", f"committer {line}", "", text]).encode()
        data = b"commit %d\0%s" % (len(content), content)
        name = hash_like(tree, data).hexdigest()
        with suppress(OSError):  # git says why
            return name if self._loose.write(name, data) else None
        return None

    def _has_commit(self, commit: str) -> bool:
        if self._known.is_recorded(commit):  # `git gc --prune=now` of the user may have removed it since
            return self._loose.has(commit)
        return bool(self._known.tree(commit))

    @cached_property
    def _has_own_permissions(self) -> bool:
        """Whether git sets other permissions of files than the umask gives."""
        return self._git.run("config", "--get", "core.sharedRepository", ok=(0, 1)).code == 0


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
