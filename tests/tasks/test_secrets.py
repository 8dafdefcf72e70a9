"""Masking values in output, and finding them in what would be kept."""

import html
import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.secrets import MASK, Masker, Search, Secrets

KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG\n9w0BAQEFAASCBKcwgg==\n-----END PRIVATE KEY-----\n"
ALPHABET = st.text("abc", min_size=4, max_size=7)


def masked(secrets: Secrets, *pieces: bytes) -> bytes:
    masker = Masker(secrets)
    return b"".join(map(masker.feed, pieces)) + masker.flush()


def test_value_is_found_in_a_stream_however_it_is_split() -> None:
    secrets = Secrets({"TOKEN": "hunter2!", "OTHER": "sesame-open"})
    text = b"<hunter2!> and sesame-open"
    for cut in range(len(text)):
        search = Search(secrets)
        found = search.feed_all(text[:cut]) | search.feed_all(text[cut:])
        assert found == {"TOKEN", "OTHER"}
    search = Search(secrets)
    assert [search.feed(bytes([byte])) for byte in b"hunter2!"] == [None] * 7 + ["TOKEN"]
    assert Search(Secrets()).feed(text) is None


def test_no_representation_shows_a_value() -> None:
    secrets = Secrets({"TOKEN": "hunter2!"})
    assert "hunter2!" not in repr(secrets) + str(secrets) + f"{[secrets]}"


def test_value_is_masked_everywhere() -> None:
    secrets = Secrets({"TOKEN": "hunter2!"})
    assert secrets.mask(b"hunter2!") == b"***"
    assert secrets.mask(b"<hunter2!hunter2!> hunter2 \xff") == b"<******> hunter2 \xff"
    assert secrets.mask_text("é hunter2! \udcff") == "é *** \udcff"


def test_without_secrets_nothing_changes() -> None:
    for secrets in (Secrets(), Secrets({"EMPTY": "", "BLANK": "    ", "SHORT": "abc"})):
        assert not secrets
        assert secrets.longest == 0
        assert secrets.mask(b"abc    ") == b"abc    "
        assert secrets.mask_text("abc") == "abc"
        assert secrets.find(b"abc    ") is None


def test_minimum_length_counts_bytes() -> None:
    assert Secrets({"A": "éé"}).mask("aééb".encode()) == b"a***b"


def test_white_space_around_a_value_is_ignored() -> None:
    secrets = Secrets({"FILE": " hunter2!\r\n"})
    assert secrets.mask(b"(hunter2!)") == b"(***)"


def test_values_that_overlap_or_hold_each_other_are_masked_whole() -> None:
    secrets = Secrets({"A": "abcd", "B": "cdef", "C": "abcdefgh"})
    assert secrets.mask(b"_abcdef_") == b"_***_"
    assert secrets.mask(b"_abcdefgh_") == b"_***_"
    assert secrets.mask(b"_abcd_cdef_") == b"_***_***_"
    assert Secrets({"A": "aaaa"}).mask(b"baaaaaaab") == b"b***b"


def test_mask_does_not_create_a_value() -> None:
    secrets = Secrets({"A": "hunter2!", "B": "***x"})
    assert secrets.mask(b"hunter2!x") == b"***x"


def test_find_returns_the_name() -> None:
    secrets = Secrets({"A": "hunter2!", "B": "swordfish"})
    assert secrets.find(b"+swordfish\n") == "B"
    assert secrets.find(b"+swordfisch\n") is None
    assert Secrets({"A": "hunter2!", "B": "hunter2!"}).find(b"hunter2!") == "A"


def test_each_long_line_of_a_value_is_masked() -> None:
    secrets = Secrets({"KEY": KEY})
    assert secrets.mask(KEY.encode()) == b"***\n"
    assert secrets.mask(b"> 9w0BAQEFAASCBKcwgg==\r\n") == b"> ***\r\n"
    patch = "".join(f"+{line}\n" for line in KEY.splitlines()).encode()
    assert secrets.find(patch) == "KEY"
    assert secrets.mask(patch) == (b"+-----BEGIN PRIVATE KEY-----\n+***\n+***\n+-----END PRIVATE KEY-----\n")


def test_common_lines_are_not_masked() -> None:
    secrets = Secrets({"KEY": KEY, "JSON": '{\n  "id": 1,\n  "private_key": "abcdefgh"\n}'})
    assert secrets.find(b"+-----BEGIN PRIVATE KEY-----\n") is None
    assert secrets.find(b'+{\n+  "id": 1,\n+}\n') is None
    assert secrets.find(b'+"private_key": "abcdefgh"\n') == "JSON"


@pytest.mark.parametrize("value", ['pass\\word"1', "pässwörd 1/+?", "ghp_0123456789", "\x7f>>>???~~~"])
@pytest.mark.parametrize("before", ["", "x", "xx", "user:"])
@pytest.mark.parametrize("after", ["", "y", "yy", "\n"])
def test_base64_is_masked_at_any_offset(value: str, before: str, after: str) -> None:
    secrets = Secrets({"A": value})
    for encode in (b64encode, urlsafe_b64encode):
        shown = secrets.mask(encode(f"{before}{value}{after}".encode()))
        assert shown.count(MASK) == 1
        assert len(shown) <= len(MASK) + len(b64encode(before.encode())) + len(b64encode(after.encode())) + 4


def test_a_value_in_json_or_a_url_is_found() -> None:
    secrets = Secrets({"A": 'a"b\\c\td é'})
    assert secrets.mask(rb'{"x": "a\"b\\c\td \u00e9"}') == b'{"x": "***"}'
    assert secrets.mask(b"https://u:a%22b%5Cc%09d%20%C3%A9@host") == b"https://u:***@host"


@pytest.mark.parametrize(
    "encode",
    [
        quote,  # leaves "/"
        partial(quote, safe=""),
        quote_plus,
        partial(quote, safe="!'()*"),  # encodeURIComponent
        partial(quote, safe=":/?#[]@!$&'()*+,;="),  # encodeURI
        lambda text: re.sub("%..", lambda found: found[0].lower(), quote(text, safe="")),
        lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
        lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    ],
)
@pytest.mark.parametrize("value", ["hunter2!", "p w/é?k=(v)&x+y%20", "postgres://u:p@h/d?x=1"])
def test_a_value_in_any_form_of_a_url_is_masked_and_found(encode: Callable[[str], str], value: str) -> None:
    secrets = Secrets({"A": value})
    text = f"https://host/?k={encode(value)}&rest".encode()
    assert secrets.mask(text) == b"https://host/?k=***&rest"
    assert masked(secrets, *(text[at : at + 1] for at in range(len(text)))) == b"https://host/?k=***&rest"
    assert secrets.find(text) == "A"


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
        lambda text: json.dumps(json.dumps(text))[3:-3],  # JSON as a text in JSON
        lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),  # PHP
        lambda text: re.sub("[&<>]", lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text)[1:-1]),  # Go
        lambda text: re.sub(
            "[^ -~]|[\"&'+<>`]", lambda found: f"\\u{ord(found[0]):04X}", text.replace("\\", "\\\\")
        ),  # .NET
        lambda text: html.escape(text, quote=False),
        html.escape,
        lambda text: html.escape(text).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),  # Go
        lambda text: quote(quote(text, safe=""), safe=""),
    ],
)
@pytest.mark.parametrize("value", ["hunter2&co", "p\"w/é'k<1>+x", 'c:\\dir"&'])
def test_a_value_escaped_for_json_or_html_is_masked_and_found(encode: Callable[[str], str], value: str) -> None:
    secrets = Secrets({"KEY": value})
    for data in (f"[{encode(value)}]".encode(), f"x{encode(value)}y".encode()):
        assert secrets.mask(data) == data.replace(encode(value).encode(), b"***")
        assert secrets.find(data) == "KEY"


def test_the_mapping_may_be_any_and_change_afterwards() -> None:
    values = {"A": "hunter2!"}
    secrets = Secrets(MappingProxyType(values))
    values.clear()
    assert secrets.find(b"hunter2!") == "A"


def test_longest_is_the_length_of_the_longest_needle() -> None:
    secrets = Secrets({"A": "hunter2!", "B": "swordfish"})
    assert secrets.longest == max(len(needle) for _, needle in secrets.needles) >= len("swordfish")


def test_only_a_possible_prefix_is_held_back() -> None:
    masker = Masker(Secrets({"A": "hunter2!"}))
    assert masker.feed(b"who? hunt") == b"who? "
    assert masker.feed(b"er") == b""
    assert masker.feed(b"s\n") == b"hunters\n"
    assert masker.feed(b"hunter2!") == b"***"
    assert masker.flush() == b""
    assert masker.feed(b"hunt") == b""
    assert masker.flush() == b"hunt"
    assert masker.feed(b"er2!") == b"er2!"


def test_a_stream_of_one_mask_needs_no_memory() -> None:
    masker = Masker(Secrets({"A": "aaaa"}))
    assert [masker.feed(b"a" * 1000) for _ in range(5)] == [b"***", b"", b"", b"", b""]
    assert masker.feed(b"b") == b"b"


@example(values=["abab", "baba"], text="abababab", cuts=[2, 3, 5])
@example(values=["aaaa"], text="aaaaaaaaa", cuts=[1, 4, 5])
@example(values=["abca", "abcabca"], text="abcabcabca", cuts=[4])
@given(
    values=st.lists(ALPHABET, max_size=4),
    text=st.text("abc", max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=8),
)
def test_pieces_are_masked_like_the_whole(values: list[str], text: str, cuts: list[int]) -> None:
    secrets = Secrets({str(number): value for number, value in enumerate(values)})
    data = text.encode()
    places = [0, *sorted(cuts), len(data)]
    whole = secrets.mask(data)
    assert masked(secrets, *(data[start:stop] for start, stop in pairwise(places))) == whole
    shown = _reference(data, [value.encode() for value in values])
    assert whole.replace(MASK, b"") == shown
    assert secrets.find(whole) is None


def _reference(data: bytes, values: list[bytes]) -> bytes:
    """The bytes that no occurrence of any value covers."""
    covered = {
        place
        for value in values
        for start in range(len(data))
        if data.startswith(value, start)
        for place in range(start, start + len(value))
    }
    return bytes(byte for place, byte in enumerate(data) if place not in covered)


@given(value=st.text(min_size=4, max_size=30), around=st.binary(max_size=40))
def test_any_value_is_masked_in_any_output(value: str, around: bytes) -> None:
    secrets = Secrets({"A": value})
    needle = value.strip().encode()
    if len(needle) >= 4:
        shown = secrets.mask(around + needle + around)
        assert MASK in shown
        assert secrets.find(around + needle + around) == "A"


def test_only_named_values_are_passed_on_and_all_are_masked() -> None:
    secrets = Secrets({"A": "alpha-value", "B": "beta-value"}).only(["A", "C"])
    assert secrets.values == {"A": "alpha-value"}
    assert secrets.mask_text("alpha-value beta-value") == "*** ***"
    assert secrets.find(b"x beta-value") == "B"
    assert secrets.only([]).find(b"alpha-value") == "A"
    assert "alpha" not in repr(secrets)
