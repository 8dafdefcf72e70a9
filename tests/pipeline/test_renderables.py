"""Tests of pipeline.renderables."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.renderables import PLAIN_WIDTH, Parts, Renderable, Table, Words, show

CELL = st.text(st.sampled_from("ab \u2212é…世界\t[bold]x\u0301\n"), max_size=30)
WORDS = st.lists(st.text(st.sampled_from("abc e\u2212…世\t[/]"), max_size=70), max_size=4)


def by_rich(what: Renderable) -> str:
    stream = io.StringIO()
    Console(file=stream, width=PLAIN_WIDTH, highlight=False).print(what)
    return stream.getvalue()


def shown(what: Renderable) -> str:
    stream = io.StringIO()
    show(what, stream)
    return stream.getvalue()


@given(st.integers(1, 6).flatmap(lambda count: st.lists(st.lists(CELL, min_size=count, max_size=count))), WORDS)
def test_plain_text_is_what_rich_writes(rows: list[list[str]], words: list[str]) -> None:
    names = ("run", "status", "started", "time", "plan", "more")[: len(rows[0]) if rows else 2]
    what = Parts(Words(""), Table(names, rows, style=lambda _: "green"), Words("\n".join(words), "bold"))
    assert shown(what) == by_rich(what)


@pytest.mark.parametrize("length", [PLAIN_WIDTH - 1, PLAIN_WIDTH, PLAIN_WIDTH + 1, 3 * PLAIN_WIDTH])
def test_wide_text_and_tables_are_wrapped(length: int) -> None:
    for what in (Words("a " * (length // 2)), Table(("a", "b"), [("x" * (length - 6), "yy")])):
        assert shown(what) == by_rich(what)


def test_nothing_is_left_to_rich_in_an_ordinary_table() -> None:
    what = Parts(Table(("run", "plan"), [("1", "Größe \u2212 1"), ("2", "+2 \u22121")]), Words("done"))
    assert None not in list(what.plain())


def test_colours_that_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in shown(Words("done", "bold"))
