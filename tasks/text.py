"""Wording and escaping of short texts, for messages and for Markdown."""

from collections.abc import Iterable, Mapping

from tasks.lazy.patterns import regex

_BACKTICKS = regex("`+")
_USERINFO = regex(r"(?<=://)[^/?#\s]*@")
"""RFC 3986, 3.2: the authority ends at the first `/`, `?` or `#`; its user information at the last `@`."""

_CONTROLS = {*range(0x20), *range(0x7F, 0xA0)} - {ord("\n"), ord("\t")}
_MARKS = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
VISIBLE_MARKS = {code: f"<U+{code:04X}>" for code in sorted(_MARKS)}
"""What is shown for each bidirectional mark: https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters

The marks let a text be read in another order than a program reads it: https://trojansource.codes
"""
_VISIBLE = VISIBLE_MARKS | {code: f"<U+{code:04X}>" for code in sorted(_CONTROLS)}


def plural(number: int, noun: str) -> str:
    """Return a number with its noun: `1 task`, `2 tasks`, `3 batches`."""
    ending = "" if number == 1 else "es" if noun.endswith("ch") else "s"
    return f"{number} {noun}{ending}"


def article(noun: str) -> str:
    """Return `an` before a vowel, else `a`."""
    return "an" if noun[:1] in set("aeiou") else "a"


def by_kind(kinds: Mapping[str, str]) -> str:
    """Return names with their kinds, such as `cpus, memory by control group; files by resource limit`."""
    names = {kind: [name for name in kinds if kinds[name] == kind] for kind in kinds.values()}
    return "; ".join(f"{', '.join(named)} by {kind}" for kind, named in names.items())


def printable(text: str) -> str:
    r"""Return text that is safe on a terminal, and that any stream takes.

    Control characters and bidirectional marks are shown as what they are, such as `<U+001B>`; tabs and line
    feeds stay. Surrogates, which stand for bytes that are not UTF-8, are escaped.
    """
    return without_surrogates(text.translate(_VISIBLE))


def without_surrogates(text: str) -> str:
    """Return text that is valid UTF-8: a surrogate, the place of a byte that is not, becomes an escape."""
    return text.encode("utf-8", errors="backslashreplace").decode("utf-8")


def without_unprintable(text: str, mark: str = "\N{REPLACEMENT CHARACTER}") -> str:
    """Return a text for one line of a message: `mark` in place of each character that is not printable."""
    return "".join(character if character.isprintable() else mark for character in text)


def with_visible_marks(text: str) -> str:
    """Return text whose bidirectional marks are shown as what they are, such as `<U+202E>`."""
    return text if text.isascii() else text.translate(VISIBLE_MARKS)


def first_line(text: str) -> str:
    """Return the first line of a text, without its line end; an empty text gives an empty line."""
    return text.partition("\n")[0]


def without_credentials(text: str) -> str:
    """Return text without the user names, passwords and tokens of the URLs in it."""
    return _USERINFO.sub("", text)


def code_span(text: str) -> str:
    """Return text as a Markdown code span, on one line.

    CommonMark 6.1: the delimiters are longer than any run of backticks in the text, and one space next to
    each delimiter is stripped, so that a text may begin or end with a backtick.
    """
    text = " ".join(text.splitlines()) or " "
    delimiter = "`" * (longest_run(text) + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{delimiter}{space}{text}{space}{delimiter}"


def fence(text: str, language: str = "") -> str:
    """Return text as a fenced Markdown code block, whose fence is longer than any run of backticks in it."""
    delimiter = "`" * max(3, longest_run(text) + 1)
    content = text.strip("\n")
    return f"{delimiter}{language}\n{content}\n{delimiter}"


def longest_run(text: str) -> int:
    """Return the length of the longest run of backticks in a text."""
    return max(map(len, _BACKTICKS.findall(text)), default=0)


def dollars(amount: float) -> str:
    """Return an amount of US dollars as text; with more digits if it is below a cent."""
    return f"${amount:.2f}" if amount >= 0.01 or not amount else f"${amount:.4f}"  # noqa: PLR2004 - a cent


def closest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the known word that is most like another one, or an empty string."""
    from difflib import get_close_matches  # noqa: PLC0415 - only needed in an error

    return next(iter(get_close_matches(word[:40], list(known), n=1, cutoff=cutoff)), "")
