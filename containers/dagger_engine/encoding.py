"""UTF-8 checks for text sent to an engine; a byte that is not UTF-8 is a surrogate in Python text (PEP 383)."""

from collections.abc import Iterable

UNKNOWN = "\ufffd"
"""Replaces a byte that is not UTF-8."""
_REPLACED = dict.fromkeys(range(0xD800, 0xE000), UNKNOWN)


def is_utf8(text: str) -> bool:
    """Whether a text can be encoded in UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_utf8(text: str) -> str:
    """Return a text with `UNKNOWN` in place of each byte that is not UTF-8."""
    return text.translate(_REPLACED)


def encoding_error(texts: Iterable[tuple[str, str]]) -> str | None:
    """Return why an engine cannot take some texts, given as (description, text); `None` if it can."""
    for what, text in texts:
        if not is_utf8(text):
            return f"{as_utf8(what)} is not UTF-8, and a Dagger engine takes nothing else"
    return None
