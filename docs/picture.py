"""Generate docs/terminal.svg from the real output of the program on a terminal.

usage: uv run --with pyte docs/picture.py      (or: pip install pyte, then python docs/picture.py)

The example plan runs on a scratch copy of the example repository, in a pseudo-terminal. The picture shows the
screen during the run, with the live table, and at the end.
"""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import time
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any

import pyte
from rich.color import ColorParseError
from rich.console import Console
from rich.style import Style
from rich.text import Text

ROOT = Path(__file__).parents[1]
PATCHYARD = Path(sys.executable).with_name("patchyard")
COLUMNS, ROWS = 112, 30
HALF_WAY = 0.6
"""Seconds after the first task has started."""


def example(directory: Path, environ: dict[str, str]) -> Path:
    """Create a repository with the files of the example."""
    repository = directory / "wordcount"
    subprocess.run(["cp", "-R", ROOT / "examples" / "repository", repository], check=True)
    for arguments in (
        ["init", "--quiet", "-b", "main"],
        ["add", "-A"],
        ["commit", "--quiet", "-m", "A word counter"],
    ):
        subprocess.run(["git", *arguments], cwd=repository, check=True, env=environ)
    return repository


def run_in_terminal(repository: Path, environ: dict[str, str]) -> tuple[list[Text], list[Text]]:
    """Run the plan in a terminal, and return the lines of its screen half-way and at the end."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    command: list[str | Path] = [PATCHYARD, "run", ROOT / "examples" / "plan.md"]
    with subprocess.Popen(
        command, cwd=repository, env=environ, stdin=terminal, stdout=terminal, stderr=terminal
    ):
        os.close(terminal)
        half_way: list[Text] = []
        began = None
        while data := read(main):
            stream.feed(data)
            if began is None and b"wt-1" in data:
                began = time.monotonic()
            if (
                not half_way
                and began
                and time.monotonic() - began > HALF_WAY
                and "done" in "".join(screen.display)
            ):
                half_way = lines(screen)
    return half_way, lines(screen)


def read(descriptor: int) -> bytes:
    """Read from a terminal; empty if the program has ended."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


def lines(screen: Any) -> list[Text]:  # noqa: ANN401 - pyte has no types
    """Return the lines of a screen, with their styles."""
    shown = []
    for row in range(ROWS):
        text = Text()
        characters = [screen.buffer[row][column] for column in range(COLUMNS)]
        for style, run in groupby(characters, style_of):
            text.append("".join(character.data for character in run), style)
        text.rstrip()
        shown.append(text)
    while shown and not shown[-1].plain:
        shown.pop()
    return shown


def style_of(character: Any) -> Style:  # noqa: ANN401 - likewise
    """Return the style of one character."""
    colour = None if character.fg == "default" else character.fg.replace("brown", "yellow")
    try:
        return Style(color=colour, bold=character.bold, italic=character.italics)
    except ColorParseError:
        return Style(color=f"#{colour}", bold=character.bold, italic=character.italics)


def main() -> None:
    """Run the example and write the picture."""
    with tempfile.TemporaryDirectory() as name:
        who = {
            f"GIT_{role}_{part}": "Example" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")
        }
        environ = {"PATH": os.environ["PATH"], "HOME": name, "TERM": "xterm-256color", "LANG": "C.UTF-8", **who}
        half_way, end = run_in_terminal(example(Path(name), environ), environ)
    console = Console(record=True, width=COLUMNS, file=Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until exit
    prompt = Text.assemble(("$ ", "green"), ("patchyard run plan.md", "bold"))
    seen = sum(
        1 for _ in takewhile(lambda pair: pair[0].plain == pair[1].plain, zip(half_way, end, strict=False))
    )
    for line in (prompt, *half_way, Text("…"), *end[seen:]):
        console.print(line, no_wrap=True)
    console.save_svg(str(ROOT / "docs" / "terminal.svg"), title="patchyard")


if __name__ == "__main__":
    main()
