"""The note at the end of a pull request's body: a comment that GitHub does not show.

It says which commits patchyard pushed, so that a clone without records of its own knows whether a branch is at a
commit of a person. The trailers of a commit do not say that: a person who amends it keeps them.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.forge.base import PullRequestDraft

_NOTE = re.compile(r"\s*<!-- patchyard (?P<record>\{[^\n]*\}) -->[ \t]*")


@dataclass(frozen=True, slots=True)
class Note:
    """What patchyard noted in a pull request: the commit ids that it pushed, by branch."""

    pushed: Mapping[str, str] = field(default_factory=dict)


def read_note(body: str) -> Note | None:
    """Return the last note of a body; `None` if it has none, or none that can be read."""
    found = list(_NOTE.finditer(body))
    try:
        record: Any = json.loads(found[-1]["record"]) if found else None
    except (ValueError, RecursionError):
        return None
    return Note(_texts(record.get("pushed"))) if isinstance(record, dict) else None


def without_note(body: str) -> str:
    """Return a body without its notes."""
    return _NOTE.sub("", body)


def with_note(body: str, note: Note) -> str:
    """Return a body that ends with a note, and has no other one."""
    record = json.dumps({"pushed": dict(note.pushed)})
    return f"{without_note(body)}\n\n<!-- patchyard {_escape(record)} -->\n"


def body_of(draft: PullRequestDraft) -> str:
    """Return the body of a new pull request."""
    return with_note(draft.body, Note(draft.pushed))


def _escape(record: str) -> str:
    """Return JSON that does not end a comment (CommonMark 4.6): the name of a branch may contain `-->`."""
    return record.replace(">", "\\u003e").replace("--", "-\\u002d")


def _texts(value: object) -> Mapping[str, str]:
    entries = value.items() if isinstance(value, dict) else ()
    return {name: text for name, text in entries if isinstance(name, str) and isinstance(text, str)}
