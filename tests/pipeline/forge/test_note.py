"""The note in a pull request's body."""

import pytest

from pipeline.forge.note import Note, read_note, with_note, without_note

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
