"""Times in what agents say of limits."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from containers.agents.reports.times import believed, find_time, from_epoch

NOW = datetime(2026, 11, 28, 20, 0, tzinfo=UTC)
BERLIN = timezone(timedelta(hours=1))


def after(**parts: float) -> datetime:
    return NOW + timedelta(**parts)


@pytest.mark.parametrize(
    ("text", "until"),
    [
        ("Claude AI usage limit reached|1795899600", after(hours=1)),
        ("Claude AI usage limit reached|1795899600000", after(hours=1)),
        ("You've hit your session limit · resets 3pm (Europe/Berlin)", after(hours=18)),
        ("You've hit your session limit · resets 9:05pm (UTC)", after(hours=1, minutes=5)),
        ("You've hit your weekly limit · resets Dec 3, 3:30pm (UTC)", after(days=4, hours=19, minutes=30)),
        ("5-hour limit reached ∙ resets 2am", after(hours=6)),
        ("try again in 3 days 2 hours 5 minutes.", after(days=3, hours=2, minutes=5)),
        ("purchase more credits or try again at Dec 1st, 2026 10:36 PM.", after(days=3, hours=2, minutes=36)),
        ("You've hit your usage limit. Try again at 9:05 PM.", after(hours=1, minutes=5)),
        ("Please retry in 20.5s", after(seconds=20.5)),
        ("Please try again in 1m2.5s. Visit https://example.com 1:30", after(seconds=62.5)),
        ("Please try again in 350ms", after(milliseconds=350)),
        ("Your quota will reset after 1h2m3s.", after(hours=1, minutes=2, seconds=3)),
        ('{"retry-after": "20", "x": "1"}', after(seconds=20)),
        ('"retryDelay":"20s"', after(seconds=20)),
        ("resets at 2026-11-29T00:00:00Z", after(hours=4)),
        ("resets at 2026-11-29 01:00:00+01:00", after(hours=4)),
        ("resets at 2026-11-29 01:00:00", after(hours=5)),
    ],
)
def test_time_that_an_agent_states(text: str, until: datetime) -> None:
    assert find_time(text, NOW, UTC) == until


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the rate limit is 30,000 tokens per minute; try again later",
        "resets 25:99pm",
        "resets at 2026-13-45T00:00:00Z",
        "at 3pm the model was overloaded",
        "Claude AI usage limit reached|1795800000",  # past
        "resets at 2026-12-24T00:00:00Z",  # more than 8 days
        "try again in 9 days",
        "resets Jan 2, 3pm",
        "try again in 999999999 weeks",
    ],
)
def test_text_without_a_time_that_can_be(text: str) -> None:
    assert find_time(text, NOW, UTC) is None


def test_clock_without_a_zone_is_that_of_the_machine() -> None:
    assert find_time("resets 10pm", NOW, BERLIN) == after(hours=1)
    assert find_time("resets 10pm (Nowhere/Land)", NOW, BERLIN) == after(hours=1)
    assert find_time("resets 10pm (UTC)", NOW, BERLIN) == after(hours=2)
    here = find_time("resets 10pm", NOW)
    assert here is not None
    assert here.astimezone().hour == 22


def test_a_date_without_a_year_is_the_next_one() -> None:
    december = datetime(2026, 12, 30, 12, 0, tzinfo=UTC)
    assert find_time("resets Jan 2, 3pm", december, UTC) == datetime(2027, 1, 2, 15, 0, tzinfo=UTC)
    assert find_time("resets Feb 29, 3pm", december, UTC) is None


@pytest.mark.parametrize("value", [None, True, "1795899600", 12, -1, 1e300, float("nan"), float("inf")])
def test_numbers_that_cannot_be_times(value: object) -> None:
    assert from_epoch(value) is None


def test_only_a_time_ahead_is_believed() -> None:
    assert believed(None, NOW) is None
    assert believed(NOW, NOW) is None
    assert believed(after(days=8), NOW) == after(days=8)
    assert believed(after(days=8, seconds=1), NOW) is None


@pytest.mark.timeout(20)
def test_long_texts_are_searched_in_little_time() -> None:
    for part in ("1", "in 1 h ", "resets ", "Jan 1, ", "again in 1m", " ", "limit reached|1"):
        assert find_time("resets " + part * 100_000, NOW, UTC) is None or part in {"in 1 h ", "again in 1m"}
