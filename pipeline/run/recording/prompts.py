"""What the agent of a task was given: a file for each round beside the log, with secrets masked."""

from contextlib import suppress
from pathlib import Path

from containers.filesystem import read_regular, write_file
from tasks.plan.parser import MAX_BYTES
from tasks.repairs import MOST_REPAIRS

LONGEST = 4 * MAX_BYTES
"""Bytes of a prompt that are read: it has less than the plan, what failed, and what has changed."""


def prompt_path(log: Path, number: int) -> Path:
    """Return the path of the prompt of a round, counted from 1, of the attempt with this log."""
    name = log.name.removesuffix(".log")
    return log.with_name(f"{name}.prompt.md" if number == 1 else f"{name}.round-{number}.prompt.md")


def keep_prompt(log: Path, number: int, text: str) -> None:
    """Write the prompt of a round beside the log of its attempt. Blocking.

    What cannot be written (a full disk) is left out: the task itself needs nothing of it.
    """
    with suppress(OSError):
        path = prompt_path(log, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, text.encode(errors="replace"))


def read_prompts(log: Path) -> dict[int, str]:
    """Return the prompts of the attempt with this log, as Markdown, by the number of the round. Blocking.

    There is none for a task of commands, for a cached result, and for what ran on another host.
    """
    found = {}
    for number in range(1, MOST_REPAIRS + 2):
        content = read_regular(prompt_path(log, number), LONGEST)
        if content is not None:
            found[number] = content.decode(errors="replace")
    return found
