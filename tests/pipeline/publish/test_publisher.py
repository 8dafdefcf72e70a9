"""Publishing over a real transport: what is pushed, what is opened, and that once more does no harm."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from github_rules import Pull, Repo
from github_server import TOKEN, Fault, GitHubServer
from repositories import Clone, User
from repositories import make_repository as make

from containers.git.remote.remotes import Remote
from containers.git.repository import Repository
from pipeline.forge.base import ForgeError
from pipeline.forge.github_client import GitHub
from pipeline.forge.github_connect import connect
from pipeline.forge.note import without_note
from pipeline.publish.branch_pusher import Branch
from pipeline.publish.publication import Destination, Failure, Publication, PublishedDependency
from pipeline.publish.publisher import publish, target_branch
from tasks.outcome import PullRequest

NAME = "octo/demo"
RUN = "Patchyard-Run: r-1"


@dataclass
class World:
    """A user's clone of a repository on GitHub, and what was published from it."""

    clone: Clone
    server: GitHubServer
    forge: GitHub
    repository: Repository
    hub: Repo
    pushed: dict[str, str] = field(default_factory=dict)  # what the store would know
    requests: dict[str, PullRequest] = field(default_factory=dict)

    def commit(self, files: dict[str, str], onto: str, message: str = "change", run: str = RUN) -> str:
        """Make a commit as a task does: nothing of the checkout changes."""
        tree = self._tree(onto, files)
        return self.clone.git("commit-tree", tree, "-p", onto, "-m", f"{message}\n\nPlan-Task: 1\n{run}")

    def _tree(self, onto: str, files: dict[str, str]) -> str:
        entries = dict(line.split("\t")[::-1] for line in self.clone.git("ls-tree", onto).splitlines())
        for name, content in files.items():
            blob = self.clone.git("hash-object", "-w", "--stdin", stdin=content.encode())
            entries[name] = f"100644 blob {blob}"
        listing = "".join(f"{entry}\t{name}\n" for name, entry in entries.items())
        return self.clone.git("mktree", stdin=listing.encode())

    def merge(self, ours: str, theirs: str) -> str:
        """Put two tasks' commits together, as the end of a batch does."""
        merge = self.repository.merge(ours, theirs, f"batch 1\n\n{RUN}\n")
        assert merge.commit
        return merge.commit

    def task(self, task: str, commit: str, **more: object) -> Publication:
        """What the flow hands over for a task."""
        one = Publication(
            task, self.branch(f"patchyard/plan/{task}", commit), f"Task {task}", f"Body of {task}"
        )
        return replace(one, **more)  # type: ignore[arg-type]  # the fields by name

    def branch(self, name: str, commit: str) -> Branch:
        return Branch(name, commit, self.pushed.get(name))

    def publish(
        self, *publications: Publication, auto_merge: bool = False, replaced: tuple[str, ...] = ()
    ) -> tuple[Failure, ...]:
        """Publish, with what the store knows by now."""
        fresh = [
            replace(
                one,
                branch=replace(one.branch, last_pushed=self.pushed.get(one.branch.name)),
                base=one.base and replace(one.base, last_pushed=self.pushed.get(one.base.name)),
            )
            for one in publications
        ]
        return publish(
            self.destination(auto_merge=auto_merge),
            fresh,
            on_pushed=self.pushed.__setitem__,
            on_request=lambda request: self.requests.__setitem__(request.task, request),
            replaced=replaced,
        )

    def destination(self, *, auto_merge: bool) -> Destination:
        credential = self.forge.credential(self.repository.remote("origin").url())
        return Destination(self.repository, self.forge, "origin", "main", credential, auto_merge)

    @property
    def pulls(self) -> list[Pull]:
        return self.server.pull_requests(NAME)


@pytest.fixture
def world(github: GitHubServer, clone: Clone, user: User) -> Iterator[World]:
    github.add_repository(NAME)
    hub = github.repository(NAME)
    clone.git("remote", "add", "origin", str(hub.path))
    clone.git("push", "-q", "origin", "main")
    clone.git("remote", "set-url", "origin", github.clone_url(NAME))
    forge = GitHub(github.url, NAME, TOKEN, between_requests=0, between_writes=0, backoff=0)
    yield World(clone, github, forge, Repository.open(clone.path, user.environ), hub)
    forge.close()


@pytest.fixture
def stack(world: World) -> tuple[Publication, Publication, Publication]:
    """Two tasks of batch 1, and one of batch 2 that builds on both."""
    main = world.clone.head
    one = world.commit({"one.txt": "1\n"}, main)
    two = world.commit({"two.txt": "2\n"}, main)
    batch = world.merge(one, two)
    three = world.commit({"three.txt": "3\n"}, batch)
    first, second = world.task("1.1", one), world.task("1.2", two)
    below = (PublishedDependency("1.1", first.branch.name), PublishedDependency("1.2", second.branch.name))
    base = world.branch("patchyard/plan/batch-1", batch)
    return first, second, world.task("2.1", three, base=base, builds_on=below)


def shown(pull: Pull) -> str:
    """The body as a reader sees it."""
    return without_note(pull.body or "").rstrip()


def test_a_task_is_pushed_with_the_token_and_gets_a_pull_request(world: World) -> None:
    before = world.clone.git("status", "--porcelain", "--branch")
    commit = world.commit({"one.txt": "1\n"}, world.clone.head)
    assert world.publish(world.task("1.1", commit)) == ()
    assert world.hub.tip("patchyard/plan/1.1") == commit
    (pull,) = world.pulls
    assert (pull.title, shown(pull), pull.head, pull.base) == (
        "Task 1.1",
        "Body of 1.1",
        "patchyard/plan/1.1",
        "main",
    )
    assert world.requests["1.1"].url == f"{world.server.web}/octo/demo/pull/1"
    assert world.pushed == {"patchyard/plan/1.1": commit}
    assert world.clone.git("status", "--porcelain", "--branch") == before


def test_the_token_is_in_no_url_and_in_no_file_of_the_repository(world: World) -> None:
    world.publish(world.task("1.1", world.commit({"one.txt": "1\n"}, world.clone.head)))
    assert world.server.calls("POST", "git-receive-pack")
    assert all(TOKEN not in call.target for call in world.server.requests)
    stored = [path for path in (world.clone.path / ".git").rglob("*") if path.is_file()]
    assert [path for path in stored if TOKEN.encode() in path.read_bytes()] == []


def test_second_publication_changes_nothing(world: World, stack: tuple[Publication, ...]) -> None:
    assert world.publish(*stack) == ()
    writes = len(world.server.calls("POST", ""))
    numbers = {task: request.number for task, request in world.requests.items()}
    assert world.publish(*stack) == ()
    assert world.server.calls("POST", "")[writes:] == world.server.calls("POST", "git-upload-pack$")[-1:]
    assert world.server.calls("PATCH", "") == []
    assert {task: request.number for task, request in world.requests.items()} == numbers
    assert len(world.pulls) == 3


def test_repeated_task_updates_its_branch_and_pull_request(world: World) -> None:
    world.publish(world.task("1.1", world.commit({"one.txt": "1\n"}, world.clone.head)))
    again = world.commit({"one.txt": "better\n"}, world.clone.head)
    assert world.publish(world.task("1.1", again, title="Other", body="Asked again")) == ()
    (pull,) = world.pulls
    assert (pull.head_commit, pull.title, shown(pull)) == (again, "Other", "Asked again")
    assert world.requests["1.1"].action == "updated"


def test_pull_request_on_a_batch_branch_shows_only_its_own_change(
    world: World, stack: tuple[Publication, ...]
) -> None:
    assert world.publish(*reversed(stack)) == ()
    third = next(pull for pull in world.pulls if pull.head == "patchyard/plan/2.1")
    assert third.base == "patchyard/plan/batch-1"
    assert world.hub.git("diff", "--name-only", f"{third.base}...{third.head}") == "three.txt"
    links = {task: f"- [#{one.number}]({one.url}) (task {task})\n" for task, one in world.requests.items()}
    assert shown(third) == f"Depends on\n\n{links['1.1']}{links['1.2']}\nBody of 2.1"


def test_link_to_a_stored_pull_request(world: World, stack: tuple[Publication, ...]) -> None:
    world.publish(*stack[:2])
    below = [replace(one, request=world.requests[one.task]) for one in stack[2].builds_on]
    assert world.publish(replace(stack[2], builds_on=tuple(below))) == ()
    assert "[#1](" in (world.pulls[2].body or "")
    assert "[#2](" in (world.pulls[2].body or "")


def test_base_is_the_target_when_all_dependencies_are_merged(
    world: World, stack: tuple[Publication, ...]
) -> None:
    world.publish(*stack)
    for pull in world.pulls[:2]:
        world.hub.merge("octocat", pull, {})
    assert world.publish(*stack) == ()
    assert [(pull.base, pull.state) for pull in world.pulls] == [
        ("main", "closed"),
        ("main", "closed"),
        ("main", "open"),
    ]
    assert [world.requests[task].action for task in ("1.1", "1.2", "2.1")] == ["merged", "merged", "updated"]


def test_base_is_kept_while_a_dependency_is_not_merged(world: World, stack: tuple[Publication, ...]) -> None:
    world.publish(*stack)
    world.hub.merge("octocat", world.pulls[0], {})
    assert world.publish(*stack) == ()
    assert world.pulls[2].base == "patchyard/plan/batch-1"


def test_merged_task_with_deleted_branch_is_still_merged(world: World, stack: tuple[Publication, ...]) -> None:
    world.publish(*stack[:1])
    world.hub.merge("octocat", world.pulls[0], {"merge_method": "squash"})
    world.hub.git("update-ref", "-d", "refs/heads/patchyard/plan/1.1")
    assert world.publish(*stack[:1]) == ()
    assert world.hub.tip("patchyard/plan/1.1") is None
    assert len(world.pulls) == 1


@pytest.mark.parametrize("forgotten", [False, True])
@pytest.mark.parametrize("deleted", [False, True])
def test_closed_pull_request_stays_closed(
    world: World, stack: tuple[Publication, ...], *, forgotten: bool, deleted: bool
) -> None:
    """Also where a person deleted its branch, and from a fresh clone."""
    name = stack[0].branch.name
    world.publish(*stack)
    world.pulls[0].state = "closed"
    if deleted:
        world.hub.git("update-ref", "-d", f"refs/heads/{name}")
    if forgotten:
        world.pushed.clear()
    again = world.commit({"one.txt": "better\n"}, world.clone.head)
    assert world.publish(world.task("1.1", again), *stack[1:]) == ()
    assert [pull.state for pull in world.pulls] == ["closed", "open", "open"]
    assert world.hub.tip(name) == (None if deleted else stack[0].branch.commit)
    request = world.requests["1.1"]
    assert (request.action, request.number) == ("closed", 1)
    (note,) = request.notes
    assert note.startswith(
        "it was closed without a merge and stays closed, and its branch was not pushed; reopen"
    )


def test_reopened_pull_request_is_updated(world: World, stack: tuple[Publication, ...]) -> None:
    world.publish(*stack[:1])
    world.pulls[0].state = "closed"
    world.publish(*stack[:1])
    world.hub.pulls[0].state = "open"
    again = world.commit({"one.txt": "better\n"}, world.clone.head)
    assert world.publish(world.task("1.1", again)) == ()
    assert [(pull.state, pull.head_commit) for pull in world.pulls] == [("open", again)]


def test_what_a_person_wrote_stays(world: World, stack: tuple[Publication, ...]) -> None:
    world.publish(*stack[:1])
    pull = world.pulls[0]
    pull.title, pull.body = "A better title", (pull.body or "").replace("Body of 1.1", "In other words")
    again = world.commit({"one.txt": "better\n"}, world.clone.head)
    assert world.publish(world.task("1.1", again, title="Other", body="Asked again")) == ()
    assert (world.pulls[0].title, shown(world.pulls[0])) == ("A better title", "In other words")
    world.pushed.clear()  # its note names the new commit
    third = world.commit({"one.txt": "best\n"}, world.clone.head)
    assert world.publish(world.task("1.1", third)) == ()
    assert world.hub.tip("patchyard/plan/1.1") == third


def test_a_ticked_box_stays_ticked(world: World, stack: tuple[Publication, ...]) -> None:
    boxes = "Body\n\n- [ ] The page looks right\n- [ ] Nobody waits"
    world.publish(replace(stack[0], body=boxes))
    pull = world.pulls[0]
    pull.body = (
        (pull.body or "").replace("[ ] The", "[x] The").replace("\n", "\r\n")
    )  # as GitHub's page sends it
    writes = len(world.server.calls("PATCH", ""))
    assert world.publish(replace(stack[0], body=boxes)) == ()
    assert len(world.server.calls("PATCH", "")) == writes
    again = world.commit({"one.txt": "better\n"}, world.clone.head)
    assert world.publish(world.task("1.1", again, body=f"New\n\n{boxes}\n- [ ] More")) == ()
    assert shown(world.pulls[0]) == (
        "New\n\nBody\n\n- [x] The page looks right\n- [ ] Nobody waits\n- [ ] More"
    )


# Whose branch it is


def person_pushes(world: World, branch: str) -> str:
    return world.hub.write(branch, {"theirs.txt": "mine\n"}, "a person's work")


def test_a_branch_that_a_person_pushed_to_is_left_alone(world: World, stack: tuple[Publication, ...]) -> None:
    world.publish(*stack[:2])
    theirs = person_pushes(world, "patchyard/plan/1.1")
    again = world.commit({"one.txt": "better\n"}, world.clone.head)
    (failure,) = world.publish(world.task("1.1", again), world.task("1.2", stack[1].branch.commit))
    assert world.hub.tip("patchyard/plan/1.1") == theirs
    assert (failure.task, failure.branch) == ("1.1", "patchyard/plan/1.1")
    assert failure.reason == (
        "branch patchyard/plan/1.1 on origin has commits that patchyard did not make, so it was not changed "
        f"({theirs[:10]}); look at it, and replace it with `patchyard publish RUN --replace {theirs[:10]}`, "
        "merge or delete it there, or choose other branch names with --branch"
    )
    assert str(failure) == f"task 1.1 (patchyard/plan/1.1) was not published: {failure.reason}"


def test_a_commit_that_a_person_amended_is_left_alone(world: World, stack: tuple[Publication, ...]) -> None:
    """Its message still says that this program made it, but it is not what was pushed."""
    world.publish(*stack[:1])
    amended = world.hub.write("patchyard/plan/1.1", {"one.txt": "mine\n"}, f"change\n\n{RUN}")
    (failure,) = world.publish(world.task("1.1", world.commit({"one.txt": "better\n"}, world.clone.head)))
    assert "has commits that patchyard did not make" in failure.reason
    assert world.hub.tip("patchyard/plan/1.1") == amended


def test_a_fresh_clone_overwrites_only_what_a_pull_request_notes(
    world: World, stack: tuple[Publication, ...]
) -> None:
    """Another clone has no record of a push, and an amended commit keeps its trailers."""
    world.publish(*stack)
    amended = world.hub.write("patchyard/plan/1.2", {"two.txt": "mine\n"}, f"change\n\n{RUN}")
    world.pushed.clear()
    one, two = (world.commit({name: "better\n"}, world.clone.head) for name in ("one.txt", "two.txt"))
    batch = world.merge(one, stack[1].branch.commit)
    third = world.commit({"three.txt": "better\n"}, batch)
    base = world.branch("patchyard/plan/batch-1", batch)

    tasks = (world.task("1.1", one), world.task("1.2", two), replace(world.task("2.1", third), base=base))
    (failure,) = world.publish(*tasks)

    assert failure.task == "1.2"
    assert "has commits that patchyard did not make" in failure.reason
    assert world.hub.tip("patchyard/plan/1.1") == one
    assert world.hub.tip("patchyard/plan/1.2") == amended
    assert world.hub.tip("patchyard/plan/batch-1") == batch
    assert world.hub.tip("patchyard/plan/2.1") == third


@pytest.mark.parametrize("body", [None, "", "In other words", "<!-- patchyard {broken} -->"])
def test_a_fresh_clone_leaves_a_branch_without_a_note_alone(
    world: World, stack: tuple[Publication, ...], body: str | None
) -> None:
    world.publish(*stack[:1])
    world.pulls[0].body = body
    world.pushed.clear()
    (failure,) = world.publish(world.task("1.1", world.commit({"one.txt": "better\n"}, world.clone.head)))
    first = stack[0].branch.commit
    assert failure.reason == (
        "branch patchyard/plan/1.1 on origin has commits that neither this clone nor a pull request knows as "
        f"patchyard's, so it was not changed ({first[:10]}); look at it, and replace it with `patchyard "
        f"publish RUN --replace {first[:10]}`, merge or delete it there, or choose other branch names with "
        "--branch"
    )
    assert world.hub.tip("patchyard/plan/1.1") == first


def test_a_fresh_clone_replaces_the_same_commit_of_another_run(
    world: World, stack: tuple[Publication, ...]
) -> None:
    """An earlier version pushed it and left no note; nothing is lost, of its base neither."""
    world.publish(*stack)
    for pull in world.pulls:
        pull.body = "Body"
    world.pushed.clear()
    head, other = world.clone.head, {"run": "Patchyard-Run: r-2"}
    one, two = world.commit({"one.txt": "1\n"}, head, **other), world.commit({"two.txt": "2\n"}, head, **other)
    batch = world.repository.merge(one, two, "batch 1\n\nPatchyard-Run: r-2\n").commit or ""
    three = world.commit({"three.txt": "3\n"}, batch, **other)
    base = world.branch("patchyard/plan/batch-1", batch)
    assert (
        world.publish(
            world.task("1.1", one),
            world.task("1.2", two),
            replace(stack[2], branch=world.branch(stack[2].branch.name, three), base=base),
        )
        == ()
    )
    assert [world.hub.tip(f"patchyard/plan/{name}") for name in ("1.1", "1.2", "batch-1", "2.1")] == [
        one,
        two,
        batch,
        three,
    ]


@pytest.mark.parametrize("what", ["message", "file", "trailer", "plan"])
def test_a_fresh_clone_leaves_a_nearly_same_commit_alone(
    world: World, stack: tuple[Publication, ...], what: str
) -> None:
    world.publish(replace(stack[0], plan="Other plan") if what == "plan" else stack[0])
    if what != "plan":
        world.pulls[0].body = None
    world.pushed.clear()
    message = {"message": "reworded", "trailer": "change"}.get(what, "change")
    files = {"one.txt": "1\n", **({"more.txt": ""} if what == "file" else {})}
    if what != "plan":
        tail = "" if what == "trailer" else f"\n\nPlan-Task: 1\n{RUN}"
        world.hub.git("update-ref", "-d", "refs/heads/patchyard/plan/1.1")
        world.hub.write("patchyard/plan/1.1", files, f"{message}{tail}", onto="main")
        world.pulls[0].state = "open"
    tip = world.hub.tip("patchyard/plan/1.1")
    again = world.commit({"one.txt": "1\n"}, world.clone.head, run="Patchyard-Run: r-2")
    (failure,) = world.publish(world.task("1.1", again, plan="Plan"))
    assert "so it was not changed" in failure.reason
    assert world.hub.tip("patchyard/plan/1.1") == tip


def test_a_commit_that_the_user_names_is_replaced(world: World, stack: tuple[Publication, ...]) -> None:
    world.publish(*stack[:2])
    theirs = [person_pushes(world, f"patchyard/plan/{task}") for task in ("1.1", "1.2")]
    one, two = (world.commit({name: "better\n"}, world.clone.head) for name in ("one.txt", "two.txt"))
    tasks = (world.task("1.1", one), world.task("1.2", two))
    (failure,) = world.publish(*tasks, replaced=(theirs[0][:10],))
    assert failure.task == "1.2"
    assert world.hub.tip("patchyard/plan/1.1") == one
    assert world.hub.tip("patchyard/plan/1.2") == theirs[1]


def test_a_fresh_clone_leaves_the_branch_of_another_plan_alone(
    world: World, stack: tuple[Publication, ...]
) -> None:
    world.publish(replace(stack[0], plan="Fix bugs"))
    world.pushed.clear()
    again = world.commit({"one.txt": "better\n"}, world.clone.head)
    (failure,) = world.publish(world.task("1.1", again, plan="Fix: bugs!"))
    assert "so it was not changed" in failure.reason
    assert world.hub.tip("patchyard/plan/1.1") == stack[0].branch.commit


def test_a_commit_of_an_earlier_run_is_overwritten_without_a_record_of_its_push(
    world: World, stack: tuple[Publication, ...]
) -> None:
    """The program was killed after the push, and the run was repeated."""
    world.publish(*stack[:1])
    world.pulls.clear()
    world.pushed.clear()
    again = world.commit({"one.txt": "better\n"}, world.clone.head)
    made = Branch("patchyard/plan/1.1", again, made=frozenset({stack[0].branch.commit, again}))
    assert world.publish(replace(world.task("1.1", again), branch=made)) == ()
    assert world.hub.tip("patchyard/plan/1.1") == again


def test_branch_that_is_already_pushed_is_recorded(world: World, stack: tuple[Publication, ...]) -> None:
    """The program ended after the push, before it could keep what it had pushed."""
    world.publish(*stack[:1])
    world.pushed.clear()
    assert world.publish(*stack[:1]) == ()
    assert world.pushed == {"patchyard/plan/1.1": stack[0].branch.commit}


def test_concurrent_push_is_not_overwritten(
    world: World, stack: tuple[Publication, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Remote.push

    def push_after_the_person(remote, *arguments):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN202 - the signature of the original
        person_pushes(world, "patchyard/plan/1.1")
        return original(remote, *arguments)

    world.publish(*stack[:1])
    monkeypatch.setattr(Remote, "push", push_after_the_person)
    again = world.commit({"one.txt": "better\n"}, world.clone.head)
    (failure,) = world.publish(world.task("1.1", again))
    assert "somebody else pushed to patchyard/plan/1.1; it was not changed" in failure.reason
    assert world.hub.git("log", "-1", "--format=%s", "patchyard/plan/1.1") == "a person's work"


def test_foreign_base_branch_fails_its_dependents(world: World, stack: tuple[Publication, ...]) -> None:
    world.hub.write("patchyard/plan/batch-1", {"theirs.txt": "mine\n"}, "a person's work", onto="main")
    (failure,) = world.publish(*stack)
    assert failure.task == "2.1"
    assert failure.reason.startswith(
        "its base, the branch patchyard/plan/batch-1, could not be pushed: branch "
    )
    assert [pull.head for pull in world.pulls] == ["patchyard/plan/1.1", "patchyard/plan/1.2"]


def test_rejected_push_does_not_affect_other_tasks(world: World, stack: tuple[Publication, ...]) -> None:
    hook = world.hub.path / "hooks" / "update"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text('#!/bin/sh\ncase "$1" in */1.1) echo "no such branches here" >&2; exit 1;; esac\n')
    hook.chmod(0o755)
    (failure,) = world.publish(*stack)
    assert failure.task == "1.1"
    assert "no such branches here" in failure.reason
    assert [pull.head for pull in world.pulls] == ["patchyard/plan/1.2", "patchyard/plan/2.1"]
    hook.unlink()
    assert world.publish(*stack) == ()
    assert len(world.pulls) == 3


def decline(world: World, test: str, message: str) -> None:
    """Let the remote decline a whole push, as GitHub does, if a tip in it meets a shell condition on `$new`."""
    hook = world.hub.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(
        "#!/bin/sh\nbad=0\nwhile read -r old new ref; do\n"
        f'if {test}; then echo "{message}" >&2; bad=1; fi\ndone\nexit $bad\n'
    )
    hook.chmod(0o755)


def test_push_declined_as_a_whole_leaves_the_other_branches(
    world: World, stack: tuple[Publication, ...]
) -> None:
    decline(world, 'git ls-tree --name-only "$new" | grep -q -e two', "$ref: two is not allowed")
    more = [world.task(f"1.{n}", world.commit({f"{n}.txt": "1\n"}, world.clone.head)) for n in range(3, 8)]

    failures = world.publish(*stack, *more)

    assert [failure.task for failure in failures] == ["1.2", "2.1"]
    assert failures[0].reason == (
        "the remote declined the push to patchyard/plan/1.2 (pre-receive hook declined): "
        "refs/heads/patchyard/plan/1.2: two is not allowed"
    )
    assert "refs/heads/patchyard/plan/2.1: two is not allowed" in failures[1].reason
    assert {pull.head for pull in world.pulls} == {f"patchyard/plan/1.{n}" for n in (1, 3, 4, 5, 6, 7)}
    assert "patchyard/plan/1.2" not in world.pushed
    (world.hub.path / "hooks" / "pre-receive").unlink()
    assert world.publish(*stack, *more) == ()
    assert len(world.pulls) == 8


def test_each_declined_branch_has_its_own_reason(world: World, stack: tuple[Publication, ...]) -> None:
    decline(world, "true", "$ref is protected")

    failures = world.publish(*stack[:2])

    assert [failure.reason.partition(": ")[2] for failure in failures] == [
        "refs/heads/patchyard/plan/1.1 is protected",
        "refs/heads/patchyard/plan/1.2 is protected",
    ]


def test_base_is_pushed_before_the_branches_on_it(world: World, stack: tuple[Publication, ...]) -> None:
    """The remote takes one branch per push, and a branch of the second batch only on its base."""
    script = "cat > lines; [ $(wc -l < lines) = 1 ] || exit 1\nread -r old new ref < lines\n"
    script += (
        "case $ref in */2.1) git rev-parse -q --verify refs/heads/patchyard/plan/batch-1 || exit 1;; esac\n"
    )
    hook = world.hub.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\n{script}")
    hook.chmod(0o755)

    assert world.publish(*stack) == ()
    assert len(world.pulls) == 3


def test_damaged_commit_leaves_the_other_branches(world: World, stack: tuple[Publication, ...]) -> None:
    """Git fails before it sends anything, and reports no branch."""
    commit = stack[0].branch.commit
    (world.clone.path / ".git/objects" / commit[:2] / commit[2:]).unlink()

    (failure,) = world.publish(*stack[:2])

    assert failure.task == "1.1"
    assert [pull.head for pull in world.pulls] == ["patchyard/plan/1.2"]


def test_push_without_access_is_not_repeated(world: World, stack: tuple[Publication, ...]) -> None:
    world.server.repository(NAME).writers.clear()

    failures = world.publish(*stack)

    assert len(failures) == 3
    assert all("the token or account may not write there" in failure.reason for failure in failures)
    assert len(world.server.calls("GET", "/info/refs$")) <= 4  # with and without the token, to list and to push


# Failures half-way


def test_failed_task_is_published_by_the_next_call(world: World, stack: tuple[Publication, ...]) -> None:
    world.server.inject(Fault(status=422, message="odd", method="POST", path="/pulls$", skip=1))
    (failure,) = world.publish(*stack)
    assert failure.task == "1.2"
    assert "(422: odd)" in failure.reason
    assert sorted(world.requests) == ["1.1", "2.1"]
    assert world.publish(*stack) == ()
    assert [pull.head for pull in world.pulls] == [f"patchyard/plan/{task}" for task in ("1.1", "2.1", "1.2")]


def test_rate_limit_leaves_the_remaining_tasks_for_the_next_call(
    world: World, stack: tuple[Publication, ...]
) -> None:
    limit = Fault(status=403, message="API rate limit exceeded", method="POST", path="/pulls$", skip=1, times=9)
    limit.headers = {"Retry-After": "3600"}
    world.server.inject(limit)
    failures = world.publish(*stack)
    assert [failure.task for failure in failures] == ["1.2", "2.1"]
    assert all("the GitHub rate limit for octo/demo" in failure.reason for failure in failures)
    assert len(world.server.calls("POST", "/pulls$")) == 2
    world.server.faults.clear()
    assert world.publish(*stack) == ()
    assert len(world.pulls) == 3


def test_unreadable_remote_fails_every_task(world: World, stack: tuple[Publication, ...]) -> None:
    world.clone.git("remote", "set-url", "origin", world.server.clone_url("octo/nothing"))
    failures = world.publish(*stack)
    assert [failure.task for failure in failures] == ["1.1", "1.2", "2.1"]
    assert all("cannot use the remote origin" in failure.reason for failure in failures)
    assert world.pulls == []


# Auto-merge


def test_auto_merge_merges_a_task_and_then_its_dependents(world: World, stack: tuple[Publication, ...]) -> None:
    assert world.publish(*stack, auto_merge=True) == ()
    assert [world.requests[one.task].action for one in stack] == ["merged"] * 3
    assert [pull.base for pull in world.pulls] == ["main"] * 3
    assert world.hub.git("ls-tree", "--name-only", "main").split()[-3:] == ["src", "three.txt", "two.txt"]


def test_auto_merge_waits_for_required_checks(world: World, stack: tuple[Publication, ...]) -> None:
    world.hub.required = True
    assert world.publish(*stack, auto_merge=True) == ()
    assert [pull.auto_merge for pull in world.pulls] == ["merge", "merge", None]
    assert world.requests["2.1"].notes == (
        "`patchyard publish` enables auto-merge after its base, patchyard/plan/batch-1, is merged",
    )
    world.hub.complete_checks()
    world.hub.required = True
    assert world.publish(*stack, auto_merge=True) == ()
    assert [(pull.base, pull.auto_merge) for pull in world.pulls[2:]] == [("main", "merge")]


def test_failed_merge_keeps_the_pull_request(world: World, stack: tuple[Publication, ...]) -> None:
    world.server.inject(Fault(status=500, path="graphql$", times=99))
    failures = world.publish(*stack[:1], auto_merge=True)
    assert [failure.task for failure in failures] == ["1.1"]
    assert "cannot merge #1 in octo/demo" in failures[0].reason
    assert world.requests["1.1"].action == "opened"


# Where it goes


@pytest.mark.parametrize(
    ("base", "target"), [("main", "main"), ("release", "release"), ("mine", "main"), (None, "main")]
)
def test_target_is_the_base_branch_if_the_remote_has_it(world: World, base: str | None, target: str) -> None:
    world.hub.git("branch", "release", "main")
    world.clone.git("branch", "mine")
    credential = world.forge.credential(world.repository.remote("origin").url())
    assert target_branch(world.repository.remote("origin"), base, credential, world.forge) == target


Connect = Callable[..., GitHub]


@pytest.fixture
def connected(clone: Clone, user: User) -> Connect:
    """Set the remote, and connect."""

    def call(url: str | None, github: str | None = None, **environ: str) -> GitHub:
        if url:
            clone.git("remote", "add", "origin", url)
        repository = Repository.open(clone.path, user.environ)
        return connect({"PATH": "", **environ}, repository, "origin", github)

    return call


@pytest.mark.parametrize(
    ("url", "github", "environ", "expected"),
    [
        ("git@github.com:octo/demo.git", None, {}, "octo/demo on github.com"),
        ("https://github.com/octo/demo", "octo/other", {}, "octo/other on github.com"),
        ("/srv/git/demo.git", "octo/demo", {}, "octo/demo on github.com"),
        ("/srv/git/demo.git", "ghe.test/octo/demo", {"GH_HOST": "ghe.test"}, "octo/demo on ghe.test"),
        ("git@ghe.test:octo/demo.git", None, {"GH_ENTERPRISE_TOKEN": "t"}, "octo/demo on ghe.test"),
        (
            "git@github.com:octo/demo.git",
            None,
            {"GITHUB_API_URL": "http://127.0.0.1:8080"},
            "octo/demo on 127.0.0.1",
        ),
    ],
)
def test_connect_finds_the_repository(
    connected: Connect, url: str, github: str | None, environ: dict[str, str], expected: str
) -> None:
    assert repr(connected(url, github, GITHUB_TOKEN="ghp_x", **environ)) == f"GitHub({expected})"


@pytest.mark.parametrize(
    ("url", "github", "environ", "said"),
    [
        (
            None,
            None,
            {},
            "there is no remote origin to push to; add it with `git remote add origin URL`, or name",
        ),
        (
            "https://me:ghp_secret@gitlab.test/a/b/c.git",
            None,
            {},
            "the remote origin (https://gitlab.test/a/b/c.git) does not name a repository on GitHub; say which",
        ),
        ("/srv/git/demo.git", "demo", {}, "--github: 'demo' is not of the form owner/repo"),
        (
            "git@github.com:octo/demo.git",
            None,
            {},
            "there is no token for octo/demo on github.com: set GITHUB_TOKEN to one with write access",
        ),
        (
            "git@gitlab.test:octo/demo.git",
            None,
            {"GITHUB_TOKEN": "x"},
            "there is no token for octo/demo on gitlab.test: set GH_ENTERPRISE_TOKEN to one with write access",
        ),
        (
            "git@github.com:octo/demo.git",
            None,
            {"GITHUB_API_URL": "http://127.0.0.1:8080"},
            "there is no token for octo/demo on 127.0.0.1: set GITHUB_TOKEN to one with write access",
        ),
        (
            "git@github.com:octo/demo.git",
            None,
            {"GITHUB_TOKEN": "a b"},
            "the token for github.com contains invalid characters",
        ),
        (
            "git@github.com:octo/demo.git",
            None,
            {"GITHUB_API_URL": "nonsense"},
            "GITHUB_API_URL is 'nonsense'; expected",
        ),
    ],
)
def test_connect_explains_why_it_fails(
    connected: Connect, url: str | None, github: str | None, environ: dict[str, str], said: str
) -> None:
    with pytest.raises(ForgeError) as caught:
        connected(url, github, **environ)
    assert str(caught.value).startswith(said)


def test_url_rewritten_by_git(connected: Connect, user: User, tmp_path: Path) -> None:
    user.git("config", "--global", f"url.{tmp_path}/.insteadOf", "https://github.com/", cwd=user.home)
    forge = connected("https://github.com/octo/demo.git", GITHUB_TOKEN="ghp_x")
    assert repr(forge) == "GitHub(octo/demo on github.com)"
    assert forge.credential(f"{tmp_path}/octo/demo.git") is None


def test_path_as_remote_needs_no_credential(world: World, tmp_path: Path, user: User) -> None:
    other = make(user, tmp_path / "other", {"a.txt": "1\n"})
    other.git("remote", "add", "origin", str(world.hub.path))
    repository = Repository.open(other.path, user.environ)
    assert world.forge.credential(repository.remote("origin").url()) is None
