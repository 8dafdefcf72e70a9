"""Times in what agents say of limits: "resets 3pm (Europe/Berlin)", "try again in 2 hours 5 minutes"."""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from tasks.lazy.patterns import regex

FARTHEST = timedelta(days=8)
"""A limit that ends later is not believed; those of a week are the longest known."""
_LEAST = 1e9
"""Seconds since 1970, in 2001; the same number of milliseconds is in 1970."""
_KEYWORD = regex(r"reset|again|retry|until|available|expires|limit reached", re.IGNORECASE)
"""Words that a time of a limit follows."""
_UNITS = {"ms": 0.001, "mil": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_UNIT = r"(?:milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|w)(?![a-z])"
_NUMBER = r"\d{1,9}(?:\.\d{1,9})?"
_PART = regex(rf"({_NUMBER})\s{{0,3}}(ms|mil|[smhdw])", re.IGNORECASE)
_DURATION = regex(
    rf"(?:\b(?:in|after)[\s:]{{1,3}}|delay\W{{1,5}})((?:{_NUMBER}\s{{0,3}}{_UNIT}[\s,]{{0,3}}(?:and\s)?){{1,6}})",
    re.IGNORECASE,
)
_AFTER = regex(r"""retry-?_?after["']?\s{0,3}[:=]\s{0,3}["']?(\d{1,9}(?:\.\d{1,9})?)""", re.IGNORECASE)
"""The header of RFC 9110, section 10.2.3, in seconds."""
_EPOCH = regex(r"\|\s{0,3}(1\d{9})(?:\d{3})?\b")
"""Claude Code before version 2: `Claude AI usage limit reached|1712345678`."""
_ISO = regex(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:\.\d{1,9})?\s?(Z|UTC|[+-]\d\d:?\d\d)?", re.IGNORECASE
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_CLOCK = regex(
    rf"(?:\b({'|'.join(_MONTHS)})[a-z]{{0,6}}\.?\s(\d{{1,2}})(?:st|nd|rd|th)?(?:,\s(\d{{4}}))?,?\s(?:at\s)?)?"
    r"\b(\d{1,2})(?::(\d\d))?\s?([ap])?(?:\.?m\b)?\.?(?:\s?\(([A-Za-z0-9_+/-]{1,40})\)|\s(UTC|GMT)\b)?",
    re.IGNORECASE,
)


def find_time(text: str, now: datetime, zone: tzinfo | None = None) -> datetime | None:
    """Return when a limit ends, in UTC; `None` if the text does not say, or says what cannot be.

    Args:
        text: What the agent says.
        now: When it says that, with a zone.
        zone: Zone of the machine that it runs on, for times without one; `None` for this machine's.
    """
    found = _epoch(text)
    keyword = _KEYWORD.search(text)
    if found is None and keyword:
        rest = text[keyword.start() :]
        stamp = _ISO.search(rest)
        found = _duration(rest, now) or (_iso(stamp, zone) if stamp else _clock(rest, now, zone))
    return believed(found, now)


def believed(moment: datetime | None, now: datetime) -> datetime | None:
    """Return a time in UTC if it lies ahead, and no more than `FARTHEST`; else `None`."""
    return moment.astimezone(UTC) if moment and now < moment <= now + FARTHEST else None


def from_epoch(value: object) -> datetime | None:
    """Return the time of a number of seconds, or milliseconds, since 1970; `None` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    seconds = value / 1000 if value >= 100 * _LEAST else value
    return datetime.fromtimestamp(seconds, UTC) if _LEAST <= seconds < 100 * _LEAST else None


def _epoch(text: str) -> datetime | None:
    found = _EPOCH.search(text)
    return from_epoch(int(found[1])) if found else None


def _duration(text: str, now: datetime) -> datetime | None:
    if header := _AFTER.search(text):
        return _in(float(header[1]), now)
    found = _DURATION.search(text)
    if found is None:
        return None
    parts = _PART.findall(found[1])
    return _in(sum(float(size) * _UNITS[unit.lower()] for size, unit in parts), now)


def _in(seconds: float, now: datetime) -> datetime:
    """Return a later time; a very late one is shortened to one that is not believed either."""
    return now + min(timedelta(seconds=min(seconds, 1e9)), 2 * FARTHEST)


def _iso(found: re.Match[str], zone: tzinfo | None) -> datetime | None:
    offset = {None: "", "z": "+00:00", "utc": "+00:00"}.get(found[3] and found[3].lower(), found[3])
    try:
        moment = datetime.fromisoformat(f"{found[1]}T{found[2]}{offset}")
    except ValueError:
        return None
    return moment if moment.tzinfo else _at(moment, zone)


def _clock(text: str, now: datetime, zone: tzinfo | None) -> datetime | None:
    """Return the time of a clock: with a date if there is one, else the next time that it shows this."""
    for found in _CLOCK.finditer(text):
        month, day, year, hour, minute, half, name, universal = found.groups()
        if minute is None and half is None:  # any number
            continue
        place = _zone(name or universal) or zone
        today = now.astimezone(place).date()
        try:
            shown = time(_hour(int(hour), half), int(minute or 0))
            if month:
                number = _MONTHS.index(month.lower()) + 1
                return _dated(
                    date(int(year or today.year), number, int(day)), shown, today, place, fixed=bool(year)
                )
        except ValueError:
            continue
        moment = _at(datetime.combine(today, shown), place)
        return moment if moment > now else _at(datetime.combine(today + timedelta(days=1), shown), place)
    return None


def _dated(day: date, shown: time, today: date, place: tzinfo | None, *, fixed: bool) -> datetime:
    """Return a time on a day; without a year (not `fixed`), that of January is the next one in December."""
    if not fixed and day < today - timedelta(days=1):
        day = day.replace(year=day.year + 1)
    return _at(datetime.combine(day, shown), place)


def _hour(hour: int, half: str | None) -> int:
    return hour if half is None else hour % 12 + (12 if half.lower() == "p" else 0)


def _zone(name: str | None) -> tzinfo | None:
    if name is None:
        return None
    try:
        from zoneinfo import ZoneInfo  # noqa: PLC0415 - slow

        return UTC if name.upper() in {"UTC", "GMT"} else ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return None


def _at(moment: datetime, zone: tzinfo | None) -> datetime:
    """Return a time without a zone as one of `zone`; of this machine's, if that is `None`."""
    return moment.replace(tzinfo=zone) if zone else moment.astimezone()
