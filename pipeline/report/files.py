"""Read the files of a directory that is not trusted."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, ClassVar

from containers.filesystem import open_regular
from tasks.errors import PatchyardError
from tasks.patch_data import BLOCK, PatchData


class ReportError(PatchyardError):
    """A report cannot be written or read, or does not match the repository."""

    exit_code: ClassVar[int] = 2


def read_regular_file(path: Path, limit: int) -> bytes:
    """Return the content of a file, but not of a pipe, a device, or what a symbolic link leads to. Blocking.

    Args:
        path: The file.
        limit: Its largest size, in bytes.

    Raises:
        ReportError: It cannot be read, is not a plain file, or is larger.
    """
    with _opened(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise _too_large(path, limit)
    return content


class PatchFile(PatchData):
    """The text of a patch in a file that others may change."""

    def __init__(self, path: Path, size: int, sha256: str) -> None:
        super().__init__(size, sha256)
        self._path = path

    @classmethod
    def open(cls, path: Path, limit: int) -> "PatchFile":
        """Return the patch in a plain file. Blocking.

        Args:
            path: The file.
            limit: Its largest size, in bytes.

        Raises:
            ReportError: As for `read_regular_file`.
        """
        digest, size = hashlib.sha256(), 0
        for block in _blocks(path):
            size += len(block)
            if size > limit:
                raise _too_large(path, limit)
            digest.update(block)
        return cls(path, size, digest.hexdigest())

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes in pieces. Blocking.

        Raises:
            ReportError: It cannot be read, or is not what it was when it was opened.
        """
        digest, size = hashlib.sha256(), 0
        for block in _blocks(self._path):
            size += len(block)
            if size > self.size:
                break
            digest.update(block)
            yield block
        if (size, digest.hexdigest()) != (self.size, self.sha256):
            raise ReportError(f"{self._path}: changed while it was read")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a plain file.

    Raises:
        ReportError: It cannot be read, or is not a plain file.
    """
    try:
        if (file := open_regular(path)) is None:
            raise ReportError(f"{path}: not a plain file")
        with file:
            yield file
    except OSError as error:
        raise ReportError(f"{path}: cannot be read: {error.strerror}") from None


def _blocks(path: Path) -> Iterator[bytes]:
    with _opened(path) as file:
        while block := file.read(BLOCK):
            yield block


def _too_large(path: Path, limit: int) -> ReportError:
    return ReportError(f"{path}: larger than {limit / 1_000_000:.0f} MB, so it was not read")
