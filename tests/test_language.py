"""Product, tests and documentation use plain technical English: rejected words must not return.

The glossary of CONTRIBUTING.md has the words to use instead.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("tasks", "containers", "pipeline", "tests", "benchmarks", "docs", "examples", ".github")
SUFFIXES = {".py", ".md", ".html", ".js", ".css", ".sh", ".toml", ".yml"}
REJECTED = {
    "told": "named, reported, set",
    "tells? of": "reports, describes",
    "heed(?:s|ed|ing)?": "handle, honor, respect",
    "anew|afresh": "again",
    "whoever": "the caller, the subscriber, the user",
    "bring(?:s|ing)?|brought": "fetch, import, install, sync",
    "stands": "is",
    "goes? on|going on|gone on|went on": "continue, resume",
    "under way": "running",
    "lack(?:s|ed|ing)?": "is missing",
    "for ever": "forever, without a limit",
    "(?<!there )(?:is|are|was|were) no(?! longer| more| less| such|\\w)": "is not a",
    "let there be": "create",
    "a (?:line an event|lane a worktree|bar a task|suite a batch|worktree a task)": "one ... per ...",
}
PATTERNS = {
    re.compile(rf"(?<![\w-])(?:{words})(?![\w-])", re.IGNORECASE): instead
    for words, instead in REJECTED.items()
}
CODE = re.compile(r"(?<=[a-z])_(?=[a-z])")


def files() -> Iterator[Path]:
    """Yield the files whose words count."""
    yield from sorted(path for path in ROOT.glob("*.md") if path.is_file())
    yield from (ROOT / "Makefile", ROOT / "pyproject.toml")
    for folder in FOLDERS:
        yield from sorted(path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES)


def rejected(text: str) -> Iterator[str]:
    """Yield each rejected word with its line; the words of a name in snake case count one by one."""
    for number, line in enumerate(text.splitlines(), 1):
        words = CODE.sub(" ", line)
        for pattern, instead in PATTERNS.items():
            if found := pattern.search(words):
                yield f"{number}: {found[0]!r}, better: {instead}: {line.strip()}"


@pytest.mark.parametrize("path", list(files()), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_words_are_those_of_the_glossary(path: Path) -> None:
    if path == Path(__file__):
        return
    assert list(rejected(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "line",
    ["it is told of", "def test_what_goes_on() -> None:", "that is no name", "A line an event", "Brings it"],
)
def test_a_rejected_word_is_found(line: str) -> None:
    assert list(rejected(line))


@pytest.mark.parametrize(
    "line",
    ["it is no longer there", "there is no plan", "outstanding", "understands", "ongoing work", "goes one up"],
)
def test_a_good_word_is_not(line: str) -> None:
    assert list(rejected(line)) == []
