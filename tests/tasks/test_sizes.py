"""Sizes as users write and read them."""

import pytest

from tasks.sizes import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("100MB", 100_000_000), ("1.5 gb", 1_500_000_000), ("64KiB", 65536), ("4096", 4096), (" 7 b ", 7)],
)
def test_size_is_read_in_bytes(text: str, size: int) -> None:
    """With and without a unit, in any case."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "0MB", "-1MB", "MB", "10 apples", "1e9", "٣MB", "inf"])
def test_invalid_size_is_refused_with_an_example(text: str) -> None:
    """The message says what to write."""
    with pytest.raises(ValueError, match="write for example 500KB, 100MB or 1GB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 KB"), (100_000_000, "100 MB"), (3 * 10**9, "3 GB")],
)
def test_size_is_printed_with_a_unit(size: int, text: str) -> None:
    """As users read it."""
    assert format_size(size) == text
