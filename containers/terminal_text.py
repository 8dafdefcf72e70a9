"""Text of programs without what is only for a terminal."""

from tasks.lazy.patterns import regex

_ESCAPE_SEQUENCE = regex(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
"""Terminal control sequences (ECMA-48): CSI, OSC (ended by BEL or ST), and two-character ones."""
_CONTROL = regex(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def strip_terminal(text: str) -> str:
    """Return text without terminal control sequences, such as those for colours."""
    return _ESCAPE_SEQUENCE.sub("", text) if "\x1b" in text else text


def strip_control(text: str) -> str:
    """Return text without control characters; tabs and line feeds stay."""
    return _CONTROL.sub("", text)


def plain_text(text: str) -> str:
    """Return text that any store and any page can hold: no control sequence or character, no half character."""
    whole = text.encode(errors="replace").decode()
    return strip_control(strip_terminal(whole))
