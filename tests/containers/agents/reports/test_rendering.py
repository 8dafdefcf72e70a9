"""Showing the output of an agent as people read it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from containers.agents.reports import rendering
from containers.agents.reports.rendering import MAX_EVENT, Rendering
from tasks.agent_report import Tokens
from tasks.secrets import Secrets

CODEX_END = b'{"type":"turn.completed","usage":{"input_tokens":20,"output_tokens":2}}\n'


def claude(kind: str, *blocks: dict[str, object]) -> bytes:
    return json.dumps({"type": kind, "session_id": "1", "message": {"content": list(blocks)}}).encode() + b"\n"


def call(name: str, **arguments: object) -> bytes:
    return claude("assistant", {"type": "tool_use", "name": name, "input": arguments})


OUTPUT = (
    b"Warning: no colours\n"
    + claude("assistant", {"type": "text", "text": "Two\nlines."})
    + call("Bash", command="npm test\nnpm run lint", description="x")
    + call("Edit", file_path="a.py", old_string="x")
    + call("Odd", number=1)
    + call("Bare")
    + claude("user", {"type": "tool_result", "content": "it\nfailed", "is_error": True})
    + claude("user", {"type": "tool_result", "content": "fine"})
    + b'{"type": "of the task itself"}\n{"broken\n\n{}\nprogress 1\rprogress 2\n'
    + b'{"type":"result","session_id":"1","total_cost_usd":0.5}\n'
    + b"last words"
)
SHOWN = """\
Warning: no colours
Two
lines.
→ Bash: npm test …
→ Edit: a.py
→ Odd: {"number": 1}
→ Bare
← error: it failed
{"type": "of the task itself"}
{"broken

{}
progress 1\rprogress 2
last words
[the agent used $0.5000]
"""


@pytest.mark.parametrize("size", [1, 7, 1000, len(OUTPUT)])
def test_output_is_shown_as_people_read_it(size: int) -> None:
    shown = Rendering("claude", Secrets())
    parts = [shown.feed(OUTPUT[start : start + size]) for start in range(0, len(OUTPUT), size)]
    assert b"".join([*parts, shown.flush()]).decode() == SHOWN
    assert shown.report.cost == 0.5


@settings(max_examples=200)
@given(
    parts=st.lists(
        st.sampled_from(
            [b"{", b"}", b"\n", b"x", b"\r\n", b"{x\n", b"\n{}", CODEX_END, CODEX_END[:20], b"\xc3"]
        ),
        max_size=30,
    ),
    name=st.sampled_from(["codex", "aider"]),
)
def test_how_output_is_cut_makes_no_difference(parts: list[bytes], name: str) -> None:
    cut, whole = Rendering(name, Secrets()), Rendering(name, Secrets())
    shown = b"".join([*(cut.feed(part) for part in parts), cut.flush()])
    assert shown == whole.feed(b"".join(parts)) + whole.flush()
    assert cut.report == whole.report


def test_output_that_is_not_structured_is_shown_byte_for_byte_as_it_comes() -> None:
    shown = Rendering("codex", Secrets())
    for piece in (b"50 %", b"\r100 %", b"\n\n\xff\xfe\n", b"x" * 100_000, b"\r\n", b"end"):
        assert shown.feed(piece) == piece
    assert shown.flush() == b""


def test_incomplete_line_is_shown_at_the_end() -> None:
    shown = Rendering("codex", Secrets())
    assert shown.feed(b'{"type": "turn') == b""
    assert shown.flush() == b'{"type": "turn'
    assert shown.feed(CODEX_END) == b""
    assert shown.flush() == b"[the agent used 20 tokens in, 2 tokens out]\n"


def test_secret_that_was_encoded_is_masked_in_what_is_shown() -> None:
    line = rb'{"type":"item.completed","item":{"type":"agent_message","text":"it is s\u0033cret\u001b[1m"}}'
    shown = Rendering("codex", Secrets({"KEY": "s3cret"}))
    assert shown.feed(line + b"\n") == b"it is ***\n"
    assert shown.report.last_message == "it is ***"
    shown.feed(rb'{"type":"error","message":"quota of s\u0033cret used up"}' + b"\n")
    assert shown.report.limit
    assert shown.report.limit.message == "quota of *** used up"
    shown.feed(rb'{"type":"error","message":"invalid API key s\u0033cret"}' + b"\n")
    assert shown.report.refused == "invalid API key ***"


def test_enormous_line_takes_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "MAX_EVENT", 1000)
    shown = Rendering("codex", Secrets())
    begin = b'{"type": "turn.completed", "x": "'
    assert shown.feed(begin) == b""
    for _ in range(1000):
        assert shown.feed(b"y" * 1000) == b""
    assert len(shown._line) == 1000  # noqa: SLF001 - what it holds
    said = shown.feed(b'"}\n').decode()
    assert said.startswith(begin.decode() + "yyy")
    assert "yyy… [a line of " in said
    assert said.endswith("; the raw log has it]\n")
    assert len(said) < 300
    assert shown.feed(CODEX_END) == b""
    assert shown.report.tokens == Tokens(20, 2)


def test_limit_of_a_line_has_room_for_those_of_agents() -> None:
    text = "x" * (MAX_EVENT - 1000)
    line = json.dumps({"type": "item.completed", "item": {"type": "agent_message", "text": text}})
    shown = Rendering("codex", Secrets())
    assert shown.feed(line.encode() + b"\n") == text.encode() + b"\n"
    assert len(shown.report.last_message or "") == 20_000
