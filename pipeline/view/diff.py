"""Parse a git patch into files, hunks and numbered lines."""

from collections.abc import Iterator
from dataclasses import field

from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.patch_data import PatchData

MOST_LINES = 4000
"""Lines of a patch that are shown."""
MOST_BYTES = 8_000_000
"""Bytes of a patch that are read to show it."""
LONGEST_LINE = 2000
"""Characters of a line that are shown."""
_HUNK = regex(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@(.*)")
_ESCAPE = regex(r'\\([0-7]{3}|[abfnrtv"\\])')
_ESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, '"': 34, "\\": 92}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a hunk: `kind` is `add`, `del`, `same` or `note`; `old` and `new` are 1-based line numbers."""

    kind: str
    text: str
    old: int | None = None
    new: int | None = None


@dataclass(slots=True)
class Hunk:
    """A hunk; `header` is the text after the second `@@`, usually the enclosing function."""

    header: str
    lines: list[Line] = field(default_factory=list)


@dataclass(slots=True)
class FileDiff:
    """A changed file: `action` is `added`, `deleted` or `modified`; `notes` name its mode or `binary`."""

    path: str
    action: str = "modified"
    added: int = 0
    removed: int = 0
    notes: list[str] = field(default_factory=list)
    hunks: list[Hunk] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Diff:
    """A parsed patch; `left_out` is the number of lines that are not shown, of those that were read.

    `unread` is the size of the rest in bytes, which may have more files.
    """

    files: tuple[FileDiff, ...]
    left_out: int = 0
    unread: int = 0

    @property
    def added(self) -> int:
        """Number of added lines."""
        return sum(file.added for file in self.files)

    @property
    def removed(self) -> int:
        """Number of removed lines."""
        return sum(file.removed for file in self.files)


def parse_diff(diff: PatchData, *, most: int = MOST_LINES) -> Diff:
    """Parse the first `MOST_BYTES` of a patch made by `git diff`. Blocking.

    At most `most` of their lines are kept; all are counted. Any other input is not an error; lines outside a
    file are ignored.
    """
    reader, size = _Reader(most), 0
    for line in diff.lines():
        if size > MOST_BYTES:
            break
        reader.feed(line.decode("utf-8", "replace"))
        size += len(line) + 1
    return Diff(tuple(reader.files), reader.left_out, max(0, diff.size - size))


class _Reader:
    """Parser state, fed line by line. Format: https://git-scm.com/docs/diff-format."""

    def __init__(self, most: int) -> None:
        self.files: list[FileDiff] = []
        self.left_out = 0
        self._most = most
        self._kept = 0
        self._old = self._new = 0
        self._hunk: Hunk | None = None
        self._rest = [0, 0]  # remaining lines of the hunk, old and new

    def feed(self, line: str) -> None:
        """Read the next line."""
        if self._hunk is not None and (any(self._rest) or line.startswith("\\")):
            self._in_hunk(self._hunk, line)
        elif line.startswith("diff --git "):
            self.files.append(FileDiff(_name(line)))
            self._hunk = None
        elif self.files:
            self._in_head(self.files[-1], line)

    def _in_head(self, file: FileDiff, line: str) -> None:
        if found := _HUNK.match(line):
            self._old, self._new = int(found[1]), int(found[2])
            self._rest = _sizes(line)
            self._hunk = Hunk(line.split("@@")[2].strip())
            if self._kept < self._most:
                file.hunks.append(self._hunk)
            return
        self._hunk = None
        if line.startswith("new file mode "):
            file.action = "added"
            file.notes += _mode(line)
        elif line.startswith("deleted file mode "):
            file.action = "deleted"
        elif line.startswith("new mode "):
            file.notes += _mode(line) or ["no longer executable"]
        elif line.startswith(("GIT binary patch", "Binary files ")):
            file.notes.append("binary")
        elif line.startswith(("+++ ", "--- ")) and not line.endswith("/dev/null"):
            file.path = _unquoted(line[4:].rstrip("\t"))[2:]

    def _in_hunk(self, hunk: Hunk, line: str) -> None:
        file, sign, text = self.files[-1], line[:1], line[1:]
        if sign == "+":
            found = Line("add", text, None, self._new)
            file.added += 1
        elif sign == "-":
            found = Line("del", text, self._old, None)
            file.removed += 1
        elif sign == "\\":
            found = Line("note", text.strip())
        else:
            found = Line("same", text, self._old, self._new)
        self._old += sign in "- "
        self._new += sign in "+ "
        self._rest[0] -= sign in "- "
        self._rest[1] -= sign in "+ "
        if self._kept < self._most:
            cut = len(text) > LONGEST_LINE
            hunk.lines.append(
                Line(found.kind, f"{text[:LONGEST_LINE]}…", found.old, found.new) if cut else found
            )
            self._kept += 1
        else:
            self.left_out += 1


def _sizes(line: str) -> list[int]:
    """Return the number of old and new lines that a hunk header declares."""
    parts = line.split(" ")[1:3]
    return [int(part.partition(",")[2] or 1) for part in parts]


def _mode(line: str) -> list[str]:
    mode = line.rsplit(" ", 1)[1]
    return {"100755": ["executable"], "120000": ["symbolic link"], "160000": ["submodule"]}.get(mode, [])


def _name(line: str) -> str:
    """Return the path of a `diff --git a/… b/…` line; both paths are equal, as renames are not detected."""
    rest = line.removeprefix("diff --git ")
    if rest.startswith('"'):
        return _unquoted(rest[: len(rest) // 2])[2:]
    return rest[: len(rest) // 2][2:]


def _unquoted(path: str) -> str:
    """Return a path without the C-style quotes that git adds to unusual names (`core.quotePath`)."""
    if not (path.startswith('"') and path.endswith('"')):
        return path
    return bytes(_bytes(path[1:-1])).decode("utf-8", "replace")


def _bytes(text: str) -> Iterator[int]:
    at = 0
    for found in _ESCAPE.finditer(text):
        yield from text[at : found.start()].encode()
        code = found[1]
        yield _ESCAPES[code] if code in _ESCAPES else int(code, 8)
        at = found.end()
    yield from text[at:].encode()
