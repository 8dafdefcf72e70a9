"""What is not UTF-8: to an engine nothing of it can be said. In a text here each such byte is a surrogate."""

from collections.abc import Iterable

UNKNOWN = "\ufffd"
"""What stands for a byte that is not UTF-8."""
_SHOWN = dict.fromkeys(range(0xD800, 0xE000), UNKNOWN)


def is_utf8(text: str) -> bool:
    """Whether all of a text can be said in UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_utf8(text: str) -> str:
    """Return a text with a sign of its own in place of each byte that is not UTF-8."""
    return text.translate(_SHOWN)


def encoding_error(texts: Iterable[tuple[str, str]]) -> str | None:
    """Return why an engine cannot be told some texts, each given after what it is; `None` where it can."""
    for what, text in texts:
        if not is_utf8(text):
            return f"{as_utf8(what)} is not UTF-8, and a Dagger engine takes nothing else"
    return None
