"""Parse durations such as `1h 30m`."""

import math

from tasks.lazy.patterns import regex

_PART = regex(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-z]*)\s*(?:,|and\b)?\s*")
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


def parse_duration(text: str, *, allow_zero: bool = False) -> float:
    """Return the seconds of a duration such as `10m`, `90s`, `1h 30m`, `1.5h`, `500ms` or `45`.

    A number without a unit is in seconds.

    Raises:
        ValueError: The text is not a duration, is zero without `allow_zero`, or is infinite; the message is a
            sentence for the user.
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
        raise ValueError(_not_a_duration(written))
    if any(unit and unit not in _SECONDS for unit in units):
        raise ValueError(_not_a_duration(written))
    seconds = sum(float(number) * _SECONDS.get(unit, 1.0) for number, unit in parts)
    if seconds <= 0 and not allow_zero:
        raise ValueError(f"{_clip(written)}: a duration must be greater than zero")
    if not math.isfinite(seconds):
        raise ValueError(f"{_clip(written)} is too long for a duration")
    return seconds


def format_duration(seconds: float) -> str:
    """Return a duration in its two largest units, such as `1h 30m` or `5s`."""
    units = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
    left, words = round(seconds), list[str]()
    for unit, size in units:
        count, left = divmod(left, size)
        if count:
            words.append(f"{count}{unit}")
    return " ".join(words[:2]) or "0s"


def _not_a_duration(text: str) -> str:
    return f"{_clip(text)} is not a duration; write for example 90s, 10m or 1h 30m"


def _clip(text: str) -> str:
    clipped = text if len(text) <= 40 else text[:39] + "…"  # noqa: PLR2004 - keeps the message readable
    return repr(clipped)
