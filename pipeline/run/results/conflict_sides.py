"""Where the patches of two tasks conflict: the hunks, with both sides. Blocking; nothing is checked out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field

from containers.git.repository import GitError, Repository
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import Conflict, Outcome

MOST_HUNKS = 50
"""Hunks of a file that are shown."""
MOST_LINES = 200
"""Lines of a side that are shown."""
MOST_BYTES = 2_000_000
"""A larger file is named, and not shown."""
LONGEST_LINE = 2000
"""Characters of a line that are shown."""


@dataclass(frozen=True, slots=True)
class Side:
    """What a task has at the place of a conflict: `start` is its first line there, which counts from 1."""

    start: int
    lines: tuple[str, ...]
    count: int

    def __str__(self) -> str:
        """Say which lines these are."""
        if not self.count:
            return f"after line {self.start - 1}"
        return f"line {self.start}" if self.count == 1 else f"lines {self.start}-{self.start + self.count - 1}"


@dataclass(frozen=True, slots=True)
class Hunk:
    """A place where two tasks conflict, as the first has it, and as the second has it."""

    ours: Side
    theirs: Side


@dataclass(frozen=True, slots=True)
class FileConflict:
    """A file in which two tasks conflict; without hunks, `note` says why there are none."""

    path: str
    hunks: tuple[Hunk, ...] = ()
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two tasks whose patches conflict: the earlier, `other`, and the later, `task`."""

    other: str
    task: str
    files: tuple[FileConflict, ...] = field(default=())
    note: str | None = None


def pairs_of(repository: Repository, conflict: Conflict, outcomes: Mapping[str, Outcome]) -> tuple[Pair, ...]:
    """Return where the later task of a conflict conflicts with each of the others."""
    *others, task = conflict.tasks
    return tuple(_pair(repository, other, task, outcomes) for other in others)


def _pair(repository: Repository, other: str, task: str, outcomes: Mapping[str, Outcome]) -> Pair:
    commits = [outcomes[name].commit if name in outcomes else None for name in (other, task)]
    if None in commits:
        return Pair(other, task, note="one of them has no commit any more")
    ours, theirs = (commit or "" for commit in commits)
    try:
        tree, files = repository.history.merge_tree(ours, theirs)
        if not files:
            return Pair(other, task, note="these two alone can be merged; with the others they cannot")
        found = tuple(_file(repository, tree, path, ours, theirs) for path in files)
    except GitError as error:
        return Pair(other, task, note=f"they cannot be read: {error}")
    return Pair(other, task, found)


def _file(repository: Repository, tree: str, path: str, ours: str, theirs: str) -> FileConflict:
    here, there = (repository.history.content(commit, path, MOST_BYTES) for commit in (ours, theirs))
    if here is None or there is None:
        one = "one removes it or makes it large, and the other changes it"
        return FileConflict(path, note="it is not a file of moderate size" if here is there else one)
    if b"\0" in here or b"\0" in there:
        return FileConflict(path, note="a binary file: choose one of both")
    merged = repository.history.content(tree, path, 2 * MOST_BYTES) or b""
    hunks = tuple(_hunks(_lines(merged), ours, theirs, (here, there)))
    note = None if hunks else "both change its name, its mode or what it is"
    return FileConflict(path, hunks[:MOST_HUNKS], note)


def _hunks(merged: Sequence[str], ours: str, theirs: str, files: tuple[bytes, bytes]) -> Iterator[Hunk]:
    """Yield the conflicts that a merge marked, with their lines in the files of both sides.

    https://git-scm.com/docs/git-merge#_how_conflicts_are_presented
    """
    whole = [_lines(file) for file in files]
    cursor = [0, 0]
    for before, sides, after in _marked(merged, ours, theirs):
        found = []
        for number, side in enumerate(sides):
            at = _locate(whole[number], side, before, after, cursor[number])
            cursor[number] = at + len(side)
            kept = tuple(line[:LONGEST_LINE] for line in side[:MOST_LINES])
            found.append(Side(at + 1, kept, len(side)))
        yield Hunk(*found)


def _lines(content: bytes) -> list[str]:
    return content.decode("utf-8", "replace").split("\n")


def _marked(
    lines: Sequence[str], ours: str, theirs: str
) -> Iterator[tuple[str | None, tuple[list[str], list[str]], str | None]]:
    """Yield both sides of each conflict, with the line before and the line after it."""
    sides: tuple[list[str], list[str]] = ([], [])
    before: str | None = None
    inside: int | None = None
    for number, line in enumerate(lines):
        if inside is None and line.startswith("<<<<<<<") and ours in line:
            sides, inside = ([], []), 0
        elif inside is None:
            before = line
        elif inside == 0 and line.rstrip("\r") == "=======":
            inside = 1
        elif inside == 1 and line.startswith(">>>>>>>") and theirs in line:
            yield before, sides, lines[number + 1] if number + 1 < len(lines) else None
            before, inside = None, None
        else:
            sides[inside].append(line)


def _locate(
    file: Sequence[str], side: Sequence[str], before: str | None, after: str | None, cursor: int
) -> int:
    """Return where the lines of a side are in its file: between the same lines as in the merge, if possible."""
    length, best, most = len(side), cursor, -1
    for at in range(cursor, len(file) - length + 1):
        if list(file[at : at + length]) == list(side):
            fits = (before is None or (at > 0 and file[at - 1] == before)) + (
                after is None or (at + length < len(file) and file[at + length] == after)
            )
            if fits > most:
                best, most = at, fits
            if most == 2:  # noqa: PLR2004 - before and after
                break
    return best


def places(pair: Pair) -> str:
    """Return the files of a pair with the lines of the later task, in a few words; empty without any."""
    named = []
    for file in pair.files:
        where = ", ".join(str(hunk.theirs) for hunk in file.hunks[:3])
        more = f" and {len(file.hunks) - 3} more" if len(file.hunks) > 3 else ""  # noqa: PLR2004 - those named
        named.append(f"{file.path} ({where}{more})" if where else file.path)
    return ", ".join(named)


def what_helps(run: str, conflict: Conflict) -> str:
    """Return the commands that help with a conflict, in one sentence."""
    *others, task = conflict.tasks
    onto = " ".join(f"--onto {other}" for other in others)
    return (
        f"`patchyard retry {run} {task} {onto}` runs task {task} again on top of {' and '.join(others)}; "
        f"`patchyard diff {run} {task}` shows both sides"
    )
