"""Loose objects: written without git, or left empty or damaged by a loss of power. Blocking.

Git does not write an object again that exists, even if its file is empty. So a damaged file is set aside before
the object is made again. Only the files of named objects are read: those of a run.
"""

import hashlib
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from containers.git.command import GitError
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex

_NAMED = regex(r"\b([0-9a-f]{2})/?([0-9a-f]{38}(?:[0-9a-f]{24})?)\b")
"""An object id in a message of git, also as the path of a file."""
OBJECT_ID = regex(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
"""The id of an object: of SHA-1, or of SHA-256."""
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class LooseObjects:
    """The loose objects of a repository.

    Args:
        common: Its common git directory.
    """

    common: Path

    def set_aside_damaged(self, names: Iterable[str]) -> bool:
        """Set the damaged files of objects aside; return whether there were any.

        Raises:
            GitError: One cannot be moved.
        """
        damaged = [name for name in names if is_damaged(self._path(name), name)]
        for name in damaged:
            _set_aside(self.common, self._path(name), name)
        return bool(damaged)

    def set_aside_named(self, message: str) -> bool:
        """Set the damaged files of objects aside that a message of git names; return whether there were any.

        Raises:
            GitError: One cannot be moved.
        """
        return self.set_aside_damaged({"".join(parts) for parts in _NAMED.findall(message)})

    def has(self, name: str) -> bool:
        """Whether there is a file of an object."""
        return self._path(name).is_file()

    def write(self, name: str, data: bytes) -> None:
        """Write an object with its header, on the disk. A damaged file of it is set aside.

        Raises:
            OSError: It cannot be written.
            GitError: A damaged file cannot be moved.
        """
        path = self._path(name)
        if path.exists() and not self.set_aside_damaged([name]):
            return
        path.parent.mkdir(exist_ok=True)
        # Git removes old files of this name that a killed process left.
        temporary = path.with_name(f"tmp_obj_{os.urandom(8).hex()}")
        file = temporary.open("xb")
        try:
            with file:
                file.write(zlib.compress(data, 1))
                file.flush()
                os.fchmod(file.fileno(), 0o444)
                os.fsync(file.fileno())
            temporary.rename(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def _path(self, name: str) -> Path:
        return Path(f"{self.common}/objects/{name[:2]}/{name[2:]}")


def hash_like(name: str, data: bytes = b"") -> "hashlib._Hash":
    """Return a hash of data of the kind of an object id: SHA-1 has 40 digits, SHA-256 has 64."""
    return hashlib.new("sha1" if len(name) == 40 else "sha256", data, usedforsecurity=False)  # noqa: PLR2004 - see above


def names_object(message: str) -> bool:
    """Whether a message of git has the id of an object."""
    return bool(_NAMED.search(message))


def is_damaged(path: Path, name: str) -> bool:
    """Whether the file of a loose object does not have the content that its id names.

    A file that is missing or cannot be read is not damaged, as far as is known.
    """
    digest = hash_like(name)
    try:
        for content in _inflated(path):
            digest.update(content)
    except (zlib.error, EOFError):
        return True
    except OSError:
        return False
    return digest.hexdigest() != name


def _inflated(path: Path) -> Iterator[bytes]:
    """Yield the content of a file in zlib's format, in parts.

    Raises:
        EOFError: The file is cut off.
        zlib.error: It has another format.
    """
    inflater = zlib.decompressobj()
    with path.open("rb") as file:
        while not inflater.eof:
            data = inflater.unconsumed_tail or file.read(_CHUNK)
            if not data:
                raise EOFError
            yield inflater.decompress(data, _CHUNK)


def set_aside_ref(common: Path, name: str) -> bool:
    """Set the file of a ref aside that has no commit in it; return whether it had none. Blocking.

    Git neither reads, writes nor deletes such a ref.

    Args:
        common: The common git directory.
        name: The whole name, such as `refs/heads/a`.

    Raises:
        GitError: The file cannot be moved.
    """
    try:
        content = (common / name).read_bytes().strip(b"\0 \n")
    except OSError:
        return False
    if content.startswith(b"ref: ") or re.fullmatch(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?", content):
        return False
    _set_aside(common, common / name, name.replace("/", "-"))
    return True


def _set_aside(common: Path, path: Path, name: str) -> None:
    """Move a damaged file into a directory of the program.

    Raises:
        GitError: It cannot be moved.
    """
    directory = common / "patchyard" / "damaged"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        path.replace(directory / name)
    except OSError as error:
        raise GitError(f"cannot move {path}, which is damaged, to {directory}: {error.strerror}") from None
