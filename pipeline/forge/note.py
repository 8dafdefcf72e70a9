"""The note at the end of a pull request's body: a comment that GitHub does not show.

It says which title, text and base patchyard wrote, which labels and reviewers it added, and which commits it
pushed, so that a clone without records of its own knows what a person changed since. The trailers of a commit
do not say that: a person who amends it has the same ones.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, field, replace
from hashlib import sha256
from typing import Any

from pipeline.forge.base import PullRequestDraft
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex

_NOTE = regex(r"\s*<!-- patchyard (?P<record>\{[^\n]*\}) -->[ \t]*")

_BOX = regex(r"^(\s*(?:[-*+]|\d+[.)])\s+)\[([ xX])\](\s.*)$")
"""An item of a task list: https://github.github.com/gfm/#task-list-items-extension-"""
LONGEST_BODY = 65_536
"""Characters that GitHub accepts."""


@dataclass(frozen=True, slots=True)
class Note:
    """What patchyard noted in a pull request: the commit ids that it pushed, by branch, and for which plan.

    `plan` is a digest of the plan's title. `title` and `text` are digests of the title and of the text that
    patchyard wrote last, and `base` is the branch that it chose last, so that what a person changed since is
    known. `labels` and `reviewers` were added once, and `auto_merge` is whether that was turned on: what is not
    there any more was removed by a person.
    """

    pushed: Mapping[str, str] = field(default_factory=dict)
    plan: str = ""
    title: str = ""
    text: str = ""
    base: str = ""
    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    auto_merge: bool = False

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
    plan, title, text, base = (str(record.get(name, "")) for name in ("plan", "title", "text", "base"))
    labels, reviewers = _names(record.get("labels")), _names(record.get("reviewers"))
    is_on = record.get("auto_merge") is True
    return Note(_texts(record.get("pushed")), plan, title, text, base, labels, reviewers, is_on)


def digest(text: str) -> str:
    """Return a digest of a text, to compare it with; the line ends, which GitHub changes, do not count."""
    plain = "\n".join(text.splitlines()).strip().encode(errors="surrogateescape")
    return sha256(plain).hexdigest()[:16]


def without_note(body: str) -> str:
    """Return a body without its notes."""
    return _NOTE.sub("", body)


def with_note(body: str, note: Note) -> str:
    """Return a body that ends with a note, and has no other one."""
    values = asdict(note) | {"pushed": dict(note.pushed)}
    record = json.dumps({name: value for name, value in values.items() if value})
    return f"{without_note(body)}\n\n<!-- patchyard {_escape(record)} -->\n"


def body_of(draft: PullRequestDraft) -> str:
    """Return the body of a new pull request."""
    return with_note(draft.body, _note_of(draft))


def revised(draft: PullRequestDraft, title: str, body: str, base: str) -> tuple[str, str, str]:
    """Return the title, the body and the base to write over those of an open pull request.

    What a person changed stays: the title, the text, the boxes that were ticked, or the base. Without a note it
    is not known who wrote the text, so it stays too, as do the labels and reviewers.
    """
    note, text = read_note(body), without_note(body)
    if note and note.title == digest(title):
        title = draft.title
    if note and note.text == digest(_unticked(text)):
        text = _with_ticks(draft.body, text)
    if not note or note.base in {base, ""}:
        base = draft.base
    settled = note or Note(labels=draft.labels, reviewers=draft.reviewers)
    written = with_note(
        text.rstrip(),
        replace(
            _note_of(draft),
            labels=settled.labels,
            reviewers=settled.reviewers,
            auto_merge=settled.auto_merge,
        ),
    )
    return title, _unless_same_or_long(written, body), base


def with_additions(
    body: str, *, labels: Iterable[str] = (), reviewers: Iterable[str] = (), auto_merge: bool = False
) -> str:
    """Return a body whose note has these labels, reviewers and auto-merge too; without a note, the same one."""
    note = read_note(body)
    if note is None:
        return body
    more = replace(
        note,
        labels=(*note.labels, *labels),
        reviewers=(*note.reviewers, *reviewers),
        auto_merge=note.auto_merge or auto_merge,
    )
    return body if more == note else _unless_same_or_long(with_note(without_note(body).rstrip(), more), body)


def _unless_same_or_long(written: str, body: str) -> str:
    """Return a new body, or the old one if only its line ends differ, or there is no room for the new one."""
    return body if len(written) > LONGEST_BODY or written.splitlines() == body.splitlines() else written


def _note_of(draft: PullRequestDraft) -> Note:
    text = digest(_unticked(without_note(draft.body)))
    return Note(draft.pushed, digest(draft.plan), digest(draft.title), text, draft.base)


def _unticked(text: str) -> str:
    return "\n".join(_BOX.sub(r"\1[ ]\3", line) for line in text.splitlines())


def _with_ticks(text: str, ticked: str) -> str:
    """Return a text whose boxes are ticked as those of the same items, under the same headings, in another.

    What was under a heading that is not there any more is known by the item alone.
    """
    kept = {heading for heading, _ in _with_headings(text)}
    ticks: dict[tuple[str | None, str], list[str]] = {}
    for heading, line in _with_headings(ticked):
        if box := _BOX.match(line):
            ticks.setdefault((heading if heading in kept else None, box[3]), []).append(box[2])

    def tick(heading: str, line: str) -> str:
        box = _BOX.match(line)
        known = (ticks.get((heading, box[3])) or ticks.get((None, box[3]))) if box else None
        return f"{box[1]}[{known.pop(0)}]{box[3]}" if box and known else line

    return "\n".join(tick(heading, line) for heading, line in _with_headings(text))


def _with_headings(text: str) -> Iterator[tuple[str, str]]:
    """Yield the lines of a text, each with the heading above it, of the level of a shared one's tasks."""
    heading = ""
    for line in text.splitlines():
        heading = line.rstrip() if line.startswith("## ") else heading
        yield heading, line


def _escape(record: str) -> str:
    """Return JSON that does not end a comment (CommonMark 4.6): the name of a branch may contain `-->`."""
    return record.replace(">", "\\u003e").replace("--", "-\\u002d")


def _names(value: object) -> tuple[str, ...]:
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, list) else ()


def _texts(value: object) -> Mapping[str, str]:
    entries = value.items() if isinstance(value, dict) else ()
    return {name: text for name, text in entries if isinstance(name, str) and isinstance(text, str)}
