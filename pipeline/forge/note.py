"""The note at the end of a pull request's body: a comment that GitHub does not show.

It says which title and text patchyard wrote, and which commits it pushed, so that a clone without records of
its own knows what a person changed since. The trailers of a commit do not say that: a person who amends it has
the same ones.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

from pipeline.forge.base import PullRequestDraft

_NOTE = re.compile(r"\s*<!-- patchyard (?P<record>\{[^\n]*\}) -->[ \t]*")

_BOX = re.compile(r"^(\s*(?:[-*+]|\d+[.)])\s+)\[([ xX])\](\s.*)$")
"""An item of a task list: https://github.github.com/gfm/#task-list-items-extension-"""
LONGEST_BODY = 65_536
"""Characters that GitHub accepts."""


@dataclass(frozen=True, slots=True)
class Note:
    """What patchyard noted in a pull request: the commit ids that it pushed, by branch, and for which plan.

    `plan` is a digest of the plan's title. `title` and `text` are digests of the title and of the text that
    patchyard wrote last, so that what a person changed since is known.
    """

    pushed: Mapping[str, str] = field(default_factory=dict)
    plan: str = ""
    title: str = ""
    text: str = ""

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
    digests = (str(record.get(name, "")) for name in ("plan", "title", "text"))
    return Note(_texts(record.get("pushed")), *digests)


def digest(text: str) -> str:
    """Return a digest of a text, to compare it with; the line ends, which GitHub changes, do not count."""
    plain = "\n".join(text.splitlines()).strip().encode(errors="surrogateescape")
    return sha256(plain).hexdigest()[:16]


def without_note(body: str) -> str:
    """Return a body without its notes."""
    return _NOTE.sub("", body)


def with_note(body: str, note: Note) -> str:
    """Return a body that ends with a note, and has no other one."""
    record = json.dumps(asdict(note) | {"pushed": dict(note.pushed)})
    return f"{without_note(body)}\n\n<!-- patchyard {_escape(record)} -->\n"


def body_of(draft: PullRequestDraft) -> str:
    """Return the body of a new pull request."""
    return with_note(draft.body, _note_of(draft))


def revised(draft: PullRequestDraft, title: str, body: str) -> tuple[str, str]:
    """Return the title and the body to write over those of an open pull request.

    What a person changed stays: the title, the text, or the boxes that were ticked. Without a note it is not
    known who wrote the text, so it stays too.
    """
    note, text = read_note(body), without_note(body)
    if note and note.title == digest(title):
        title = draft.title
    if note and note.text == digest(_unticked(text)):
        text = _with_ticks(draft.body, text)
    written = with_note(text.rstrip(), _note_of(draft))
    if len(written) > LONGEST_BODY or written.splitlines() == body.splitlines():
        written = body
    return title, written


def _note_of(draft: PullRequestDraft) -> Note:
    text = digest(_unticked(without_note(draft.body)))
    return Note(draft.pushed, digest(draft.plan), digest(draft.title), text)


def _unticked(text: str) -> str:
    return "\n".join(_BOX.sub(r"\1[ ]\3", line) for line in text.splitlines())


def _with_ticks(text: str, ticked: str) -> str:
    """Return a text whose boxes are ticked as those of the same items in another text."""
    boxes = [found for line in ticked.splitlines() if (found := _BOX.match(line))]
    ticks: dict[str, list[str]] = {}
    for box in boxes:
        ticks.setdefault(box[3], []).append(box[2])

    def tick(line: str) -> str:
        box = _BOX.match(line)
        known = ticks.get(box[3]) if box else None
        return f"{box[1]}[{known.pop(0)}]{box[3]}" if box and known else line

    return "\n".join(map(tick, text.splitlines()))


def _escape(record: str) -> str:
    """Return JSON that does not end a comment (CommonMark 4.6): the name of a branch may contain `-->`."""
    return record.replace(">", "\\u003e").replace("--", "-\\u002d")


def _texts(value: object) -> Mapping[str, str]:
    entries = value.items() if isinstance(value, dict) else ()
    return {name: text for name, text in entries if isinstance(name, str) and isinstance(text, str)}
