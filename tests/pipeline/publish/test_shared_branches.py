"""The branches that several tasks share, made with real git of commits as tasks make them."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from repositories import Clone, User

from containers.git.repository import Repository
from pipeline.publish.parts import Part
from pipeline.publish.shared_branches import Composed, Composer
from pipeline.store.records import Run, SharedBranch, StoredTask
from tasks.lineage import Lineage
from tasks.outcome import Outcome, RunStatus, Status


class Work:
    """A run's tasks, each with a commit."""

    def __init__(self, clone: Clone, repository: Repository) -> None:
        self.clone = clone
        self.repository = repository
        self.base = clone.head
        self.items: dict[str, StoredTask] = {}
        self.run = Run(
            *("r", "p", "p", "Plan", "", self.base, "main", 1, RunStatus.SUCCEEDED),
            started_at=datetime(2026, 1, 2, tzinfo=UTC),
        )

    def task(self, name: str, files: dict[str, str], *below: str, start: str | None = None) -> str:
        """Add a task that changes files, from the base, the last task that it builds on, or a commit."""
        tops = [self.items[one].outcome.commit for one in below]
        parent = start or (tops[-1] if tops else None) or self.base
        git = self.clone.git
        entries = dict(line.split("\t")[::-1] for line in git("ls-tree", parent).splitlines())
        for path, content in files.items():
            entries[path] = f"100644 blob {git('hash-object', '-w', '--stdin', stdin=content.encode())}"
        tree = git("mktree", stdin="".join(f"{entry}\t{path}\n" for path, entry in entries.items()).encode())
        commit = git("commit-tree", tree, "-p", parent, "-m", f"Do {name}\n\nPlan-Task: {name}")
        outcome = Outcome(name, f"Do {name}", 1, Status.CHANGED, branch=f"b/{name}", commit=commit)
        self.items[name] = StoredTask(outcome, builds_on=Lineage(below))
        return commit

    def merge(self, *names: str) -> str:
        """Merge tasks, as a start point is."""
        one, two = (self.items[name].outcome.commit or "" for name in names)
        commit = self.repository.merge(one, two, "batch").commit
        assert commit
        return commit

    def compose(
        self, *parts: Part, refused: dict[str, str] | None = None, known: tuple[SharedBranch, ...] = ()
    ) -> tuple[Composed, ...]:
        composer = Composer(
            self.repository,
            self.run,
            self.items,
            refused=refused or {},
            known={one.part: one for one in known},
            branch=lambda part: f"x/{part}",
        )
        return composer.compose(parts or [Part("plan", "", tuple(self.items))])

    def show(self, tip: str) -> dict[str, str]:
        names = self.clone.git("ls-tree", "--name-only", tip).split()
        return {name: self.clone.git("show", f"{tip}:{name}") for name in names if name.startswith("f")}

    def log(self, made: Composed) -> list[str]:
        """The subjects of the commits of a branch, oldest first."""
        return self.clone.git("log", "--reverse", "--format=%s", f"{made.start}..{made.tip}").splitlines()


@pytest.fixture
def work(clone: Clone, user: User) -> Work:
    return Work(clone, Repository.open(clone.path, user.environ))


def test_a_chain_is_the_commits_themselves(work: Work) -> None:
    one = work.task("1", {"f1": "1"})
    two = work.task("2", {"f1": "2"}, "1")
    before = work.clone.git("for-each-ref")

    (made,) = work.compose()

    assert (made.tip, made.tasks, made.left_out) == (two, ["1", "2"], {})
    assert work.clone.git("rev-list", f"{work.base}..{made.tip}").split() == [two, one]
    assert work.clone.git("for-each-ref") == before


def test_commits_keep_author_date_and_message_and_have_the_same_ids_again(work: Work) -> None:
    work.task("1", {"f1": "1"})
    two = work.task("2", {"f2": "2"})
    work.task("3", {"f3": "12"}, "1", "2", start=work.merge("1", "2"))

    (made,) = work.compose()

    assert work.log(made) == ["Do 1", "Do 2", "Do 3"]
    assert work.show(made.tip) == {"f1": "1", "f2": "2", "f3": "12"}
    shown = [
        work.clone.git("show", "-s", "--format=%an %ae %ad %cn %cd %B", name) for name in (two, f"{made.tip}~")
    ]
    assert shown[0] == shown[1]
    assert work.compose()[0].tip == made.tip


def test_an_author_that_git_would_not_take_again_is_kept(work: Work) -> None:
    """A report may have one."""
    work.task("1", {"f1": "1"})
    two = work.task("2", {"f2": "2"})
    content = work.clone.git("cat-file", "commit", two) + "\n"
    for role in ("author", "committer"):
        line = next(line for line in content.splitlines() if line.startswith(role))
        content = content.replace(line, f"{role} ... <> 1 +0100")
    odd = work.clone.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=content.encode())
    work.items["2"] = replace(work.items["2"], outcome=replace(work.items["2"].outcome, commit=odd))

    (made,) = work.compose()

    assert work.clone.git("show", "-s", "--format=%an|%ae|%cn|%at", made.tip) == "...||...|1"


def test_a_conflicting_task_and_what_builds_on_it_are_left_out(work: Work) -> None:
    work.task("1", {"f": "1"})
    work.task("2", {"f": "2", "f2": "2"})
    work.task("3", {"f3": "3"}, "2")
    work.task("4", {"f4": "4"}, "3")
    work.task("5", {"f5": "5"})

    (made,) = work.compose()

    assert made.tasks == ["1", "5"]
    assert made.left_out == {
        "2": "tasks 1 and 2 conflict in f",
        "3": "it builds on task 2, which is left out",
        "4": "it builds on task 3, which is left out",
    }
    assert work.show(made.tip) == {"f": "1", "f5": "5"}
    assert made.alone == {"2", "3", "4"}
    record = made.record(work.items)
    assert record.left_out == tuple(work.items[task].outcome.commit for task in ("2", "3", "4"))


def test_a_task_that_must_not_be_published_is_left_out(work: Work) -> None:
    work.task("1", {"f1": "1"})
    work.task("2", {"f2": "2"}, "1")
    work.task("3", {"f3": "3"})

    (made,) = work.compose(refused={"1": "it is too large"})

    assert made.tasks == ["3"]
    assert made.left_out == {"1": "it is too large", "2": "it builds on task 1, which is left out"}
    assert made.alone == set()


def test_new_tasks_are_put_on_top_of_what_was_there(work: Work) -> None:
    work.task("1", {"f1": "1"})
    work.items["2"] = StoredTask(Outcome("2", "Do 2", 1, Status.FAILED))
    work.task("3", {"f3": "3"})
    (first,) = work.compose()
    work.task("2", {"f2": "2"})
    work.items = {name: work.items[name] for name in ("1", "2", "3")}
    known = first.record(work.items)

    (made,) = work.compose(known=(known,))
    assert work.log(made) == ["Do 1", "Do 3", "Do 2"]
    assert work.clone.git("rev-parse", f"{made.tip}~") == first.tip

    gone = replace(known, tip="1" * 40)  # its objects are not here any more
    assert work.compose(known=(gone,))[0].tip == made.tip

    work.task("1", {"f1": "other"})
    (again,) = work.compose(known=(made.record({**work.items, "1": work.items["2"]}),))
    assert work.log(again) == ["Do 1", "Do 2", "Do 3"]


def test_groups_are_stacked_and_joined(work: Work) -> None:
    one, two = work.task("a1", {"f1": "1"}), work.task("b1", {"f2": "2"})
    work.task("c1", {"f3": "3"}, "a1", "b1", start=work.merge("a1", "b1"))
    work.task("d1", {"f4": "4"}, "a1", "c1")
    parts = [Part(name, name, (f"{name}1",)) for name in "abcd"]

    a, b, c, d = work.compose(*parts)

    assert (a.tip, b.tip) == (one, two)
    assert (c.start_branch, c.below) == ("x/c-base", ("a", "b"))
    assert work.clone.git("rev-parse", f"{c.start}^1", f"{c.start}^2").split() == [one, two]
    assert (d.start, d.start_branch, d.below) == (c.tip, "x/c", ("a", "b", "c"))
    assert work.show(d.tip) == {"f1": "1", "f2": "2", "f3": "3", "f4": "4"}
    assert [one.tip for one in work.compose(*parts)] == [a.tip, b.tip, c.tip, d.tip]


def test_a_group_without_a_commit_has_nothing_built_on_it(work: Work) -> None:
    work.items["a1"] = StoredTask(Outcome("a1", "Do a1", 1, Status.UNCHANGED))
    work.task("b1", {"f2": "2"})
    a, b = work.compose(Part("a", "a", ("a1",)), Part("b", "b", ("b1",)))
    assert (a.tasks, a.record(work.items).tip) == ([], None)
    assert (b.start, b.start_branch) == (work.base, None)


def test_a_group_does_not_start_from_what_only_a_left_out_task_builds_on(work: Work) -> None:
    work.task("a1", {"f1": "1"})
    work.task("b1", {"f2": "2"}, "a1")
    work.task("b2", {"f3": "3"})
    _, b = work.compose(Part("a", "", ("a1",)), Part("b", "", ("b1", "b2")), refused={"b1": "no"})
    assert (b.start, b.tasks) == (work.base, ["b2"])


def test_tasks_of_a_group_that_conflicts_with_another_below_are_left_out(work: Work) -> None:
    """Its other tasks are published on what can be joined."""
    work.task("a1", {"f": "1"})
    work.task("b1", {"f": "2"})
    work.task("c1", {"f3": "3"}, "a1")
    work.task("c2", {"f4": "4"}, "b1")

    _, _, c = work.compose(Part("a", "", ("a1",)), Part("b", "", ("b1",)), Part("c", "", ("c1", "c2")))

    assert (c.tasks, c.start_branch) == (["c1"], "x/a")
    assert c.left_out == {"c2": "it builds on task b1, whose group conflicts with others that it builds on"}
