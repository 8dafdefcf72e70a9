"""The text of a patch, which may be larger than what should be in memory: it is read in pieces."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator

BLOCK = 1 << 20
"""Bytes of a piece, about."""
INLINE = 64 * 1024
"""Bytes of a patch that is kept in memory: a run may have a thousand."""


class PatchData(ABC):
    """The text of a patch. Two are equal if their bytes are.

    Args:
        size: In bytes.
        sha256: The SHA-256 of all bytes, in hexadecimal digits.
    """

    def __init__(self, size: int, sha256: str) -> None:
        self.size = size
        self.sha256 = sha256

    @abstractmethod
    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes in pieces of about `BLOCK`; each call starts at the beginning. Blocking."""

    def read(self) -> bytes:
        """Return all bytes at once; for small ones only. Blocking."""
        return b"".join(self.blocks())

    def lines(self) -> Iterator[bytes]:
        r"""Yield the lines without their ends, as `read().split(b"\n")` returns them. Blocking.

        A line that is longer than two pieces is cut there.
        """
        rest, cut = b"", False
        for block in self.blocks():
            first, *others = block.split(b"\n")
            if not cut:
                rest += first
            if others:
                yield rest
                yield from others[:-1]
                rest, cut = others[-1], False
            cut = cut or len(rest) > BLOCK
        yield rest

    def contains(self, needle: bytes) -> bool:
        """Whether some bytes are in it. Blocking."""
        tail = b""
        for block in self.blocks():
            data = tail + block
            if needle in data:
                return True
            tail = data[-len(needle) :]
        return False

    def __bool__(self) -> bool:
        """Return whether there are any bytes."""
        return self.size > 0

    def __eq__(self, other: object) -> bool:
        """Return whether another one has the same bytes."""
        if not isinstance(other, PatchData):
            return NotImplemented
        return (self.size, self.sha256) == (other.size, other.sha256)

    def __hash__(self) -> int:
        """Return the hash of the checksum."""
        return hash(self.sha256)

    def __repr__(self) -> str:
        """Return the type, the size and the beginning of the checksum."""
        return f"{type(self).__name__}({self.size} bytes, {self.sha256[:12]})"


class InlineData(PatchData):
    """The text of a small patch, in memory."""

    def __init__(self, content: bytes) -> None:
        super().__init__(len(content), hashlib.sha256(content).hexdigest())
        self._content = content

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes."""
        yield self._content
