"""What an agent says at its end."""

import pytest

from tasks.agent_report import MOST_TOKENS, NO_TOKENS, Tokens


def test_sum_of_tokens() -> None:
    assert Tokens(1, 2, 3) + Tokens(10, 20, 30) == Tokens(11, 22, 33)
    assert Tokens(1) + Tokens(None, 0) == Tokens(1, 0)
    assert sum([Tokens(1), Tokens(2)], NO_TOKENS) == Tokens(3)
    assert Tokens(MOST_TOKENS, 1) + Tokens(MOST_TOKENS, 1) == Tokens(MOST_TOKENS, 2)


def test_known_tokens() -> None:
    assert not NO_TOKENS
    assert Tokens(cached=0)
    assert Tokens(5, None, 0).known == {"input": 5, "cached": 0}


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (NO_TOKENS, ""),
        (Tokens(999, 0), "999 in, 0 out"),
        (Tokens(1000, 9999), "1.0k in, 10.0k out"),
        (Tokens(12_345, 1_234_567, 7), "12k in, 1.2M out"),
        (Tokens(None, 999_999), "999k out"),
        (Tokens(cached=5), ""),
    ],
)
def test_tokens_in_a_table(tokens: Tokens, text: str) -> None:
    assert str(tokens) == text
