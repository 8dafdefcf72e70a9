"""Ownership of branches: real repositories, a real store."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from time import sleep

import pytest
from project import PATIENCE
from repositories import Clone

from containers.git.repository import BranchMovedError, GitError, Repository
from pipeline.run.results.branches import Branches, branches_in_the_way
from pipeline.store.records import Run
from pipeline.store.store import Store
from tasks.outcome import Outcome, RunStatus, Status

NAME = "patchyard/demo/1.1"


@pytest.fixture
def repository(clone: Clone) -> Repository:
    """The user's repository."""
    return Repository.open(clone.path, clone.user.environ)


@pytest.fixture
def store(repository: Repository) -> Iterator[Store]:
    """Its store."""
    with Store.beside(repository.common) as opened:
        yield opened


def branches(repository: Repository, run: str = "new", template: str = "patchyard/{plan}/{task}") -> Branches:
    return Branches(repository, template, stored_run(run))


def stored_run(run: str, title: str = "Demo", path: str = "plan.md") -> Run:
    return Run(
        id=run,
        plan_path=path,
        plan_name="demo",
        plan_title=title,
        plan_text="",
        base="0" * 40,
        base_name="main",
        pool_size=1,
        status=RunStatus.RUNNING,
        started_at=datetime.now(UTC),
    )


def commit(repository: Repository, run: str, text: str = "a task") -> str:
    message = f"{text}\n\nPlan-Task: 1.1\nPatchyard-Run: {run}\n"
    head = repository.resolve("HEAD")
    return repository.commit(repository.tree(head), [head], message)


def record(store: Store, run: str, commit_id: str, title: str = "Demo") -> None:
    """Keep what a run has set the branch to."""
    store.open_run(stored_run(run, title))
    outcome = Outcome(task="1.1", title="A", batch=1, status=Status.CHANGED, branch=NAME, commit=commit_id)
    store.keep_outcome(run, 0, outcome, branches={NAME: commit_id})


def test_recorded_branch_is_moved(repository: Repository, store: Store, clone: Clone) -> None:
    old, new = commit(repository, "old"), commit(repository, "new")
    record(store, "old", old)
    clone.git("branch", NAME, old)
    ours = branches(repository)

    assert ours.load_existing(["1.1", "1.2"]) == {NAME: old}
    ours.check_ownership(store)
    ours.set(NAME, new)

    assert ours.refused == {}
    assert clone.git("rev-parse", NAME) == new


def test_branch_set_just_before_kill_is_moved(repository: Repository, store: Store, clone: Clone) -> None:
    record(store, "old", commit(repository, "old"))
    unrecorded = commit(repository, "killed")
    store.open_run(stored_run("killed"))
    store.announce_branches("killed", {NAME: unrecorded})
    clone.git("branch", NAME, unrecorded)
    ours = branches(repository)

    ours.load_existing(["1.1"])
    ours.check_ownership(store)

    assert ours.refused == {}


def test_branch_with_amended_commit_is_not_moved(repository: Repository, store: Store, clone: Clone) -> None:
    record(store, "old", commit(repository, "old"))
    clone.git("branch", NAME, commit(repository, "old", "amended by a person"))
    ours = branches(repository)

    ours.load_existing(["1.1"])
    ours.check_ownership(store)

    assert NAME in ours.refused
    with pytest.raises(GitError, match="has commits that patchyard did not make"):
        ours.set(NAME, commit(repository, "new"))


@pytest.mark.parametrize("ended", [True, False])
def test_branch_of_another_plan_is_not_moved(
    repository: Repository, store: Store, clone: Clone, *, ended: bool
) -> None:
    theirs = commit(repository, "other")
    if ended:
        record(store, "other", theirs, title="Demo!")
    else:
        store.open_run(stored_run("other", title="Demo!"))
        store.announce_branches("other", {NAME: theirs})
    clone.git("branch", NAME, theirs)
    ours = branches(repository)

    ours.load_existing(["1.1"])
    ours.check_ownership(store)

    assert ours.refused == {
        NAME: f"branch {NAME} belongs to another plan, 'Demo!'; name other branches with --branch"
    }


def test_branch_with_the_trailers_of_an_unknown_run_is_not_moved(
    repository: Repository, store: Store, clone: Clone
) -> None:
    clone.git("branch", NAME, commit(repository, "elsewhere"))
    ours = branches(repository)

    ours.load_existing(["1.1"])
    ours.check_ownership(store)

    assert NAME in ours.refused


def test_branch_moved_concurrently_by_another_run_is_refreshed(
    repository: Repository, store: Store, clone: Clone
) -> None:
    ours, new, other = branches(repository), commit(repository, "new"), commit(repository, "other")
    ours.load_existing(["1.1"])
    store.open_run(stored_run("other"))
    store.announce_branches("other", {NAME: other})
    clone.git("branch", NAME, other)

    with pytest.raises(BranchMovedError):
        ours.set(NAME, new)
    ours.refresh(store, NAME)
    ours.set(NAME, new)

    assert clone.git("rev-parse", NAME) == new


def test_branch_moved_concurrently_by_a_person_is_not_moved(
    repository: Repository, store: Store, clone: Clone
) -> None:
    ours = branches(repository)
    ours.load_existing(["1.1"])
    clone.git("branch", NAME, "main")

    with pytest.raises(BranchMovedError):
        ours.set(NAME, commit(repository, "new"))
    ours.refresh(store, NAME)

    with pytest.raises(GitError, match="has commits that patchyard did not make"):
        ours.set(NAME, commit(repository, "new"))
    assert clone.git("rev-parse", NAME) == clone.head


def test_branch_deleted_concurrently_is_created_again(
    repository: Repository, store: Store, clone: Clone
) -> None:
    old, new = commit(repository, "old"), commit(repository, "new")
    record(store, "old", old)
    clone.git("branch", NAME, old)
    ours = branches(repository)
    ours.load_existing(["1.1"])
    clone.git("branch", "-D", NAME)

    with pytest.raises(BranchMovedError):
        ours.set(NAME, new)
    ours.refresh(store, NAME)
    ours.set(NAME, new)

    assert clone.git("rev-parse", NAME) == new


def test_branch_names_follow_template(repository: Repository) -> None:
    named = branches(repository, run="20260101-000000-abcd", template="bot/{run}/{plan}/{task}")

    assert named.name("1.1") == "bot/20260101-000000-abcd/demo/1.1"
    assert named.name("batch-1") == "bot/20260101-000000-abcd/demo/batch-1"


@pytest.mark.parametrize("other", ["patchyard", "patchyard/demo", "patchyard/demo/1.1/mine"])
def test_branch_in_the_way_is_found_before_anything_is_set(
    repository: Repository, store: Store, clone: Clone, other: str
) -> None:
    clone.git("branch", other)
    ours = branches(repository)

    ours.load_existing(["1.1", "1.2"])
    ours.check_ownership(store)

    assert ours.refused[NAME] == (
        f"branch {NAME} cannot be created, because there is a branch {other}; rename that "
        f"(`git branch -m {other} NAME`), or name others with --branch"
    )
    assert ("patchyard/demo/1.2" in ours.refused) is not other.endswith("mine")


def test_branches_beside_or_below_other_names_are_not_in_the_way() -> None:
    existing = {"a", "b/c", "b/cd/e", "B"}

    assert branches_in_the_way(["a", "b/c", "b/d", "ab/c", "c/b/c"], existing) == {}
    assert branches_in_the_way(["a/x", "b/c/d/e", "b/cd"], existing) == {
        "a/x": "a",
        "b/c/d/e": "b/c",
        "b/cd": "b/cd/e",
    }


def test_a_branch_of_several_tasks_is_set_once(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tasks of a batch start from the same one; when a run is resumed, it may be gone."""
    calls, set_branch = list[str](), Repository.set_branch

    def counted(self: Repository, name: str, commit: str, expected: str | None) -> None:
        calls.append(name)
        sleep(0.05)
        set_branch(self, name, commit, expected)

    monkeypatch.setattr(Repository, "set_branch", counted)
    own, new = branches(repository), commit(repository, "new")
    name = own.name("batch-1")
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(own.restore, [name] * 4, [new] * 4))
    assert calls == [name]


def test_branches_are_set_side_by_side(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tasks of a wide pool may end together, and git writes each branch to the disk."""
    set_branch, both = Repository.set_branch, Barrier(2)

    def together(self: Repository, name: str, commit: str, expected: str | None) -> None:
        both.wait(PATIENCE)
        set_branch(self, name, commit, expected)

    monkeypatch.setattr(Repository, "set_branch", together)
    own, new = branches(repository), commit(repository, "new")
    names = [own.name("1.1"), own.name("1.2")]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(own.set, names, [new, new]))
    assert repository.branches("patchyard/") == dict.fromkeys(names, new)
