"""Titles of units, without the marks that plans put around them."""

import re

from tasks.dialects.blocks.boxes import says_tick
from tasks.lazy.patterns import regex
from tasks.plan.marks import is_struck_out, without_done

_BOLD = regex(r"(\*\*|__)(?P<start>(?:(?!\1).)+)\1(?P<rest>.*)", re.DOTALL)


def box_title(text: str) -> str:
    """Return the text of a box as a title: not bold, not struck out, without a mark of being done."""
    text = text.strip()
    if is_struck_out(text):
        text = text.replace("~~", "")
    if says_tick(text):
        text = without_done(text).rstrip("* ")
    found = _BOLD.fullmatch(text)
    return f"{found['start']}{found['rest']}".strip() if found else text.strip()
