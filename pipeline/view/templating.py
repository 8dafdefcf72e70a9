"""Jinja2 environment and filters shared by the live page and the HTML report."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from pipeline.events import timestamp
from pipeline.verdict.words import label, lines_words
from pipeline.view.timeline import Bar
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.sizes import format_size
from tasks.text import VISIBLE_MARKS, dollars, plural

if TYPE_CHECKING:
    from jinja2 import Environment

VIEW = Path(__file__).parent
STATIC = VIEW / "static"
MINUTE, HOUR, DAY = 60, 3600, 86400
AGES = ((365 * DAY, "year"), (30 * DAY, "month"), (DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"))
_CONTROL = regex(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_MARKS = {code: escape(shown) for code, shown in VISIBLE_MARKS.items()}
_NOT_IN_IDS = regex(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class ReportLinks:
    """Links within a report: a task is an anchor of the same page."""

    live: bool = False

    def task(self, task: str, attempt: int | None = None) -> str:  # noqa: ARG002 - same signature as `PageLinks`
        """Return the anchor of a task."""
        return f"#task-{quote(task)}"


@dataclass(frozen=True, slots=True)
class PageLinks:
    """Links of a run's live page: each task has its own address."""

    run: str
    live: bool = True

    def task(self, task: str, attempt: int | None = None) -> str:
        """Return the path of a task, or of one of its attempts."""
        which = "" if attempt is None else f"?attempt={attempt}"
        return f"/runs/{quote(self.run, safe='')}/tasks/{quote(task, safe='')}{which}"

    def of_run(self, part: str = "") -> str:
        """Return the path of the run, with `part` appended."""
        return f"/runs/{quote(self.run, safe='')}{part}"


@cache
def templates() -> "Environment":
    """Return the template environment, with autoescaping and all filters."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - keeps start-up fast

    made = Environment(
        loader=FileSystemLoader(VIEW / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        {
            "ago": ago,
            "dollars": dollars,
            "duration": duration,
            "first_line": first_line,
            "iso": timestamp,
            "number": number,
            "rest_lines": rest_lines,
            "size": format_size,
            "slug": slug,
            "tick": tick,
            "bar_label": bar_label,
            "utc": utc,
            "web": web,
            "lines": lines_words,
            "words": words,
        }
    )
    return made


def render(template: str, values: Mapping[str, object]) -> str:
    """Render a template as HTML that is valid Unicode and has no control characters."""
    return clean(templates().get_template(template).render(values))


def clean(html: str) -> str:
    """Replace control characters and surrogates, which HTML does not allow; show bidirectional marks."""
    return _CONTROL.sub("\ufffd", html if html.isascii() else html.translate(_MARKS))


def static(name: str) -> str:
    """Return the text of a static file."""
    return (STATIC / name).read_text("utf-8")


def hash_of(text: str) -> str:
    """Return the hash source of an inline script for a Content-Security-Policy."""
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def data_url(name: str, kind: str) -> str:
    """Return a static file as a `data:` URL of media type `kind`."""
    return f"data:{kind};base64,{b64encode((STATIC / name).read_bytes()).decode()}"


def number(seconds: float) -> str:
    """Format seconds with up to three decimals, without trailing zeros."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


def duration(seconds: float | None) -> str:
    """Format seconds: `1.4 s`, `2 min 05 s`, `3 h 07 min`, `2 d 04 h`."""
    if seconds is None:
        return ""
    if seconds < MINUTE - 0.05:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02} s"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE:02} min"
    return f"{whole // DAY} d {whole % DAY // HOUR:02} h"


def ago(moment: datetime, now: datetime) -> str:
    """Format how long ago a moment was: `just now`, `3 minutes ago`, `2 hours ago`, `5 days ago`."""
    seconds = (now - moment).total_seconds()
    if seconds < MINUTE:
        return "just now"
    size, name = next((size, name) for size, name in AGES if seconds >= size)
    return f"{plural(int(seconds // size), name)} ago"


def tick(seconds: float) -> str:
    """Format seconds as a label of the time axis: `0`, `5 s`, `1:30`, `2:00:00`."""
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s" if whole else "0"
    if whole < HOUR:
        return f"{whole // MINUTE}:{whole % MINUTE:02}"
    return f"{whole // HOUR}:{whole % HOUR // MINUTE:02}:{whole % MINUTE:02}"


def utc(moment: datetime) -> str:
    """Format a moment in UTC; the page's script converts it to the reader's time zone."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def words(state: object) -> str:
    """Format a state as words: `timed out`, `in conflict`."""
    return label(str(state))


def bar_label(bar: Bar) -> str:
    """Return the accessible name of a bar."""
    again = f", attempt {bar.number}" if bar.number > 1 else ""
    took = f" after {duration(bar.seconds)}" if bar.seconds is not None else ""
    state = f"{words(bar.state)}, cached" if bar.cached else words(bar.state)
    after = f", after {', '.join(bar.after)}" if bar.after else ""
    return f"Task {bar.task}: {bar.title}: {state}{took}{again}, in {bar.lane}{after}"


def first_line(text: str | None) -> str:
    """Return the first line of an error."""
    return (text or "").partition("\n")[0]


def rest_lines(text: str | None) -> str:
    """Return an error without its first line."""
    return (text or "").partition("\n")[2].strip("\n")


def slug(text: str) -> str:
    """Return a text with all characters replaced that an element id should not have."""
    return _NOT_IN_IDS.sub("-", text)


def web(url: str) -> str:
    """Return a URL for a link, or `#` unless it is HTTP or HTTPS."""
    try:
        return url if urlsplit(url).scheme in {"http", "https"} else "#"
    except ValueError:
        return "#"
