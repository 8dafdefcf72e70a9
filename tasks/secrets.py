"""Mask secret values in output, and find them in data that would be stored."""

import json
import re
from base64 import b64encode
from collections.abc import Collection, Iterator, Mapping
from dataclasses import field, replace
from typing import Self
from urllib.parse import quote

from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.text import without_surrogates

GITHUB_TOKENS = ("GITHUB_TOKEN", "GH_TOKEN")
"""Variables with a token for github.com (https://cli.github.com/manual/gh_help_environment)."""
GITHUB_ENTERPRISE_TOKENS = ("GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN")
"""Variables with a token for a GitHub Enterprise Server."""
FORGE_TOKENS = frozenset({*GITHUB_TOKENS, *GITHUB_ENTERPRISE_TOKENS})
"""Variables that give access to the forge."""
OWN_SECRETS = FORGE_TOKENS | {"PATCHYARD_DATABASE", "PATCHYARD_NOTIFY", "PATCHYARD_TOKEN"}
"""Variables with secrets of patchyard itself: its forge, database, webhook and server.

No task and no other child process gets them, and no setting can hand them over.
"""
MASK = b"***"
SHORTEST = 4
"""Values shorter than this, in bytes, are not treated as secret: they would mask ordinary text."""
SHORTEST_LINE = 12
"""The same for a single line of a value of several lines, which may well be ordinary (`"id": 1,`)."""
SHORTEST_BASE64 = 8
"""The same for what is certain of a value's Base64."""
URL_KEPT = ("", "/", "!'()*", ":/?#[]@!$&'()*+,;=")
"""Characters that encoders leave: of any component, of a path, `encodeURIComponent`, `encodeURI` and curl."""
PERCENT = regex("%[0-9A-F]{2}")
JSON_IN_HTML = regex("[&<>]")
JSON_CAPITALS = regex(r"\\\\|\\u[0-9a-f]{4}|\\\"|[&<>'+`]")
ARMOUR = b"-----"
"""How lines such as "-----BEGIN PRIVATE KEY-----" begin, which are not secret."""


def without_own_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the secrets of patchyard itself."""
    return {name: value for name, value in environ.items() if name not in OWN_SECRETS}


@dataclass(frozen=True, slots=True)
class Secrets:
    """Named secret values. Their representation never shows a value.

    A value is recognised literally, without surrounding white space; line by line if it has several lines; and
    encoded in JSON, in HTML, in a URL and in Base64, at any offset (as in an `Authorization: Basic` header).
    """

    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    hidden: Mapping[str, str] = field(default_factory=dict, repr=False)
    """More values to mask, which are not passed to the task."""
    needles: tuple[tuple[str, bytes], ...] = field(init=False, repr=False, compare=False)
    """Byte strings to find, as (name, bytes)."""

    def __post_init__(self) -> None:
        names: dict[bytes, str] = {}
        for name, value in (*self.values.items(), *self.hidden.items()):
            for needle in _forms(value):
                names.setdefault(needle, name)
        object.__setattr__(self, "needles", tuple((name, needle) for needle, name in names.items()))

    def only(self, names: Collection[str]) -> Self:
        """Return the same secrets with no other values than those of `names`; the rest stay hidden."""
        values = {name: value for name, value in self.values.items() if name in names}
        rest = {name: value for name, value in self.values.items() if name not in names}
        return replace(self, values=values, hidden={**self.hidden, **rest})

    def __bool__(self) -> bool:
        """Return whether there is a value to mask."""
        return bool(self.needles)

    def mask(self, data: bytes) -> bytes:
        """Return `data` with every secret value replaced by `***`; values that overlap share one."""
        masker = Masker(self)
        return masker.feed(data) + masker.flush()

    def mask_text(self, text: str) -> str:
        """Return `text` with every secret value replaced by `***`."""
        if not self.needles:
            return text
        return _decode(self.mask(_encode(text)))

    def for_prompt(self, text: str) -> str:
        """Return `text` as an agent may be given it: masked, and without what is not Unicode."""
        return without_surrogates(self.mask_text(text))

    def find(self, data: bytes) -> str | None:
        """Return the name of a secret whose value is in `data`, else `None`."""
        return next((name for name, needle in self.needles if needle in data), None)

    @property
    def longest(self) -> int:
        """Length in bytes of the longest byte string to find; 0 without secrets."""
        return max((len(needle) for _, needle in self.needles), default=0)


class Search:
    """Finds values in a stream, also one that is split over several pieces."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._overlap = max(0, secrets.longest - 1)
        self._tail = b""

    def feed(self, data: bytes) -> str | None:
        """Return the name of a secret whose value ends in this piece, or just before it; else `None`."""
        return self._secrets.find(self._extended(data))

    def feed_all(self, data: bytes) -> set[str]:
        """Return the names of all such secrets."""
        data = self._extended(data)
        return {name for name, needle in self._secrets.needles if needle in data}

    def _extended(self, data: bytes) -> bytes:
        data = self._tail + data
        self._tail = data[-self._overlap :] if self._overlap else b""
        return data


class Masker:
    """Masks a stream: a value that is split over several pieces is masked, too.

    Only the end of a piece that may begin a value is held back, until the next piece or `flush`.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._needles = [needle for _, needle in secrets.needles]
        self._held = b""
        self._covered = 0  # how many bytes of `_held` belong to a mask that is out already

    def feed(self, data: bytes) -> bytes:
        """Return the masked output that is complete after this piece."""
        if not self._needles:
            return data
        data = self._held + data
        return self._advance(data, min(_unfinished(data, needle) for needle in self._needles))

    def flush(self) -> bytes:
        """Return what was held back, at the end of the stream."""
        return self._advance(self._held, len(self._held))

    def _advance(self, data: bytes, end: int) -> bytes:
        """Mask `data` up to `end`, and hold the rest."""
        shown = []
        position = 0
        for start, stop in self._masked(data):
            continued = start == 0 and self._covered > 0
            if not continued:
                if start >= end:
                    break
                shown += [data[position:start], MASK]
            position = stop
        shown.append(data[position:end])
        self._held, self._covered = data[end:], max(0, position - end)
        return b"".join(shown)

    def _masked(self, data: bytes) -> list[tuple[int, int]]:
        """Return the spans of values in `data`, in order; overlapping ones are merged."""
        spans = [span for needle in self._needles for span in _spans(data, needle)]
        if self._covered:
            spans.append((0, self._covered))
        merged: list[tuple[int, int]] = []
        for start, stop in sorted(spans):
            if merged and start < merged[-1][1]:
                merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
            else:
                merged.append((start, stop))
        return merged


def _spans(data: bytes, needle: bytes) -> Iterator[tuple[int, int]]:
    """Yield spans that cover every occurrence of `needle`, also of one that overlaps itself ("aaaa")."""
    size = len(needle)
    start = data.find(needle)
    while start >= 0:
        yield start, start + size
        overlapping = data.rfind(needle, start + 1, start + 2 * size - 1)
        start = overlapping if overlapping >= 0 else data.find(needle, start + size)


def _unfinished(data: bytes, needle: bytes) -> int:
    """Return where the end of `data` begins to look like the beginning of `needle`; its length if nowhere."""
    start = data.find(needle[:1], max(0, len(data) - len(needle) + 1))
    while start >= 0:
        if needle.startswith(data[start:]):
            return start
        start = data.find(needle[:1], start + 1)
    return len(data)


def _forms(value: str) -> Iterator[bytes]:
    """Yield the byte strings by which a value is recognised."""
    text = value.strip()
    plain = _encode(text)
    if len(plain) < SHORTEST:
        return
    yield plain
    yield from map(_encode, (*_json_forms(text), *_html_forms(text)))
    yield from _url_forms(plain)
    yield quote(quote(plain, safe="")).encode()
    lines = [_encode(line.strip()) for line in text.splitlines()]
    yield from (line for line in lines if len(line) >= SHORTEST_LINE and not line.startswith(ARMOUR))
    parts = [part for shift in range(3) for part in _base64(plain, shift)]
    yield from (part for part in parts if len(part) >= SHORTEST_BASE64)


def _json_forms(text: str) -> Iterator[str]:
    """Yield a value as it may stand in a text of JSON, or in JSON that is itself a text in JSON.

    Writers differ in what they escape more than they have to: all but ASCII, `/` (PHP), what is special in HTML
    (Go, Rails), or that and more with capital digits (.NET).
    """
    for plain in (json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(text)[1:-1]):
        yield from (plain, plain.replace("/", "\\/"))
        yield JSON_IN_HTML.sub(lambda found: f"\\u{ord(found[0]):04x}", plain)
        yield JSON_CAPITALS.sub(_capital, plain)
        yield json.dumps(plain)[1:-1]


def _capital(found: re.Match[str]) -> str:
    """Return an escape of JSON with capital digits."""
    text = found[0]
    if text == r"\\":
        return text
    digits = text[2:].upper() if text.startswith(r"\u") else f"{ord(text[-1]):04X}"
    return rf"\u{digits}"


def _html_forms(text: str) -> Iterator[str]:
    """Yield a value as it may stand in HTML or XML: with quotes as they are, by number, and by name."""
    import html  # noqa: PLC0415 - slow

    yield html.escape(text, quote=False)
    yield html.escape(text)
    for single, double in (("&#39;", "&quot;"), ("&#39;", "&#34;"), ("&apos;", "&quot;")):
        yield html.escape(text, quote=False).replace("'", single).replace('"', double)


def _url_forms(plain: bytes) -> Iterator[bytes]:
    """Yield a value as it may stand in a URL or a form: percent-encoded, with digits of either case.

    Which characters stay differs: https://url.spec.whatwg.org/#percent-encoded-bytes. A value that itself looks
    percent-encoded is found encoded once more by that.
    """
    for kept in URL_KEPT:
        encoded = quote(plain, safe=kept)
        for form in {encoded, encoded.replace("%20", "+")}:
            yield form.encode()
            yield PERCENT.sub(lambda found: found[0].lower(), form).encode()
    every = "".join(f"%{byte:02X}" for byte in plain)
    yield from (every.encode(), every.lower().encode())


def _base64(plain: bytes, shift: int) -> tuple[bytes, bytes]:
    """Return the part of `plain`'s Base64 that does not depend on the surrounding bytes.

    `shift` is how many bytes into a group of three it begins. In the usual alphabet, and in that of URLs.
    """
    encoded = b64encode(bytes(shift) + plain)
    bits = 6  # a character's
    first, last = -(-8 * shift // bits), 8 * (shift + len(plain)) // bits
    return encoded[first:last], encoded[first:last].translate(bytes.maketrans(b"+/", b"-_"))


def _encode(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _decode(data: bytes) -> str:
    return data.decode(errors="surrogateescape")
