"""Durations: what people write, and what is none."""

import contextlib
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("45", 45.0),
        ("90s", 90.0),
        ("10m", 600.0),
        ("10 min", 600.0),
        ("10M", 600.0),
        ("1h", 3600.0),
        ("1.5h", 5400.0),
        (".5h", 1800.0),
        ("1h 30m", 5400.0),
        ("1h30m", 5400.0),
        ("1 hour and 30 minutes", 5400.0),
        ("2 hours, 5 secs", 7205.0),
        ("500ms", 0.5),
        ("1d", 86400.0),
        ("  3 s  ", 3.0),
    ],
)
def test_valid_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not a duration; write for example 90s, 10m or 1h 30m"),
        ("soon", "'soon' is not a duration; write for example 90s, 10m or 1h 30m"),
        ("10 fortnights", "'10 fortnights' is not a duration; write for example 90s, 10m or 1h 30m"),
        ("1h 30", "'1h 30' is not a duration; write for example 90s, 10m or 1h 30m"),
        ("-5m", "'-5m' is not a duration; write for example 90s, 10m or 1h 30m"),
        ("\u0661m", "'\u0661m' is not a duration; write for example 90s, 10m or 1h 30m"),
        ("nan", "'nan' is not a duration; write for example 90s, 10m or 1h 30m"),
        ("0s", "'0s': a duration must be greater than zero"),
        ("9" * 400 + "h", f"'{'9' * 39}…' is too long for a duration"),
    ],
)
def test_invalid_duration_is_explained(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="duration") as raised:
        parse_duration(text)
    assert str(raised.value) == message


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 0 < parse_duration(text) < math.inf
