"""The items under **Files:**."""

import pytest

from tasks.model import DeclaredFile
from tasks.plan.parser import parse


def declared(text: str) -> list[tuple[str, str, int]]:
    parsed = parse(f"### Task 1: Title\n{text}\n**Run:** a\n", "p.md")
    assert parsed.plan is not None, parsed.diagnostics
    return [(file.action, file.path, file.line) for file in parsed.plan.tasks[0].files]


@pytest.mark.parametrize(
    ("item", "action", "path"),
    [
        ("Create: a.txt", "create", "a.txt"),
        ("create: `a.txt`", "create", "a.txt"),
        ("**Create:** a.txt", "create", "a.txt"),
        ("**Create**: `a.txt`", "create", "a.txt"),
        ("Add: a.txt", "create", "a.txt"),
        ("New file: a.txt", "create", "a.txt"),
        ("Created: a.txt", "create", "a.txt"),
        ("Modify: a.txt", "modify", "a.txt"),
        ("Update `a.txt`", "modify", "a.txt"),
        ("Edit a.txt", "modify", "a.txt"),
        ("Create a.txt (new)", "create", "a.txt"),
        ("Delete a.txt - no longer needed", "delete", "a.txt"),
        ("Change: a.txt", "modify", "a.txt"),
        ("Delete: a.txt", "delete", "a.txt"),
        ("Remove: a.txt", "delete", "a.txt"),
        ("Read: a.txt", "read", "a.txt"),
        ("a.txt", "modify", "a.txt"),
        ("`a.txt`", "modify", "a.txt"),
        ("[ ] Create: a.txt", "create", "a.txt"),
        ("Create: `a.txt` - what it is for", "create", "a.txt"),
        ("Create: a.txt - what it is for", "create", "a.txt"),
        ("Create: a.txt — what it is for", "create", "a.txt"),
        ("Create: a.txt (new)", "create", "a.txt"),
        ("Create: a.txt: what it is for", "create", "a.txt"),
        ("Create: my notes.txt", "create", "my notes.txt"),
        ("Create: `my (own) notes - 1.txt`", "create", "my (own) notes - 1.txt"),
        ("Create: [a.txt](docs/a.txt)", "create", "a.txt"),
        ("Modify: src/a.py:10-20", "modify", "src/a.py"),
        ("Read: src/", "read", "src/"),
        ("created.txt", "modify", "created.txt"),
        ("update/notes.txt", "modify", "update/notes.txt"),
        ("Create: .", "create", "."),
        ("Modify: src/**/*.py", "modify", "src/**/*.py"),
        ("file (special).txt", "modify", "file (special).txt"),
        ("Create: file (special).txt (new) - why", "create", "file (special).txt"),
        ("My (old) file.txt", "modify", "My (old) file.txt"),
        ("app/(auth)/page.tsx (the form)", "modify", "app/(auth)/page.tsx"),
        ("a.py (new) and more words", "modify", "a.py"),
        ("a.py (see b(c) in it)", "modify", "a.py"),
        ("a.py (never closed", "modify", "a.py"),
        ("Makefile (see docs/a.md)", "modify", "Makefile"),
        ("Test: tests/a.py", "modify", "tests/a.py"),
        ("**Test:** `tests/a.py`", "modify", "tests/a.py"),
        ("Tests: tests/my notes.py", "modify", "tests/my notes.py"),
        ("Modify: `a.py:12-34`", "modify", "a.py"),
        ("Modify: `a.py:12-34,50`", "modify", "a.py"),
        ("Modify: a.py:12, 50-60", "modify", "a.py"),
        ("Modify: a.py#L12-L34", "modify", "a.py"),
        ("Modify: a.py (lines 3-9)", "modify", "a.py"),
        ("Modify: `a.py (lines 3–9)`", "modify", "a.py"),  # noqa: RUF001 - a dash that people type
        ("`a.py` (lines 3-9)", "modify", "a.py"),
    ],
)
def test_an_item(item: str, action: str, path: str) -> None:
    assert declared(f"**Files:**\n- {item}") == [(action, path, 3)]


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("**File:** a.txt", [("modify", "a.txt", 2)]),
        ("**File:** Create: `a.txt`\n**File:** b.txt", [("create", "a.txt", 2), ("modify", "b.txt", 3)]),
        ("**Files to Create:** `a`, `b` and `c`", [("create", "a", 2), ("create", "b", 2), ("create", "c", 2)]),
        ("**Files to Modify:**\n- a\n- `b`", [("modify", "a", 3), ("modify", "b", 4)]),
        (
            "**Files to delete:** a\n**Files to Read:** b\n**Files to update:** c",
            [("delete", "a", 2), ("read", "b", 3), ("modify", "c", 4)],
        ),
        ("**Files:** a.txt, b.txt", [("modify", "a.txt", 2), ("modify", "b.txt", 2)]),
        ("**Files:**\n`a`\nCreate: b", [("modify", "a", 3), ("create", "b", 4)]),
        (
            "**Files:**\n- Create:\n  - a\n  - `b`\n- Read: c",
            [("create", "a", 4), ("create", "b", 5), ("read", "c", 6)],
        ),
        ("**Files:**\n- Create: a\n  - a remark\n- b", [("create", "a", 3), ("modify", "b", 5)]),
        ("**Files:**\n\n1. a\n2. b", [("modify", "a", 4), ("modify", "b", 5)]),
        ("**File(s)**: `a.txt`", [("modify", "a.txt", 2)]),
        ("**File(s) to Create:** a.txt", [("create", "a.txt", 2)]),
        ("**Files:** `a` (one), `b` (two) and `c`:12", [("modify", name, 2) for name in "abc"]),
        ("**Files:** a.txt (one), b.txt (two)", [("modify", "a.txt", 2), ("modify", "b.txt", 2)]),
        ("**Files to Create:**\n- Test: a.txt", [("create", "a.txt", 3)]),
        (
            "**Files:**\n- Tests:\n  - a.txt\n- Source:\n  - b.txt",
            [("modify", "a.txt", 4), ("modify", "b.txt", 6)],
        ),
        ("**Files:**\n- [ ] Create: a.txt\n- [x] `b.txt`", [("create", "a.txt", 3), ("modify", "b.txt", 4)]),
        ("**Files:** N/A (only tests are run)", []),
        ("**Files:** None - it only reads", []),
        ("**Files:** None", []),
        ("**Files:**\n- None", []),
        ("**Files:** (none)", []),
        ("**Files:**", []),
    ],
)
def test_forms_of_the_field(text: str, files: list[tuple[str, str, int]]) -> None:
    assert declared(text) == files


@pytest.mark.parametrize("path", ["../a", "/etc/passwd", "~/a", "a/../../b", "C:/a", "..\\a"])
def test_a_path_outside_of_the_repository_is_a_warning(path: str) -> None:
    parsed = parse(f"### Task 1: A\n**Files:**\n- Create: {path}\n**Run:** a\n", "p.md")
    assert parsed.plan is not None
    assert parsed.plan.tasks[0].files == (DeclaredFile(parsed.plan.tasks[0].files[0].action, path, 3),)
    assert [str(found) for found in parsed.diagnostics] == [
        f"p.md:3:11: warning: `{path}` is outside of the repository: this task will fail"
    ]


def test_an_item_without_a_path_is_an_error() -> None:
    parsed = parse("### Task 1: A\n**Files:**\n- Create:\n**Run:** a\n", "p.md")
    assert [str(found) for found in parsed.diagnostics] == [
        "p.md:3:3: error: `Create:` does not name a file; write `Create: path`"
    ]


def text_and_files(text: str) -> tuple[str, list[str]]:
    parsed = parse(f"### Task 1: A\n{text}\n", "p.md", agent="a")
    assert parsed.plan is not None
    (task,) = parsed.plan.tasks
    return task.implementation, [file.path for file in task.files]


@pytest.mark.parametrize(
    ("text", "prose", "files"),
    [
        (
            "**Files:**\n- Create: `a.txt`\n- [ ] **Step 1: Write it**\n  more\n- [ ] Step 2",
            "- [ ] **Step 1: Write it**\n  more\n- [ ] Step 2",
            ["a.txt"],
        ),
        ("**Files:**\n- a.txt\n\n- [ ] Run `make`", "- [ ] Run `make`", ["a.txt"]),
        ("**Files:**\n- [ ] Write the test\n- [ ] `b.txt`", "- [ ] Write the test\n- [ ] `b.txt`", []),
        ("**Files:** a.txt\n- [ ] Write the test", "- [ ] Write the test", ["a.txt"]),
        (
            "**Files:**\n- a.txt\n\n1. Write the test\n2. See it fail",
            "1. Write the test\n2. See it fail",
            ["a.txt"],
        ),
        ("**Files:**\n- a.txt\n\n* Create: b.txt", "", ["a.txt", "b.txt"]),
        ("**Files:**\n- a.txt\nWrite it.", "Write it.", ["a.txt"]),
        ("**Files:**\n- **Source:** `a.txt`", "- **Source:** `a.txt`", ["a.txt"]),
        ("**Files:** All files in `src/lib/`", "**Files:** All files in `src/lib/`", ["src/lib/"]),
        (
            "**Files:**\n- Whatever the tests need\n- a.txt\n\nMore.",
            "- Whatever the tests need\n\nMore.",
            ["a.txt"],
        ),
    ],
)
def test_what_is_not_a_file_is_text_for_the_agent(text: str, prose: str, files: list[str]) -> None:
    assert text_and_files(text) == (prose, files)


def test_a_label_with_a_remark_is_text_and_not_a_file() -> None:
    text = "### Task 1: A\n**Files:**\n\nNote: see `src/a.py` first\n"
    plan = parse(text, "p.md", agent="a").plan
    assert plan
    assert [file.path for file in plan.tasks[0].files] == ["src/a.py"]
    assert plan.tasks[0].implementation == "Note: see `src/a.py` first"
    kept = parse("### Task 1: A\n**Files:**\n- Makefile: a target\n- README: more\n", "p.md", agent="a").plan
    assert kept
    assert [file.path for file in kept.tasks[0].files] == ["Makefile", "README"]
