"""The JSON fields that docs/output.md documents."""

import re
from pathlib import Path

OUTPUT = Path(__file__).parents[2] / "docs" / "output.md"
EVENTS = {
    "run_started",
    "batch_started",
    "task_started",
    "step_started",
    "step_finished",
    "task_finished",
    "conflict",
    "pull_request",
    "notice",
    "run_finished",
}


def documented() -> dict[str, set[str]]:
    """Return the fields of each event, of the `verdict`, and of an `outcome`; none that are called optional."""
    text = OUTPUT.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|([^|\n]*)\|$", text, re.MULTILINE)
    fields = {name: set(_names(about)) for name, about in rows if name in EVENTS}
    outcome = text.partition("An outcome has these fields:\n")[2].partition("\n\nA task")[0]
    cells = re.findall(r"^\|([^|\n]*)\|(?!.*optional)", outcome, re.MULTILINE)
    verdict = text.partition("The verdict has these fields:\n")[2].partition("\n\nAn outcome")[0]
    fields["verdict"] = {
        name for cell in re.findall(r"^\|([^|\n]*)\|", verdict, re.MULTILINE) for name in _names(cell)
    }
    fields["run_finished"] |= fields["verdict"]
    fields["step_finished"] |= fields["step_started"]
    fields["task_finished"] = fields["outcome"] = {name for cell in cells for name in _names(cell)}
    return fields


def _names(text: str) -> list[str]:
    """Return the field names in a text, ignoring text in parentheses."""
    return re.findall(r"`([a-z_]+)`", re.sub(r"\([^)]*\)", "", text))


def named_by(command: str) -> list[str]:
    """Return the fields of a command, from the page's table of other commands."""
    text = OUTPUT.read_text(encoding="utf-8")
    (cell,) = re.findall(rf"^\| `?{re.escape(command)}`? \|[^|]*\|([^|]*)\|$", text, re.MULTILINE)
    return _names(cell)
