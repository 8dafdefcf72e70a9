"""The patches of all tasks, put together in one commit."""

import os
from pathlib import Path

import pytest
from repositories import Clone, contents

from containers.git.repository import Repository
from pipeline.dagger_module.changeset import MergeConflictError, merge_outcomes, write_changeset
from tasks.outcome import Outcome, Status


def change(clone: Clone, base: str, task: str, files: dict[str, str]) -> Outcome:
    """Return the outcome of a task that wrote these files."""
    clone.git("checkout", "--quiet", "--detach", base)
    commit = clone.commit(files)
    return Outcome(task=task, title="", batch=1, status=Status.CHANGED, files=tuple(files), commit=commit)


def test_what_goes_together_is_one_commit(clone: Clone) -> None:
    base = clone.head
    outcomes = [change(clone, base, "1", {"s": "1\n"}), change(clone, base, "2", {"t": "2\n"})]
    outcomes.append(Outcome(task="3", title="", batch=1, status=Status.UNCHANGED))
    united = merge_outcomes(Repository.open(clone.path, clone.user.environ), base, outcomes)
    assert clone.git("diff", "--name-only", base, united).split() == ["s", "t"]


def test_a_conflict_names_the_tasks_that_it_is_about(clone: Clone) -> None:
    base = clone.head
    written = {"1": {"s": "1\n"}, "2": {"t": "2\n"}, "3": {"s": "3\n", "u": "3\n"}}
    outcomes = [change(clone, base, task, files) for task, files in written.items()]
    with pytest.raises(MergeConflictError, match=r"^task 3 conflicts with 1 in s$"):
        merge_outcomes(Repository.open(clone.path, clone.user.environ), base, outcomes)


def test_what_is_laid_out_is_what_changed_and_nothing_else(clone: Clone, tmp_path: Path) -> None:
    base = clone.commit({"d/gone": "1", "d/stays": "1", "kind/a": "1", "edited": "1", "e/gone": "1"})
    clone.git("rm", "--quiet", "-r", "d/gone", "kind", "e")
    united = clone.commit({"kind": "2", "edited": "2", "new/file": "2"})
    repository = Repository.open(clone.path, clone.user.environ)
    together = write_changeset(repository, base, united, tmp_path / "changes")
    names = {path: sorted(contents(path)) for path in (together.before, together.after)}
    assert names[together.before] == ["d/gone", "e/gone", "edited", "kind/a"]
    # What is in a directory beside the files that git knows of stays, and so does the directory.
    assert names[together.after] == ["d", "e", "edited", "kind", "new/file"]
    assert (together.after / "d").is_dir()


@pytest.mark.parametrize("name", [b"back\\slash", b"\xff"])
def test_a_name_that_the_engine_cannot_have_is_refused(clone: Clone, tmp_path: Path, name: bytes) -> None:
    (clone.path / os.fsdecode(name)).write_text("x")
    base = clone.commit()
    (clone.path / os.fsdecode(name)).unlink()
    repository = Repository.open(clone.path, clone.user.environ)
    with pytest.raises(
        MergeConflictError, match=r"^(back.slash|\N{REPLACEMENT CHARACTER}) cannot be among the changes, since"
    ):
        write_changeset(repository, base, clone.commit(), tmp_path / "changes")
