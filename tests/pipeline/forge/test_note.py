"""The note in a pull request's body."""

from dataclasses import replace

import pytest

from pipeline.forge.base import PullRequestDraft
from pipeline.forge.note import (
    LONGEST_BODY,
    Note,
    body_of,
    read_note,
    revised,
    with_additions,
    with_note,
    without_note,
)

COMMIT = "0123456789" * 4


@pytest.mark.parametrize("branch", ["patchyard/demo/1.1", "a-->b", "<!-- a --", "ä\u2028b"])
def test_note_is_read_back_and_stays_hidden(branch: str) -> None:
    body = with_note("Text", Note({branch: COMMIT}))
    assert read_note(body) == Note({branch: COMMIT})
    assert body.startswith("Text\n\n<!-- patchyard ")
    assert body.count("<!--") == 1
    assert body.count("-->") == 1
    assert without_note(body).rstrip() == "Text"


def test_a_body_has_one_note_at_a_time() -> None:
    forged = with_note("From the plan", Note({"main": COMMIT}))
    body = with_note(forged, Note({"b": COMMIT}))
    assert read_note(body) == Note({"b": COMMIT})
    assert body.count("<!-- patchyard") == 1


def test_note_survives_an_edit_on_the_page() -> None:
    body = with_note("Text", Note({"b": COMMIT})).replace("\n", "\r\n") + "and a line of a person\r\n"
    assert read_note(body) == Note({"b": COMMIT})
    assert without_note(body) == "Text\r\nand a line of a person\r\n"


@pytest.mark.parametrize(
    "body", ["", "Text", "<!-- patchyard {} -->x", "<!-- patchyard {nonsense} -->", "<!-- patchyard [1] -->"]
)
def test_body_without_a_note(body: str) -> None:
    found = read_note(body)
    assert found is None or found == Note()


@pytest.mark.parametrize("pushed", ["[1]", '"b"', '{"b": 1}', "null", "[" * 100_000])
def test_odd_note_names_no_commit(pushed: str) -> None:
    found = read_note(f'Text\n\n<!-- patchyard {{"pushed": {pushed}}} -->\n')
    assert found is None or found == Note()


def draft(body: str, title: str = "Title", base: str = "main") -> PullRequestDraft:
    return PullRequestDraft("1.1", "b", base, title, body, pushed={"b": COMMIT})


def test_a_text_that_nobody_changed_is_replaced() -> None:
    title, body, _ = revised(draft("New", "New title"), "Title", body_of(draft("Old")), "main")
    assert (title, without_note(body).rstrip()) == ("New title", "New")


def test_a_text_without_a_note_stays() -> None:
    title, body, _ = revised(draft("New", "New title"), "Title", "Old", "main")
    assert (title, without_note(body).rstrip()) == ("Title", "Old")
    assert read_note(body) == read_note(body_of(draft("New", "New title")))


def test_a_box_that_a_person_cleared_stays_clear() -> None:
    old = body_of(draft("- [x] a\n- [ ] b\n* [ ] c"))
    text = draft("New\n- [x] a\n- [ ] b\n* [ ] c")
    _, body, _ = revised(text, "Title", old.replace("[x] a", "[ ] a"), "main")
    assert without_note(body).rstrip() == "New\n- [ ] a\n- [ ] b\n* [ ] c"


def test_boxes_of_one_text_are_matched_in_their_order() -> None:
    old = body_of(draft("- [ ] a\n- [ ] a\n"))
    text = draft("- [ ] a\n- [ ] a\n- [ ] a")
    _, body, _ = revised(text, "Title", old.replace("- [ ] a\n- [ ]", "- [ ] a\n- [x]"), "main")
    assert without_note(body).rstrip() == "- [ ] a\n- [x] a\n- [ ] a"


def test_a_body_without_room_for_a_note_stays() -> None:
    long = "x" * LONGEST_BODY
    assert revised(draft("New"), "Title", long, "main") == ("Title", long, "main")


def test_a_base_that_a_person_changed_stays() -> None:
    old = body_of(draft("Old", base="batch-1"))
    for there, kept in (("batch-1", "main"), ("release", "release"), ("main", "main")):
        _, body, base = revised(draft("Old"), "Title", old, there)
        assert base == kept
        assert revised(draft("Old", base="other"), "Title", body, kept)[2] == (
            "release" if kept == "release" else "other"
        )


def test_a_body_without_a_note_has_all_labels_and_reviewers_by_now() -> None:
    wanted = replace(draft("New"), labels=("a",), reviewers=("mona",))
    _, body, _ = revised(wanted, "Title", "Old", "main")
    note = read_note(body)
    assert note
    assert (note.labels, note.reviewers) == (("a",), ("mona",))


def test_additions_are_noted_once_and_kept() -> None:
    body = with_additions(body_of(draft("Old")), labels=["a"], reviewers=["octo/team"], auto_merge=True)
    _, body, _ = revised(draft("New"), "Title", body, "main")
    note = read_note(with_additions(body, labels=["b"]))
    assert note
    assert (note.labels, note.reviewers, note.auto_merge) == (("a", "b"), ("octo/team",), True)
    assert with_additions(body) == body
    assert with_additions("Text", labels=["a"]) == "Text"
