"""Write commit objects as files: a git process takes longer than the rest of a small task's commit. Blocking.

What git would change or refuse is left to `git commit-tree`: the ids have to be the same.
"""

import hashlib
import os
import re
import tempfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from containers.git.command import Git
from containers.git.commit_cache import CommitCache
from containers.git.commits import Signature, create_commit
from containers.git.loose_objects import is_damaged

_DATE = re.compile(r"@(\d{1,11} (?!-0000)[+-](?:0\d|1[0-4])[0-5]\d)")
_CRUD = frozenset(".,:;<>\"\\'")
"""Characters that git removes at the ends of a name (git: `crud` in `ident.c`), besides spaces and controls."""
_SHARED = re.compile(rb"(?i)sharedrepository")


def make_commit(  # noqa: PLR0913, PLR0917 - the parts of a commit, and where it goes
    git: Git,
    common: Path,
    known: CommitCache,
    tree: str,
    parents: Sequence[str],
    message: bytes,
    signature: Signature,
) -> str:
    """Create a commit object, and return its id; no ref moves.

    Args:
        git: A git that writes to the repository.
        common: The common git directory.
        known: Cache of the repository's commits.
        tree: Its tree.
        parents: Its parents.
        message: Its message.
        signature: Author, committer and date.

    Raises:
        GitError: The tree or a parent is not in the repository.
    """
    written = None
    # `git gc --prune=now` of the user may have removed a commit of this process since it was created.
    if all(_is_file(common, one) if known.is_recorded(one) else known.tree(one) for one in parents):
        written = write_commit(common, tree, parents, message, signature)
    return written or create_commit(git, tree, parents, message, signature)


def write_commit(
    common: Path, tree: str, parents: Sequence[str], message: bytes, signature: Signature
) -> str | None:
    """Write a commit, and return its id; `None` if git has to do it. No ref moves.

    Args:
        common: The common git directory.
        tree: Its tree; its file has to be there, or git has to look for it.
        parents: Its parents, which are known to be in the repository.
        message: Its message.
        signature: Author, committer and date.
    """
    line = _signed(signature)
    text = _text(message)
    if line is None or text is None or len(set(parents)) != len(parents) or not _is_file(common, tree):
        return None
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents), f"author {line}", f"committer {line}"]
    content = "\n".join([*lines, "", text]).encode()
    data = b"commit %d\0%s" % (len(content), content)
    name = hashlib.new("sha1" if len(tree) == 40 else "sha256", data, usedforsecurity=False).hexdigest()  # noqa: PLR2004 - hex
    with suppress(OSError):
        if not _SHARED.search((common / "config").read_bytes()):  # git then sets other permissions
            return name if _write(common / "objects" / name[:2] / name[2:], name, data) else None
    return None


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


def _is_file(common: Path, name: str) -> bool:
    return (common / "objects" / name[:2] / name[2:]).is_file()


def _write(path: Path, name: str, data: bytes) -> bool:
    """Write the file of an object; return whether it is there, whole and on the disk.

    Raises:
        OSError: It cannot be written.
    """
    if path.exists():
        return not is_damaged(path, name)
    path.parent.mkdir(exist_ok=True)
    # Git removes old files of this name that a killed process left.
    number, temporary = tempfile.mkstemp(prefix="tmp_obj_", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(zlib.compress(data, 1))
            file.flush()
            os.fchmod(number, 0o444)
            os.fsync(number)
        Path(temporary).rename(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
    return True
