"""The log of a task as HTML on its page."""

import os
import re
from pathlib import Path

from pipeline.web.page.log_html import SHOWN, LogHtml
from pipeline.web.streams.log_tail import LogPart, read_log


def pieces(path: Path) -> list[str]:
    """Return the pieces of a log, without their markup."""
    html, offset, found = LogHtml(), -SHOWN, list[str]()
    while (part := read_log(path, offset)).data:
        offset = part.offset
        found.append(re.sub(r"</?span>", "", html.add(part)))
    return found


def test_log_is_shown_without_control_sequences_and_markup(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(
        b"\x1b[1;31mred\x1b[0m \x1b]8;;https://x.test\x07link\x1b]8;;\x07 <b> & \x00\rnext\r\nend\n"
    )
    assert pieces(path) == ["red link &lt;b&gt; &amp; \ufffd\nnext\nend\n"]


def test_bidirectional_marks_are_shown_on_the_page() -> None:
    html = LogHtml()
    assert html.add(LogPart(5, "a\u202eb".encode())) == "<span>a&lt;U+202E&gt;b</span>"


def test_character_or_sequence_split_between_parts_is_joined() -> None:
    html, text = LogHtml(), ""
    for number, byte in enumerate("Größe \x1b[31mrot\x1b[0m 🎉\r\nend \x1b[0".encode(), 1):
        text += re.sub(r"</?span>", "", html.add(LogPart(number, bytes([byte]))))
    assert text == "Größe rot 🎉\nend "


def test_long_log_is_shown_from_its_end_with_a_note(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 1000 + b"y" * SHOWN)
    found = pieces(path)
    assert found[0].startswith("<i>the first 1,000 bytes are not shown</i>\n")
    assert sum(piece.count("y") for piece in found) == SHOWN + 1  # `bytes` has one
    assert pieces(tmp_path / "none") == []


def test_a_pipe_or_a_link_in_place_of_a_log_is_as_empty(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "private").write_text("private")
    (tmp_path / "link").symlink_to(tmp_path / "private")

    assert [read_log(tmp_path / name, 0) for name in ("pipe", "link")] == [LogPart(0, b"")] * 2
