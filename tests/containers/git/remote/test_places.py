"""Test whether two URLs of a remote lead to the same repository."""

import pytest
from repositories import Clone

from containers.git.remote.places import is_same_place, urls_of
from containers.git.repository import Repository


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://github.com/octo/demo", "https://github.com/octo/demo.git"),
        ("https://github.com/octo/demo", "https://user@GitHub.com:443/octo/demo/"),
        ("https://github.com/octo/demo", "git@github.com:octo/demo.git"),
        ("ssh://git@github.com/octo/demo", "github.com:/octo/demo"),
        ("../demo.git", "../demo.git"),
        ("file:///srv/demo.git", "file:///srv/demo.git"),
    ],
)
def test_same_place(one: str, other: str) -> None:
    assert is_same_place(one, other)
    assert is_same_place(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://github.com/octo/demo", "https://github.com/evil/demo"),
        ("https://github.com/octo/demo", "https://github.com.example.org/octo/demo"),
        ("https://github.com/octo/demo", "https://github.com@example.org/octo/demo"),
        ("https://github.com/octo/demo", "https://github.com:8443/octo/demo"),
        ("https://github.com/octo/demo", "http://github.com/octo/demo"),
        ("https://github.com/octo/demo", "https://github.com/octo/demo?to=evil"),
        ("git@github.com:octo/demo", "git@github.com-evil:octo/demo"),
        ("git@github.com:octo/demo", "git@github.com:2222/octo/demo"),
        ("git@github.com:octo/demo", "ext::sh -c git@github.com:octo/demo"),
        ("https://[::1]/octo/demo", "https://[::1/octo/demo"),
        ("/srv/demo.git", "/srv/other.git"),
        ("/srv/demo.git", "/srv/demo"),
        ("https://github.com/octo/demo", ""),
    ],
)
def test_other_place(one: str, other: str) -> None:
    assert not is_same_place(one, other)
    assert not is_same_place(other, one)


def test_urls_are_those_that_git_uses_without_credentials(clone: Clone) -> None:
    remote = Repository.open(clone.path, clone.user.environ).remote("origin")
    assert urls_of(remote.url) == ()
    clone.git("remote", "add", "origin", "hub:octo/demo")
    clone.git("config", "remote.origin.pushurl", "https://user:word@example.org/octo/demo")
    clone.git("config", "url.https://token@example.com/.insteadOf", "hub:")
    assert urls_of(remote.url) == ("https://example.com/octo/demo", "https://example.org/octo/demo")
