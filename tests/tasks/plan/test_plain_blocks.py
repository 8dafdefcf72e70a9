"""Tests of tasks.plan.plain_blocks: what it reads is what markdown-it-py reads."""

from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.plan.blocks import known_field, markdown_tokens
from tasks.plan.plain_blocks import PlainBlocks

LINES = (
    *(
        "",
        "",
        "",
        " ",
        "# Plan",
        "## Batch 1: all",
        "### Task 1.1: a task",
        "# C# and F#",
        "## closed ##",
        "#",
        "#no",
    ),
    *(
        "**Run:**",
        "**Run:** `make`",
        "**Files:** a.txt",
        "**Unknown:** x",
        "**Note** this",
        "**Done:**",
        "*emphasis*",
    ),
    *(
        "* item",
        "* **Run:** x",
        "- item",
        "- `make`",
        "- Create: `a.txt`",
        "+ item",
        "- **Bold** x",
        "- ",
        "-",
        "*",
        "- # x",
    ),
    *(
        "text",
        "more text ",
        "2 files",
        "1. one",
        "1) one",
        "12345678901. x",
        "`code` is text",
        "``` sh",
        "```",
        "```sh `x`",
    ),
    *(
        "````",
        " ```",
        "  indented",
        "    code",
        "> quote",
        "<p>",
        "<!-- c -->",
        "~~~",
        "---",
        "***",
        "* * *",
        "===",
        "=",
        "_a_",
    ),
    *(
        "a | b",
        "| a |",
        "\ttab",
        "[a]: b",
        "Files: a",
        "Größe é1 ",
        "\u00a0text\u00a0",
        "# \u00a0x\u00a0",
        "-a",
        "+1",
        "_",
        "& x",
    ),
    *(
        "- item\\",
        "**Run:** a **Files:** b",
        "** Run :** x",
        "- [ ] box",
        "* [x] box",
        "!image",
        "\\# escaped",
        "1",
        "#### a #b",
    ),
)
ATTRIBUTES = ("type", "tag", "nesting", "map", "level", "content", "markup", "info", "meta")


def attributes(tokens: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - tokens of either kind
    return [{name: getattr(token, name) for name in ATTRIBUTES} for token in tokens]


def check_same(text: str, *, extended: bool) -> bool:
    """Compare what is read of a text, if it is plain; return whether it is."""
    plain = PlainBlocks(text, partial(known_field, extended=extended))
    if not plain.read():
        return False
    tokens, suspects = markdown_tokens(text, extended=extended)
    assert attributes(plain.tokens) == attributes(tokens)
    assert plain.suspects == suspects
    return True


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.sampled_from(LINES), max_size=9), st.booleans())
@example(lines=["* item", "**Unknown:** x"], extended=False)
@example(lines=["text", "```", "", "  a", "``` ", "text"], extended=False)
def test_plain_blocks_are_those_of_markdown(lines: list[str], extended: bool) -> None:  # noqa: FBT001 - drawn
    check_same("\n".join(lines), extended=extended)


@settings(max_examples=1000, deadline=None)
@given(st.text(st.sampled_from("#*-+`_:.12ab \nRun"), max_size=40), st.booleans())
def test_any_text(text: str, extended: bool) -> None:  # noqa: FBT001 - drawn
    check_same(text, extended=extended)


@pytest.mark.parametrize("first", LINES)
def test_every_pair_of_lines(first: str) -> None:
    for second in LINES:
        for middle in ("", "\n"):
            check_same(f"{first}\n{middle}{second}\n", extended=False)


def test_an_ordinary_plan_is_plain() -> None:
    text = """# Plan

What it is for.

## Batch 1: first

### Task 1.1: a task
**Files:**
- Create: `a.txt`
- Modify: `b.txt`

**Implementation:**
Write it, and see
`b.txt` for more.

**Run:**
```sh
# a comment
echo a > a.txt
```

**Commit:** feat: add it
"""
    assert check_same(text, extended=False)
    assert check_same(text, extended=True)
