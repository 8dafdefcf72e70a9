"""Regular expressions that are compiled at their first use."""

import re

import pytest

from tasks.lazy.patterns import regex


def test_methods_and_attributes_are_those_of_a_compiled_expression() -> None:
    word = regex(r"(?P<first>\w)\w*", re.IGNORECASE)
    assert [found["first"] for found in word.finditer("ab cd")] == ["a", "c"]
    assert word.sub("x", "ab cd") == "x x"
    assert (word.pattern, word.groups) == (r"(?P<first>\w)\w*", 1)
    assert word.match("ab")
    assert not word.match(" ")


def test_bytes() -> None:
    assert regex(rb"a+").findall(b"aa b a") == [b"aa", b"a"]


def test_mistake_is_an_error_at_the_first_use() -> None:
    wrong = regex("(")
    with pytest.raises(re.error):
        wrong.match("a")
