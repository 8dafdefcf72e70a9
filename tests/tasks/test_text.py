"""Wording and escaping of short texts."""

import pytest

from tasks.text import without_credentials


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
