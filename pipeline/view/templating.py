"""The templates of the page and of the report in one file, and how they say times and states.

Jinja2 is imported when something is rendered, not before.
"""

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from pipeline.events import timestamp
from pipeline.view.timeline import Bar

if TYPE_CHECKING:
    from jinja2 import Environment

WEB = Path(__file__).parent
STATIC = WEB / "static"
MINUTE, HOUR, DAY = 60, 3600, 86400
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class ReportLinks:
    """In a report, a task is further down the same page."""

    live: bool = False

    def task(self, task: str, attempt: int | None = None) -> str:  # noqa: ARG002 - as on the page
        """Return where a task is shown."""
        return f"#task-{quote(task)}"


@dataclass(frozen=True, slots=True)
class PageLinks:
    """On the page of a run, a task has an address of its own."""

    run: str
    live: bool = True

    def task(self, task: str, attempt: int | None = None) -> str:
        """Return where a task, or one attempt at it, is shown."""
        which = "" if attempt is None else f"?attempt={attempt}"
        return f"/runs/{quote(self.run, safe='')}/tasks/{quote(task, safe='')}{which}"

    def of_run(self, part: str = "") -> str:
        """Return where the run is shown, or a part of it."""
        return f"/runs/{quote(self.run, safe='')}{part}"


@cache
def templates() -> "Environment":
    """Return the templates; everything that they show is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - start-up stays quick

    made = Environment(
        loader=FileSystemLoader(WEB / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        {
            "duration": duration,
            "first_line": first_line,
            "iso": timestamp,
            "number": number,
            "rest_lines": rest_lines,
            "slug": slug,
            "tick": tick,
            "bar_label": bar_label,
            "utc": utc,
            "web": web,
            "words": words,
        }
    )
    return made


def render(template: str, values: Mapping[str, object]) -> str:
    """Return a template with its values, as text that every browser takes and that UTF-8 can hold."""
    return clean(templates().get_template(template).render(values))


def clean(html: str) -> str:
    """Return text without what HTML cannot hold: control characters, and bytes that are not UTF-8."""
    return _CONTROL.sub("\ufffd", html)


def static(name: str) -> str:
    """Return the text of a file that the page is made with."""
    return (STATIC / name).read_text("utf-8")


def hash_of(text: str) -> str:
    """Return a text's hash as a Content-Security-Policy names it."""
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def data_url(name: str, kind: str) -> str:
    """Return a file of the page as a URL that holds it."""
    return f"data:{kind};base64,{b64encode((STATIC / name).read_bytes()).decode()}"


def number(seconds: float) -> str:
    """Return seconds with milliseconds, as short as may be."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


def duration(seconds: float | None) -> str:
    """Return seconds for people: `1.4 s`, `2 min 05 s`, `3 h 07 min`, `2 d 04 h`."""
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


def tick(seconds: float) -> str:
    """Return a number of the axis: `0`, `5 s`, `1:30`, `2:00:00`."""
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s" if whole else "0"
    if whole < HOUR:
        return f"{whole // MINUTE}:{whole % MINUTE:02}"
    return f"{whole // HOUR}:{whole % HOUR // MINUTE:02}:{whole % MINUTE:02}"


def utc(moment: datetime) -> str:
    """Return a moment for people; the page's script shows it in the reader's own time."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def words(state: object) -> str:
    """Return a state as people write it."""
    return str(state).replace("_", " ")


def bar_label(bar: Bar) -> str:
    """Return a bar as a sentence, for whoever does not see it."""
    again = f", attempt {bar.number}" if bar.number > 1 else ""
    took = f" after {duration(bar.seconds)}" if bar.seconds is not None else ""
    state = f"{words(bar.state)}, cached" if bar.cached else words(bar.state)
    return f"Task {bar.task}: {bar.title}: {state}{took}{again}, in {bar.lane}"


def first_line(text: str | None) -> str:
    """Return the sentence that an error begins with."""
    return (text or "").partition("\n")[0]


def rest_lines(text: str | None) -> str:
    """Return what follows the sentence that an error begins with."""
    return (text or "").partition("\n")[2].strip("\n")


def slug(text: str) -> str:
    """Return a text as a part of an element's id."""
    return _NOT_IN_IDS.sub("-", text)


def web(url: str) -> str:
    """Return an address for a link; one that is not of the web leads nowhere."""
    try:
        return url if urlsplit(url).scheme in {"http", "https"} else "#"
    except ValueError:
        return "#"
