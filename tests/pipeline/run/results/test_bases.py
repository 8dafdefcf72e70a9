"""Start points and merges: which patches cannot conflict."""

from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
from anyio import create_task_group, to_thread
from repositories import Clone, CountedGit, User

from containers.git.repository import Repository
from pipeline.run.results.bases import Bases, _cannot_conflict
from tasks.model import Batch, Plan, Task
from tasks.outcome import Outcome, Patch, Status
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


def test_a_batch_that_is_merged_again_merges_each_pair_of_commits_once(
    clone: Clone, user: User, tmp_path: Path
) -> None:
    """A batch is merged after each of its reruns: with every pair merged each time, the time is cubic."""
    base, outcomes = clone.head, {}
    for number in range(1, 5):
        clone.git("checkout", "-q", "--detach", base)
        commit = clone.commit({"README.md": f"{number}\n"})
        outcomes[f"1.{number}"] = replace(outcome(("README.md",)), task=f"1.{number}", commit=commit)
    batch = Batch(1, "A", tuple(Task(task, "", 1) for task in outcomes))
    counted = CountedGit.at(tmp_path / "bin", user)
    bases = Bases(
        repository=Repository.open(clone.path, counted.environ),
        plan=Plan("plan", "Plan", "plan.md", (batch,)),
        base=base,
        run="r",
        branch=str,
        keep_going=False,
    )
    start = bases.batch_start(batch)
    first = bases.merged(batch, start, outcomes)
    assert [one.tasks for one in first.conflicts] == [("1.1", f"1.{number}") for number in (2, 3, 4)]
    counted.calls()
    assert bases.merged(batch, start, outcomes) == first
    assert [call for call in counted.calls() if "merge-tree" in call] == []
    hasty = bases.merged(batch, start, outcomes, is_hasty=True)
    assert (hasty.conflicts, hasty.undecided) == (first.conflicts[:1], ("1.3", "1.4"))


@pytest.mark.anyio
async def test_merging_a_batch_ends_when_its_run_is_cancelled(
    clone: Clone, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of thousands of patches takes minutes."""
    base, outcomes = clone.head, {}
    for number in range(1, 8):
        clone.git("checkout", "-q", "--detach", base)
        commit = clone.commit({f"new-{number}": "new\n"})
        outcomes[f"1.{number}"] = replace(outcome((f"new-{number}",)), task=f"1.{number}", commit=commit)
    first = Batch(1, "A", tuple(Task(task, "", 1) for task in outcomes))
    second = Batch(2, "B", (Task("2.1", "", 2),), dependencies=(1,))
    bases = Bases(
        repository=Repository.open(clone.path, user.environ),
        plan=Plan("plan", "Plan", "plan.md", (first, second)),
        base=base,
        run="r",
        branch=str,
        keep_going=False,
    )
    start = bases.batch_start(first)
    merge, merged = Repository.merge, list[str]()
    is_third, may_continue = Event(), Event()

    def counted(self: Repository, ours: str, theirs: str, *more: object) -> object:
        merged.append(theirs)
        if len(merged) == 3:
            is_third.set()
            assert may_continue.wait(20)
        return merge(self, ours, theirs, *more)  # type: ignore[arg-type]  # as given

    async def merge_all() -> None:
        await to_thread.run_sync(bases.merged, first, start, outcomes)

    monkeypatch.setattr(Repository, "merge", counted)
    async with create_task_group() as group:
        group.start_soon(merge_all)
        assert await to_thread.run_sync(is_third.wait, 20)
        group.cancel_scope.cancel()
        may_continue.set()

    assert len(merged) == 3
    monkeypatch.setattr(Repository, "merge", merge)
    result = bases.merged(first, start, outcomes)
    assert sorted(result.start.builds_on) == sorted(outcomes)
