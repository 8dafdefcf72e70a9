"""How many lines a patch adds and removes."""

from tasks.lazy.patterns import regex
from tasks.patch_data import PatchData

_HUNK = regex(rb"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")


def count_lines(diff: PatchData) -> tuple[int, int]:
    """Return the numbers of lines that a patch made by `git diff` adds and removes. Blocking.

    A binary file has none, as in `git diff --numstat`.
    """
    added = removed = old = new = 0
    for line in diff.lines():
        if old > 0 or new > 0:
            sign = line[:1]
            if sign == b"+":
                new, added = new - 1, added + 1
            elif sign == b"-":
                old, removed = old - 1, removed + 1
            elif sign != b"\\":
                old, new = old - 1, new - 1
        elif line.startswith(b"@@ -") and (found := _HUNK.match(line)):
            old, new = int(found[1] or 1), int(found[2] or 1)
    return added, removed
