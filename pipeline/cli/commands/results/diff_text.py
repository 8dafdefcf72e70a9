"""Patches as text for a terminal: a header per task, colours, sizes, and both sides of a conflict."""

from collections.abc import Iterable, Iterator

from pipeline.run.results.conflict_sides import Pair, Side
from pipeline.store.records import StoredAttempt, StoredTask
from pipeline.verdict.words import label, lines_words
from pipeline.view.diff import FileDiff, parse_diff
from tasks.lazy.patterns import regex
from tasks.outcome import Patch
from tasks.patch_data import PatchData
from tasks.text import plural, printable

RESET = "\x1b[m"
BOLD, RED, GREEN, CYAN, YELLOW = "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[36m", "\x1b[1;33m"
WIDTH = 40
"""Characters of the bar of `--stat`."""
_HUNK = regex(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")


class Painter:
    """Adds colours to lines, or leaves them as they are."""

    def __init__(self, *, colored: bool) -> None:
        self._colored = colored

    def __call__(self, text: str, color: str) -> str:
        """Return a line in a colour."""
        return f"{color}{text}{RESET}" if self._colored and text else text


def attempt_header(attempt: StoredAttempt, patch: Patch) -> str:
    """Return the header of an attempt at a task, which may have no outcome."""
    status = label(str(attempt.status)) if attempt.status else "not ended"
    what = f"task {attempt.task} {attempt.title}, attempt {attempt.number}"
    return printable(f"{what}: {status}, {plural(len(patch.files), 'file')}")


def header(item: StoredTask) -> str:
    """Return the header of a task: its id, title, status, and the size of its patch."""
    outcome = item.outcome
    said = [label(str(outcome.status)), plural(len(outcome.files), "file")]
    said += [size] if (size := lines_words((outcome.added, outcome.removed))) else []
    said += [f"branch {outcome.branch}"] if outcome.branch else []
    return printable(f"task {outcome.task} {outcome.title}: {', '.join(said)}")


def patch_lines(diff: PatchData, paint: Painter) -> Iterator[str]:
    """Yield the lines of a patch, without control characters."""
    old = new = 0  # lines that are left of a hunk
    for data in diff.lines():
        line = printable(data.decode("utf-8", "surrogateescape"))
        if old > 0 or new > 0:
            sign = line[:1]
            old -= sign not in {"+", "\\"}
            new -= sign not in {"-", "\\"}
            yield paint(line, {"+": GREEN, "-": RED}.get(sign, ""))
        elif found := _HUNK.match(line):
            old, new = (int(count or 1) for count in found.groups())
            yield paint(found[0], CYAN) + line[found.end() :]
        else:
            yield paint(line, "" if line.startswith("\\") else BOLD)


def stat_lines(diff: PatchData, paint: Painter) -> Iterator[str]:
    """Yield a line per file, with how many lines are added and removed, and a sum."""
    files = parse_diff(diff, most=0).files
    paths = [printable(file.path) for file in files]
    width = max(map(len, paths), default=0)
    most = max((file.added + file.removed for file in files), default=0)
    for file, path in zip(files, paths, strict=True):
        yield f"  {path.ljust(width)} | {_amount(file, most, paint)}"
    added, removed = sum(file.added for file in files), sum(file.removed for file in files)
    yield f"  {plural(len(files), 'file')}, {lines_words((added, removed))}"


def _amount(file: FileDiff, most: int, paint: Painter) -> str:
    if "binary" in file.notes:
        return "binary"
    total = file.added + file.removed
    scale = min(1.0, WIDTH / most) if most else 1.0
    plus, minus = (max(1, round(count * scale)) if count else 0 for count in (file.added, file.removed))
    words = "" if file.action == "modified" else f" ({file.action})"
    return f"{total:>5} {paint('+' * plus, GREEN)}{paint('-' * minus, RED)}{words}"


def conflict_lines(pair: Pair, titles: dict[str, str], paint: Painter) -> Iterator[str]:
    """Yield the places where two tasks conflict, with both sides."""
    names = [f"task {name} {titles.get(name, '')}".rstrip() for name in (pair.other, pair.task)]
    heading = f"conflict of task {pair.other} and task {pair.task}"
    yield paint(heading + (f": {pair.note}" if pair.note else ""), YELLOW)
    for file in pair.files:
        yield paint(printable(f"{file.path}: {file.note}" if file.note else file.path), BOLD)
        for hunk in file.hunks:
            for name, side, color in zip(names, (hunk.ours, hunk.theirs), (RED, GREEN), strict=True):
                yield paint(printable(f"  {name}, {side}"), CYAN)
                yield from (paint(printable(f"    {line}"), color) for line in _shown(side))


def _shown(side: Side) -> Iterable[str]:
    if not side.count:
        return ("(nothing)",)
    more = side.count - len(side.lines)
    return (*side.lines, f"[{plural(more, 'more line')}]") if more else side.lines
