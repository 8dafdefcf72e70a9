"""The patches of all tasks, put together in one commit."""

import pytest
from repositories import Clone

from containers.git import Repository
from pipeline.together import ApartError, unite
from tasks.model import Outcome, Status


def change(clone: Clone, base: str, task: str, files: dict[str, str]) -> Outcome:
    """Return the outcome of a task that wrote these files."""
    clone.git("checkout", "--quiet", "--detach", base)
    commit = clone.commit(files)
    return Outcome(task=task, title="", batch=1, status=Status.CHANGED, files=tuple(files), commit=commit)


def test_what_goes_together_is_one_commit(clone: Clone) -> None:
    base = clone.head
    outcomes = [change(clone, base, "1", {"s": "1\n"}), change(clone, base, "2", {"t": "2\n"})]
    outcomes.append(Outcome(task="3", title="", batch=1, status=Status.UNCHANGED))
    united = unite(Repository.open(clone.path, clone.user.environ), base, outcomes)
    assert clone.git("diff", "--name-only", base, united).split() == ["s", "t"]


def test_a_conflict_names_the_tasks_that_it_is_about(clone: Clone) -> None:
    base = clone.head
    written = {"1": {"s": "1\n"}, "2": {"t": "2\n"}, "3": {"s": "3\n", "u": "3\n"}}
    outcomes = [change(clone, base, task, files) for task, files in written.items()]
    with pytest.raises(ApartError, match=r"^task 3 conflicts with 1 in s$"):
        unite(Repository.open(clone.path, clone.user.environ), base, outcomes)
