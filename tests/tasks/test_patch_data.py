"""The text of a patch, read in pieces."""

from collections.abc import Iterator

import pytest

from tasks.patch_data import BLOCK, InlineData, PatchData


class Pieces(PatchData):
    """A text in pieces of the test's own."""

    def __init__(self, *pieces: bytes) -> None:
        whole = InlineData(b"".join(pieces))
        super().__init__(whole.size, whole.sha256)
        self.pieces = pieces

    def blocks(self) -> Iterator[bytes]:
        """Yield the pieces."""
        yield from self.pieces


@pytest.mark.parametrize("pieces", [(), (b"",), (b"a\nb\n",), (b"a", b"\n", b"b", b"c\nd"), (b"a\n", b"\n\nb")])
def test_lines_are_those_of_the_whole_text(pieces: tuple[bytes, ...]) -> None:
    data = Pieces(*pieces)
    assert list(data.lines()) == data.read().split(b"\n") == b"".join(pieces).split(b"\n")


def test_very_long_line_is_cut_and_the_next_is_whole() -> None:
    long = [b"x" * BLOCK] * 5
    first, second = Pieces(*long, b"xx\nnext").lines()
    assert BLOCK < len(first) <= 2 * BLOCK
    assert second == b"next"


def test_needle_is_found_where_it_is_split() -> None:
    data = Pieces(b"one two", b"three")
    assert data.contains(b"twothr")
    assert data.contains(b"one")
    assert not data.contains(b"onetwo")


def test_equal_bytes_are_equal_whatever_holds_them() -> None:
    assert Pieces(b"a", b"b") == InlineData(b"ab") != InlineData(b"abc")
    assert InlineData(b"ab") != b"ab"
    assert bool(InlineData(b"")) is False
