"""The text of a patch in a temporary file, where it is too large for memory."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

from tasks.patch_data import BLOCK, INLINE, InlineData, PatchData


class SpooledData(PatchData):
    """The text of a patch in a file without a name, which is gone when the object is, or the process."""

    def __init__(self, file: BinaryIO, size: int, sha256: str) -> None:
        super().__init__(size, sha256)
        self._file = file

    def __del__(self) -> None:
        """Close the file, which removes it."""
        self._file.close()

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes in pieces. Blocking; threads may share it."""
        position = 0
        while block := os.pread(self._file.fileno(), BLOCK, position):
            position += len(block)
            yield block


def spool(blocks: Iterator[bytes], directory: Path) -> PatchData:
    """Keep the text of a patch: a small one in memory, a larger one in a temporary file. Blocking.

    Args:
        blocks: The text, in pieces.
        directory: Where the file is.

    Raises:
        OSError: The file cannot be written.
    """
    start = bytearray()
    for block in blocks:
        start += block
        if len(start) > INLINE:
            break
    else:
        return InlineData(bytes(start))
    from tempfile import TemporaryFile  # noqa: PLC0415 - start-up stays quick

    file = cast("BinaryIO", TemporaryFile(dir=directory))  # noqa: SIM115 - the object keeps it
    try:
        return _write(file, chain([bytes(start)], blocks))
    except BaseException:
        file.close()
        raise


def _write(file: BinaryIO, blocks: Iterable[bytes]) -> SpooledData:
    digest, size = hashlib.sha256(), 0
    for block in blocks:
        file.write(block)
        digest.update(block)
        size += len(block)
    file.flush()
    return SpooledData(file, size, digest.hexdigest())
