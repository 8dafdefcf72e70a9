"""What can be told of patches without a merge."""

import pytest

from pipeline.run.bases import _cannot_conflict
from tasks.model import Outcome, Patch, Status

ADDED = b"diff --git a/f b/f\nnew file mode 100644\n"
DELETED = b"diff --git a/f b/f\ndeleted file mode 100644\n"


def outcome(files: tuple[str, ...], diff: bytes = ADDED) -> Outcome:
    """Return the outcome of a task that changed these files."""
    patch = Patch(start="0" * 40, tree="0" * 40, diff=diff, files=files)
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
def test_paths_that_touch(one: tuple[str, ...], other: tuple[str, ...], *, together: bool) -> None:
    assert _cannot_conflict([outcome(one), outcome(other)]) is together


def test_a_file_that_is_removed_may_be_a_directory_that_is_renamed() -> None:
    assert not _cannot_conflict([outcome(("d/a",), DELETED), outcome(("e/b",))])


def test_one_patch_and_none_go_together() -> None:
    assert _cannot_conflict([])
    assert _cannot_conflict([outcome(("a",))])
