"""What hosts a list of the user's permits."""

import pytest

from containers.sandbox.network import EVERYTHING, Network


@pytest.mark.parametrize(
    ("texts", "name", "port", "expected"),
    [
        (["pypi.org"], "pypi.org", 443, True),
        (["pypi.org"], "PyPI.org.", 80, True),
        (["pypi.org"], "pypi.org", 22, False),
        (["pypi.org"], "evil-pypi.org", 443, False),
        (["pypi.org"], "pypi.org.evil.test", 443, False),
        (["pypi.org"], "files.pypi.org", 443, False),
        (["*.npmjs.org"], "registry.npmjs.org", 443, True),
        (["*.npmjs.org"], "npmjs.org", 443, False),
        (["*.npmjs.org"], "evilnpmjs.org", 443, False),
        (["localhost:8080"], "localhost", 8080, True),
        (["localhost:8080"], "localhost", 443, False),
        (["[::1]:8080"], "[::1]", 8080, True),
        (["off"], "pypi.org", 443, False),
        (["on"], "anything", 1, True),
    ],
)
def test_connections(texts: list[str], name: str, port: int, *, expected: bool) -> None:
    assert Network.parse(texts).permits(name, port) is expected


@pytest.mark.parametrize("texts", [["on"], ["off"], ["a.b", "*.c.d:1"], ["[::1]:80"]])
def test_text_is_read_again(texts: list[str]) -> None:
    network = Network.parse(texts)
    assert Network.parse(str(network).split(",")) == network


@pytest.mark.parametrize(
    "texts", [[], [""], ["http://a.b"], ["a.b:0"], ["a.b:99999"], ["a b"], ["a.b", "on"[:0]]]
)
def test_what_is_not_a_host_is_refused(texts: list[str]) -> None:
    with pytest.raises(ValueError, match=r"expected|is not a host"):
        Network.parse(texts)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (["on"], ["off"], True),
        (["on"], ["a.b"], True),
        (["a.b"], ["on"], False),
        (["a.b"], ["off"], True),
        (["a.b"], ["a.b", "c.d"], False),
        (["a.b", "c.d"], ["a.b"], True),
        (["off"], ["off"], False),
    ],
)
def test_which_gives_more(one: list[str], other: list[str], *, expected: bool) -> None:
    assert Network.parse(one).gives_more_than(Network.parse(other)) is expected


def test_everything_is_the_default() -> None:
    assert Network() == EVERYTHING
