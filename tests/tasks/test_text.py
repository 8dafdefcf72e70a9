"""Wording and escaping of short texts."""

import pytest

from tasks.text import printable, with_visible_marks, without_credentials


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:ghp_secret@github.com/octo/demo", "https://github.com/octo/demo"),
        ("https://ghp_secret@github.com/octo/demo", "https://github.com/octo/demo"),
        ("https://me:p@ss@github.com/octo/demo", "https://github.com/octo/demo"),
        ("HTTPS://me:secret@github.com", "HTTPS://github.com"),
        ("git@github.com:octo/demo", "git@github.com:octo/demo"),
        ("https://github.com/octo/demo?to=me@example.com", "https://github.com/octo/demo?to=me@example.com"),
        ("https://example.com, or write to me@example.com", "https://example.com, or write to me@example.com"),
        ("from 'https://a:b@c.d/e' to 'ssh://f@g.h/i'", "from 'https://c.d/e' to 'ssh://g.h/i'"),
    ],
)
def test_credentials_are_removed_from_urls(text: str, shown: str) -> None:
    assert without_credentials(text) == shown


def test_control_characters_are_shown_as_what_they_are() -> None:
    assert printable("a\x1b[2J\r\x07\x7f\x9b\tb\nc\udc80") == (
        "a<U+001B>[2J<U+000D><U+0007><U+007F><U+009B>\tb\nc\\udc80"
    )


@pytest.mark.parametrize("mark", "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
def test_bidirectional_marks_are_shown_as_what_they_are(mark: str) -> None:
    assert printable(f"a{mark}b") == with_visible_marks(f"a{mark}b") == f"a<U+{ord(mark):04X}>b"
    assert printable("שלום, мир, 計画 ä") == "שלום, мир, 計画 ä"
