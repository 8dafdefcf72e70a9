"""What a terminal shows outside of its lines: the title of its window, a progress bar, a notification."""

import re
from collections.abc import Mapping

from pipeline.live.board import Board
from tasks.text import without_unprintable

SAVE_TITLE, RESTORE_TITLE = "\x1b[22;0t", "\x1b[23;0t"
"""XTWINOPS: https://invisible-island.net/xterm/ctlseqs/ctlseqs.html"""
NO_PROGRESS = "\x1b]9;4;0;0\x1b\\"
BELL = "\a"
VTE_WITH_PROGRESS = 8000
ITERM_WITH_PROGRESS = (3, 6, 6)
LONGEST = 60
"""Characters of a plan's title in that of a window."""


class Signs:
    """The sequences for one terminal, which the variables of the environment describe."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._has_title = environ.get("TERM", "") not in {"", "dumb", "linux"}
        self._has_progress = shows_progress(environ)
        self._environ = environ
        self._last = ""

    def begin(self) -> str:
        """Return what keeps the title of the window, to be restored at the end."""
        return SAVE_TITLE if self._has_title else ""

    def update(self, board: Board) -> str:
        """Return what shows the progress of a run; nothing if that has not changed."""
        failed, ended, total = board.failed, len(board.outcomes), max(1, board.total)
        parts = []
        if self._has_title:
            failures = f", {failed} failed" if failed else ""
            title = f"{ended}/{board.total}{failures}: {board.title[:LONGEST]} - patchyard"
            parts.append(f"\x1b]2;{without_unprintable(title)}\x1b\\")
        if self._has_progress:
            state = 2 if failed else 1
            parts.append(f"\x1b]9;4;{state};{min(100, 100 * ended // total)}\x1b\\")
        shown = "".join(parts)
        changed, self._last = shown != self._last, shown
        return shown if changed else ""

    def end(self) -> str:
        """Return what takes the progress away and restores the title."""
        return (NO_PROGRESS if self._has_progress else "") + (RESTORE_TITLE if self._has_title else "")

    def notification(self, text: str) -> str:
        """Return a bell, and a notification of the desktop where the terminal is known to have one."""
        said = without_unprintable(text).replace(";", ",")
        program = self._environ.get("TERM_PROGRAM", "")
        if _is_multiplexed(self._environ):
            return BELL
        if program in {"iTerm.app", "WezTerm", "ghostty"} or self._environ.get("KITTY_WINDOW_ID"):
            return f"\x1b]9;{said}\x1b\\{BELL}"
        if self._environ.get("VTE_VERSION") or self._environ.get("TERM", "").startswith(("foot", "rxvt")):
            return f"\x1b]777;notify;patchyard;{said}\x1b\\{BELL}"
        return BELL


def shows_progress(environ: Mapping[str, str]) -> bool:
    """Whether a terminal is known to show progress: the sequence OSC 9;4 is that of a notification elsewhere.

    https://conemu.github.io/en/AnsiEscapeCodes.html#ConEmu_specific_OSC
    """
    if _is_multiplexed(environ):
        return False
    program = environ.get("TERM_PROGRAM", "")
    if environ.get("WT_SESSION") or environ.get("ConEmuANSI") == "ON":
        return True
    if program == "iTerm.app":
        numbers = re.findall(r"\d+", environ.get("TERM_PROGRAM_VERSION", ""))
        return tuple(map(int, numbers[:3])) >= ITERM_WITH_PROGRESS
    version = environ.get("VTE_VERSION", "")
    return program in {"WezTerm", "ghostty", "mintty"} or (
        version.isdecimal() and int(version) >= VTE_WITH_PROGRESS
    )


def _is_multiplexed(environ: Mapping[str, str]) -> bool:
    """Whether tmux or screen is in between, whose variables are those of the terminal around it."""
    return bool(environ.get("TMUX") or environ.get("STY"))
