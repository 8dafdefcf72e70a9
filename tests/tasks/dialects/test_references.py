"""Sentences that name units."""

import pytest

from tasks.dialects.prose.references import Named, Names, named

NAMES = Names(
    {name: name for name in ("1", "2", "3", "4", "5b", "A1", "T7", "1.2", "8.1-8.3", "F1", "F2")},
    {"1": ("1", "2"), "b": ("A1",)},
    ("1", "2"),
)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Task 1", ("1",)),
        ("Task 3 (needs 2), Task 4 (why). Task 1 came before.", ("3", "4")),
        ("Tasks 1, 2, 3", ("1", "2", "3")),
        ("1, 2 and 3", ("1", "2", "3")),
        ("Tasks 1–3", ("1", "2", "3")),  # noqa: RUF001 - the dash of a range
        ("Tasks 01-03", ("1", "2", "3")),
        ("Task 2 to Task 4", ("2", "3", "4")),
        ("Task 1.2", ("1.2",)),
        ("Task 8.2", ("8.1-8.3",)),
        ("T1, T2", ("1", "2")),
        ("Task 7", ("T7",)),
        ("A1 + 5b", ("A1", "5b")),
        ("F1-F2", ("F1", "F2")),
        ("[2, 3]", ("2", "3")),
        ("任务 1、任务 2", ("1", "2")),
        ("Phase 1", ("1", "2")),
        ("Phase B", ("A1",)),
        ("all previous tasks", ("1", "2")),
        ("the previous task", ("2",)),
        ("Task 2, blocks Task 4", ("2",)),
        ("Task 1 | **Files:** `a.py`", ("1",)),
        ("Task 1 - because Task 2 is long", ("1",)),
        ("Redis 4, Python 3", ()),
        ("the library", ()),
    ],
)
def test_ids(text: str, ids: tuple[str, ...]) -> None:
    found = named(text, NAMES)
    assert found.ids == ids
    assert found.unknown == ()
    assert not found.is_none


@pytest.mark.parametrize(
    "text", ["None", "none.", "-", "—", "[]", "N/A", "None (can start at once)", "No dependencies", "无"]
)
def test_none(text: str) -> None:
    assert named(text, NAMES) == Named(is_none=True)


def test_unknown() -> None:
    assert named("Tasks 1 and 99", NAMES) == Named(("1",), ("99",))


def test_nothing() -> None:
    assert not named("", NAMES).says
    assert not named("  ", NAMES).says
