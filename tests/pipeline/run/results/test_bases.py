"""Start points and merges: which patches cannot conflict."""

import pytest

from pipeline.run.results.bases import _cannot_conflict
from tasks.model import Outcome, Patch, Status
from tasks.patch_data import InlineData

ADDED = b"diff --git a/f b/f\nnew file mode 100644\n"
DELETED = b"diff --git a/f b/f\ndeleted file mode 100644\n"


def outcome(files: tuple[str, ...], diff: bytes = ADDED) -> Outcome:
    """Return the outcome of a task that changed these files."""
    patch = Patch(start="0" * 40, tree="0" * 40, diff=InlineData(diff), files=files)
    return Outcome(task="1", title="", batch=1, status=Status.CHANGED, files=files, patch=patch)


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (("a",), ("b",), True),
        (("d/a",), ("d/b",), True),
        (("d/a",), ("dd",), True),
        (("a",), ("a",), False),
        (("d",), ("d/a",), False),
        (("d/e/a",), ("d",), False),
        (("x", "d/e/a"), ("y", "d/e"), False),
    ],
)
def test_overlapping_paths_may_conflict(
    one: tuple[str, ...], other: tuple[str, ...], *, together: bool
) -> None:
    assert _cannot_conflict([outcome(one), outcome(other)]) is together


def test_patch_with_deleted_file_may_conflict() -> None:
    assert not _cannot_conflict([outcome(("d/a",), DELETED), outcome(("e/b",))])


def test_single_patch_cannot_conflict() -> None:
    assert _cannot_conflict([])
    assert _cannot_conflict([outcome(("a",))])
