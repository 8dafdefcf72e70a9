"""The quick checks before patterns decide as the patterns do."""

from hypothesis import given
from hypothesis import strategies as st

from tasks.plan import marks, sections

LONG_S, DOTLESS_I, DOTTED_I, KELVIN = "\u017f", "\u0131", "\u0130", "\u212a"
"""Letters that patterns without case take for s, i and k."""
WORDS = (
    *("Task 1", "Build it", " ", "  ", "- ", ": ", "(", ")", "[", "]", "*", ".", "`x`", "✅", "✔", "✓", "☑"),
    *("DONE", "done", "COMPLETE", "Completed", "CoMpLeTe", "FINISHED", f"fini{LONG_S}hed", "ß", DOTLESS_I),
    *("PENDING", "pending", "IN PROGRESS", "IN-PROGRESS", "NOT STARTED", "TODO", "TO DO", "BLOCKED"),
    *("IMPLEMENTED", "🔄", "~~"),
)
GROUPS = (
    *("Phase", "CHUNK", "part", "Wave", "Slice", "MILESTONE", " Part", "Task", f"Chun{KELVIN}"),
    *(
        f"M{DOTTED_I}LESTONE",
        f"m{DOTLESS_I}lestone",
        f"{LONG_S}lice",
        f"{LONG_S}l{DOTTED_I}ce",
        f"pha{LONG_S}e",
    ),
)
LATER = (" ", "  ", "1", "#2", "iv", "a", ": ", " - ", "Title", " (x)", "[y]", ".3")


def text_of(words: tuple[str, ...], size: int = 6) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(words), max_size=size).map("".join)


@given(text_of(WORDS))
def test_titles_say_what_their_patterns_find(title: str) -> None:
    found = bool(marks._DONE_AT_END.search(title)) or title.lstrip().startswith("✅")  # noqa: SLF001 - unchecked
    assert marks.says_done(title) is found
    assert marks.without_open(title) == (marks._OPEN_AT_END.sub("", title) or title)  # noqa: SLF001 - unchecked


@given(st.sampled_from(GROUPS), text_of(LATER))
def test_headings_of_groups_are_those_of_the_pattern(word: str, rest: str) -> None:
    found = sections._GROUP.fullmatch(word + rest)  # noqa: SLF001 - unchecked
    assert bool(sections._match_group(word + rest)) is bool(found)  # noqa: SLF001 - the checked one
