"""Durations as people write them -> seconds."""

import math
import re

_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-z]*)\s*(?:,|and\b)?\s*")
_SECONDS: dict[str, float] = {
    unit: seconds
    for units, seconds in (
        ("ms msec msecs millisecond milliseconds", 0.001),
        ("s sec secs second seconds", 1.0),
        ("m min mins minute minutes", 60.0),
        ("h hr hrs hour hours", 3600.0),
        ("d day days", 86400.0),
    )
    for unit in units.split()
}


def parse_duration(text: str) -> float:
    """Return the seconds that a text such as `10m`, `90s`, `1h 30m`, `1.5h`, `500ms` or `45` stands for.

    A number without a unit is seconds.

    Raises:
        ValueError: The text is no duration, or not more than nothing; the message is a sentence.
    """
    written = text.strip()
    lowered = written.lower()
    parts: list[tuple[str, str]] = []
    position = 0
    while position < len(lowered) and (part := _PART.match(lowered, position)):
        parts.append((part[1], part[2]))
        position = part.end()
    units = [unit for _, unit in parts]
    if not parts or position < len(lowered) or (len(parts) > 1 and "" in units):
        raise ValueError(_sentence(written))
    if any(unit and unit not in _SECONDS for unit in units):
        raise ValueError(_sentence(written))
    seconds = sum(float(number) * _SECONDS.get(unit, 1.0) for number, unit in parts)
    if seconds <= 0:
        raise ValueError(f"{_clip(written)} is no time at all: a duration has to be more than 0")
    if not math.isfinite(seconds):
        raise ValueError(f"{_clip(written)} is too long for a duration")
    return seconds


def _sentence(text: str) -> str:
    return f"{_clip(text)} is not a duration; write for example 90s, 10m or 1h 30m"


def _clip(text: str) -> str:
    shown = text if len(text) <= 40 else text[:39] + "…"  # noqa: PLR2004 - what fits into a sentence
    return repr(shown)
