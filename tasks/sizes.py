"""Parse and print sizes such as `100MB`."""

import re

from tasks.lazy.patterns import regex

_SIZE = regex(r"([0-9]+(?:\.[0-9]+)?)\s*(b|kb|mb|gb|kib|mib|gib)?", re.IGNORECASE)
_BYTES = {
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
}


def parse_size(text: str) -> int:
    """Return the bytes of a size such as `100MB`, `1.5 GB`, `64KiB` or `4096`; a bare number is in bytes.

    Raises:
        ValueError: The text is not a size, or is zero; the message is a sentence for the user.
    """
    found = _SIZE.fullmatch(text.strip())
    size = int(float(found[1]) * _BYTES[(found[2] or "b").lower()]) if found else 0
    if size < 1:
        raise ValueError(f"{text.strip()[:40]!r} is not a size; write for example 500KB, 100MB or 1GB")
    return size


def format_size(size: int) -> str:
    """Return a size in bytes as users read it, in units of 1000: `100 MB`, `1.5 GB`."""
    for unit, factor in (("GB", 1000**3), ("MB", 1000**2), ("KB", 1000)):
        if size >= factor:
            return f"{size / factor:.1f}".removesuffix(".0") + f" {unit}"
    return f"{size} bytes"
