"""Patches as files, hunks and lines; those of real git."""

import os

from hypothesis import given
from hypothesis import strategies as st
from repositories import Clone

from pipeline.view.diff import LONGEST_LINE, Diff, parse_diff
from tasks.patch_data import InlineData, PatchData


def diff_of(clone: Clone) -> PatchData:
    """Return the patch of what is in the work tree, as the program takes it."""
    clone.git("add", "-A")
    return InlineData(
        clone.git("diff", "--cached", "--binary", "--full-index", "--no-renames", "--no-color").encode(
            errors="surrogateescape"
        )
        + b"\n"
    )


def files_of(diff: Diff) -> dict[str, tuple[str, int, int, list[str]]]:
    """Return what a patch says of its files."""
    return {file.path: (file.action, file.added, file.removed, file.notes) for file in diff.files}


def test_every_kind_of_change_is_parsed(clone: Clone) -> None:
    (clone.path / "src/app.py").write_text("print('application')\nmore = 1\n")
    (clone.path / "src/lib/util.py").unlink()
    (clone.path / "new file.txt").write_text("one\ntwo")
    (clone.path / "binary").write_bytes(bytes(range(256)))
    (clone.path / "run.sh").write_text("#!/bin/sh\n")
    (clone.path / "run.sh").chmod(0o755)
    (clone.path / "link").symlink_to("run.sh")
    (clone.path / "README.md").chmod(0o755)
    (clone.path / "größe\t.txt").write_text("x\n")
    found = files_of(parse_diff(diff_of(clone)))
    assert found == {
        "README.md": ("modified", 0, 0, ["executable"]),
        "binary": ("added", 0, 0, ["binary"]),
        "größe\t.txt": ("added", 1, 0, []),
        "link": ("added", 1, 0, ["symbolic link"]),
        "new file.txt": ("added", 2, 0, []),
        "run.sh": ("added", 1, 0, ["executable"]),
        "src/app.py": ("modified", 2, 1, []),
        "src/lib/util.py": ("deleted", 0, 1, []),
    }


def test_lines_have_their_numbers_and_hunks_their_place(clone: Clone) -> None:
    before = [f"line {number}" for number in range(1, 41)]
    clone.commit({"long.txt": "\n".join(before) + "\n"})
    after = [*before[:4], "four and a half", *before[4:29], *before[30:]]
    (clone.path / "long.txt").write_text("\n".join(after) + "\n")
    (file,) = parse_diff(diff_of(clone)).files
    first, second = file.hunks
    assert second.header == "line 26"
    added = [line for line in first.lines if line.kind == "add"]
    removed = [line for line in second.lines if line.kind == "del"]
    assert [(line.text, line.old, line.new) for line in added] == [("four and a half", None, 5)]
    assert [(line.text, line.old, line.new) for line in removed] == [("line 30", 30, None)]
    same = [line for hunk in file.hunks for line in hunk.lines if line.kind == "same"]
    assert all(line.text == before[(line.old or 0) - 1] == after[(line.new or 0) - 1] for line in same)


def test_content_that_looks_like_a_patch_is_content(clone: Clone) -> None:
    text = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-- old\n++ new\n"
    (clone.path / "x.patch").write_text(text)
    (file,) = parse_diff(diff_of(clone)).files
    assert "".join(f"{line.text}\n" for line in file.hunks[0].lines) == text
    (clone.path / "x.patch").unlink()
    clone.git("add", "-A")


def test_missing_newline_at_end_of_file_is_parsed(clone: Clone) -> None:
    (clone.path / "README.md").write_text("# Sample")
    (file,) = parse_diff(diff_of(clone)).files
    assert [line.text for line in file.hunks[0].lines if line.kind == "note"] == ["No newline at end of file"]
    assert (file.added, file.removed) == (1, 1)


def test_a_patch_that_is_too_long_is_cut_and_counted(clone: Clone) -> None:
    (clone.path / "a.txt").write_text("".join(f"{number}\n" for number in range(100)))
    (clone.path / "b.txt").write_text("x" * (LONGEST_LINE + 10) + "\n")
    diff = parse_diff(diff_of(clone), most=30)
    assert sum(len(hunk.lines) for file in diff.files for hunk in file.hunks) == 30
    assert (diff.left_out, diff.added) == (71, 101)
    long = parse_diff(diff_of(clone)).files[1].hunks[0].lines[0].text
    assert long == "x" * LONGEST_LINE + "…"


def test_bytes_that_are_not_utf_8_do_no_harm(clone: Clone) -> None:
    (clone.path / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"caf\xe9\n")
    (file,) = parse_diff(diff_of(clone)).files
    assert file.path == "caf\ufffd.txt"
    assert [line.text for line in file.hunks[0].lines] == ["caf\ufffd"]


@given(st.binary() | st.text(alphabet='diff-git ab/+-@0123456789,\n\\"').map(str.encode))
def test_any_other_text_is_accepted(data: bytes) -> None:
    diff = parse_diff(InlineData(data))
    assert diff.added >= 0
    assert diff.removed >= 0
