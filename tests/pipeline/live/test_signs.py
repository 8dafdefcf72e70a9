"""What terminals show outside of their lines, by what is known of them."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from pipeline.events import RunStarted, TaskFinished
from pipeline.live.board import Board
from pipeline.live.signs import BELL, NO_PROGRESS, Signs, shows_progress
from tasks.outcome import Outcome, Status

XTERM = {"TERM": "xterm-256color"}


def board() -> Board:
    made, at = Board(), datetime(2026, 1, 2, tzinfo=UTC)
    made.apply(
        RunStarted(run="r", plan="p", title="D\x1bemo", base="b", pool_size=1, tasks=4, worktrees="w", time=at)
    )
    for task, status in (("1.1", Status.CHANGED), ("1.2", Status.FAILED)):
        made.apply(TaskFinished(outcome=Outcome(task=task, title="T", batch=1, status=status), time=at))
    return made


def test_the_title_has_the_progress() -> None:
    signs = Signs(XTERM)

    assert signs.update(board()) == "\x1b]2;2/4, 1 failed: D\ufffdemo - patchyard\x1b\\"
    assert signs.update(board()) == ""
    assert (signs.begin(), signs.end()) == ("\x1b[22;0t", "\x1b[23;0t")
    assert Signs({"TERM": "linux"}).update(board()) == ""


def test_the_progress_bar() -> None:
    signs = Signs({**XTERM, "WT_SESSION": "x"})

    assert signs.update(board()).endswith("\x1b]9;4;2;50\x1b\\")
    assert signs.end().startswith(NO_PROGRESS)


@pytest.mark.parametrize(
    ("environ", "shown"),
    [
        ({}, False),
        ({"WT_SESSION": "x"}, True),
        ({"WT_SESSION": "x", "TMUX": "x"}, False),
        ({"ConEmuANSI": "ON"}, True),
        ({"TERM_PROGRAM": "ghostty"}, True),
        ({"TERM_PROGRAM": "iTerm.app", "TERM_PROGRAM_VERSION": "3.6.6"}, True),
        ({"TERM_PROGRAM": "iTerm.app", "TERM_PROGRAM_VERSION": "3.5.10"}, False),
        ({"TERM_PROGRAM": "Apple_Terminal"}, False),
        ({"VTE_VERSION": "8001"}, True),
        ({"VTE_VERSION": "7600"}, False),
        ({"KITTY_WINDOW_ID": "1"}, False),
    ],
)
def test_progress_is_shown_where_it_is_known(environ: Mapping[str, str], *, shown: bool) -> None:
    assert shows_progress({**XTERM, **environ}) is shown


@pytest.mark.parametrize(
    ("environ", "sequence"),
    [
        ({}, BELL),
        ({"KITTY_WINDOW_ID": "1"}, "\x1b]9;Demo: failed, 1\x1b\\" + BELL),
        ({"VTE_VERSION": "7600"}, "\x1b]777;notify;patchyard;Demo: failed, 1\x1b\\" + BELL),
        ({"VTE_VERSION": "7600", "STY": "x"}, BELL),
    ],
)
def test_notification(environ: Mapping[str, str], sequence: str) -> None:
    assert Signs({**XTERM, **environ}).notification("Demo: failed; 1") == sequence
