"""How plans of any dialect say that something is done."""

from tasks.lazy.patterns import regex

_DONE_AT_END = regex(
    r"\s*(?:[-–—:]\s*|\[|\()?(?:✅|✔|✓|☑|\b(?:DONE|COMPLETE|COMPLETED|FINISHED)\b|(?<=[(\[])(?i:done|completed?)(?=[)\]]))\s*[\])]?(?:\s*[(\[][^()\[\]]{1,60}[)\]])?[\s*.!]*$"  # noqa: RUF001
)
_DONE_WORDS = ("DONE", "COMPLETE", "FINISHED", "✅", "✔", "✓", "☑")
"""One of these is in every title that says so, in upper case: to look for them is quicker."""
_BARE_WORD = regex(r"\w[\w`'\")]*\s+(?:DONE|COMPLETED?|FINISHED)[\s*.!]*$")
_OPEN_AT_END = regex(
    r"\s*(?:[-–—:\[(]|[^\w\s\x00-\x7f\u2010-\u206f]\ufe0f?)+\s*"  # noqa: RUF001 - the dashes that people type
    r"(?:PENDING|IN[ -]PROGRESS|NOT STARTED|TODO|TO DO|BLOCKED|IMPLEMENTED)[\])]?\s*$"
)
_OPEN_WORDS = ("PENDING", "PROGRESS", "STARTED", "TODO", "TO DO", "BLOCKED", "IMPLEMENTED")
"""As `_DONE_WORDS`, as they are written."""
_RULE = regex(r"\s*(?:---+|\*\*\*+|___+)")
_STRUCK = regex(r"~~.+~~[\s.]*")


def says_done(title: str) -> bool:
    """Whether the end of a title says that it is done, such as `✅`, `- DONE` or `COMPLETE`."""
    upper = title.upper()
    if not any(word in upper for word in _DONE_WORDS):
        return False
    return bool(_DONE_AT_END.search(title)) or title.lstrip().startswith("✅")


def is_marked_done(title: str) -> bool:
    """Whether a title says that it is done with more than a last word such as DONE, which may be part of it."""
    return says_done(title) and not _BARE_WORD.search(title)


def without_done(title: str) -> str:
    """Return a title without the mark of being done."""
    previous = None
    while previous != title:
        previous, title = title, _DONE_AT_END.sub("", title).rstrip()
    return title.lstrip("✅ ").rstrip()


def without_open(title: str) -> str:
    """Return a title without a mark at its end of being open, such as `🔄 IN PROGRESS` or `- PENDING`."""
    return _OPEN_AT_END.sub("", title) or title if any(word in title for word in _OPEN_WORDS) else title


def is_struck_out(text: str) -> bool:
    """Whether all of a text is struck out."""
    return bool(_STRUCK.fullmatch(text.strip()))


def without_rule(text: str) -> str:
    """Return a text without the rule that separates it from what follows."""
    text = text.rstrip()
    above, _, last = text.rpartition("\n")
    return above.rstrip() if _RULE.fullmatch(last) else text
