"""The note at the end of a pull request's body: a comment that GitHub does not show.

It says which commits patchyard pushed, so that a clone without records of its own knows whether a branch is at
a commit of a person. The trailers of a commit do not say that: a person who amends it keeps them.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from pipeline.forge.base import PullRequestDraft

_NOTE = re.compile(r"\s*<!-- patchyard (?P<record>\{[^\n]*\}) -->[ \t]*")


@dataclass(frozen=True, slots=True)
class Note:
    """What patchyard noted in a pull request: the commit ids that it pushed, by branch, and for which plan.

    `plan` is a digest of the plan's title.
    """

    pushed: Mapping[str, str] = field(default_factory=dict)
    plan: str = ""

    def is_of(self, title: str) -> bool:
        """Whether the commits are of the plan with a title."""
        return self.plan == digest(title)


def read_note(body: str) -> Note | None:
    """Return the last note of a body; `None` if it has none, or none that can be read."""
    found = list(_NOTE.finditer(body))
    try:
        record: Any = json.loads(found[-1]["record"]) if found else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    return Note(_texts(record.get("pushed")), str(record.get("plan", "")))


def digest(text: str) -> str:
    """Return a digest of a text, to compare it with; the line ends, which GitHub changes, do not count."""
    plain = "\n".join(text.splitlines()).strip().encode(errors="surrogateescape")
    return sha256(plain).hexdigest()[:16]


def without_note(body: str) -> str:
    """Return a body without its notes."""
    return _NOTE.sub("", body)


def with_note(body: str, note: Note) -> str:
    """Return a body that ends with a note, and has no other one."""
    record = json.dumps({"pushed": dict(note.pushed), "plan": note.plan})
    return f"{without_note(body)}\n\n<!-- patchyard {_escape(record)} -->\n"


def body_of(draft: PullRequestDraft) -> str:
    """Return the body of a new pull request."""
    return with_note(draft.body, Note(draft.pushed, digest(draft.plan)))


def _escape(record: str) -> str:
    """Return JSON that does not end a comment (CommonMark 4.6): the name of a branch may contain `-->`."""
    return record.replace(">", "\\u003e").replace("--", "-\\u002d")


def _texts(value: object) -> Mapping[str, str]:
    entries = value.items() if isinstance(value, dict) else ()
    return {name: text for name, text in entries if isinstance(name, str) and isinstance(text, str)}
