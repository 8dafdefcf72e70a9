"""The result cache: the same work runs once, and other work is never a cache hit."""

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Callable

import pytest
from project import Done, Project, Record

from tasks.keys import canonical

COUNTED = 'echo x >> "$SHARED/$PATCHYARD_TASK.count"\n'
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def count(project: Project, task: str = "1.1") -> int:
    """How often a task ran."""
    path = project.shared / f"{task}.count"
    return path.read_text().count("x") if path.exists() else 0


def twice(project: Project, change: Callable[[], object], *options: str, script: str = "touch a") -> Done:
    """Run a task, change something, and run it again."""
    project.run(project.tasks({"1.1": COUNTED + script})).expect(0)
    change()
    return project.run(project.tasks({"1.1": COUNTED + script}), *options).expect(0)


def test_same_work_is_a_cache_hit_and_shown_as_cached(project: Project) -> None:
    scripts = {"1.1": COUNTED + "echo a > a", "1.2": COUNTED + "true", "2.1": COUNTED + "cat a > b"}
    first = project.run(project.tasks(scripts)).expect(0)

    second = project.run(project.tasks(scripts)).expect(0)
    table = project.call("run", project.tasks(scripts)).expect(0).out

    assert [count(project, task) for task in scripts] == [1, 1, 1]
    assert second.statuses == first.statuses == {"1.1": "changed", "1.2": "unchanged", "2.1": "changed"}
    assert all(second.outcome(task)["cached"] for task in scripts)
    assert project.show("patchyard/demo/2.1:b") == "a"
    assert project.branches()["patchyard/demo/2.1"] != first.outcome("2.1")["commit"]
    assert "changed, cached" in table
    assert "3 tasks from the cache in " in table
    patches = [project.call("diff", run).expect(0).out for run in (first.run, second.run)]
    assert patches[0] == patches[1] != ""


@pytest.mark.parametrize("script", ["touch a", "true"])
def test_unchanged_inputs_run_once(project: Project, script: str) -> None:
    twice(project, lambda: None, script=script)

    assert count(project) == 1


def other_base(project: Project) -> None:
    project.clone.write({"later": "x"})
    project.clone.git("add", "later")
    project.clone.git("commit", "--quiet", "-m", "later")


CHANGES: dict[str, Callable[[Project], object]] = {
    "the base's tree": other_base,
    "the environment": lambda project: project.configure('[environment]\nLEVEL = "2"\n'),
    "the set-up": lambda project: project.configure('[worktree]\nsetup = ["true"]\n'),
    "a file that is copied": lambda project: (project.root / ".env").write_text("X=2\n"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_changed_inputs_run_again(project: Project, what: str) -> None:
    (project.root / ".env").write_text("X=1\n")
    if what == "a file that is copied":
        project.configure('[worktree]\ncopy = [".env"]\n')
        twice(project, lambda: None)
        assert count(project) == 1

    twice(project, lambda: CHANGES[what](project))

    assert count(project) == 2


@pytest.mark.parametrize("field", ["**Implementation:** Other words.", "**Verification:**\n\n- `test -e a`"])
def test_changed_text_of_task_runs_again(project: Project, field: str) -> None:
    scripts = {"1.1": COUNTED + "touch a"}
    project.run(project.tasks(scripts)).expect(0)

    project.run(project.tasks(scripts, fields={"1.1": field + "\n"})).expect(0)

    assert count(project) == 2


def test_start_point_is_part_of_cache_key(project: Project) -> None:
    later = {"2.1": COUNTED + "cat a > b"}
    project.run(project.tasks({"1.1": "echo one > a", **later})).expect(0)

    project.run(project.tasks({"1.1": "echo two > a", **later})).expect(0)

    assert count(project, "2.1") == 2
    assert project.show("patchyard/demo/2.1:b") == "two"


def test_failure_is_never_cached(project: Project) -> None:
    plan = project.tasks({"1.1": COUNTED + "exit 1"})

    for _ in range(2):
        project.run(plan).expect(1)

    assert count(project) == 2


def test_no_cache_neither_reads_nor_writes_results(project: Project) -> None:
    plan = project.tasks({"1.1": COUNTED + "touch a"})
    project.run(plan, "--no-cache").expect(0)
    assert not (project.state / "results").exists()
    project.run(plan).expect(0)

    project.run(plan, "--no-cache").expect(0)

    assert count(project) == 3


def test_fresh_replaces_cached_result(project: Project) -> None:
    script = 'cat "$SHARED/$PATCHYARD_TASK.count" > a'
    twice(project, lambda: None, "--fresh", script=script)

    project.run(project.tasks({"1.1": COUNTED + script})).expect(0)

    assert count(project) == 2
    assert project.show("patchyard/demo/1.1:a") == "x\nx"


def test_pruned_tree_is_recreated(project: Project) -> None:
    def forget() -> None:
        project.clone.git("branch", "--quiet", "-D", "patchyard/demo/1.1")
        shutil.rmtree(project.worktrees / "wt-1")
        project.clone.git("worktree", "prune")
        project.clone.git("-c", "gc.reflogExpire=now", "gc", "--quiet", "--prune=now")

    done = twice(project, forget, script="printf '\\0\\1' > a; echo b > 'odd name'")

    assert count(project) == 1
    assert done.outcome("1.1")["files"] == ["a", "odd name"]
    assert project.show("patchyard/demo/1.1:odd name") == "b"


HARMS: dict[str, Callable[[Record], object]] = {
    "patch": lambda content: content.update(patch="AAAA" + content["patch"]),
    "tree": lambda content: content.update(tree=EMPTY_TREE),
    "files": lambda content: content.update(files=[]),
    "task": lambda content: content.update(task="9.9"),
    "kind": lambda content: content.update(files=7),
    "no checksum": lambda content: content.pop("sha256"),
    "of the first version": lambda content: content.update(
        version=1, sha256=hashlib.sha256(base64.b64decode(content["patch"])).hexdigest()
    ),
}


@pytest.mark.parametrize("harm", ["cut", "empty", "list", *HARMS])
def test_damaged_result_is_not_used(project: Project, harm: str) -> None:
    def damage() -> None:
        project.clone.git("hash-object", "-w", "-t", "tree", os.devnull)
        (path,) = (project.state / "results").glob("*/*.json")
        text = path.read_text()
        content = json.loads(text)
        HARMS.get(harm, dict)(content)
        path.write_text({"cut": text[:-20], "empty": "", "list": "[]"}.get(harm, json.dumps(content)))

    done = twice(project, damage)

    assert count(project) == 2
    assert done.outcome("1.1")["files"] == ["a"]
    assert "README.md" in project.clone.git("ls-tree", "--name-only", "patchyard/demo/1.1")


@pytest.mark.parametrize("harm", ["none", "changed", "cut", "missing", "pipe"])
def test_patch_beside_a_result_is_used_only_as_it_was_stored(project: Project, harm: str) -> None:
    """A patch that is not small has a file of its own."""

    def damage() -> None:
        (path,) = (project.state / "results").glob("*/*.patch")
        content = path.read_bytes()
        if harm in {"missing", "pipe"}:
            path.unlink()
        if harm == "pipe":
            os.mkfifo(path)
        elif harm in {"changed", "cut"}:
            path.write_bytes(content[:-1] + (b"x" if harm == "changed" else b""))

    done = twice(project, damage, script="seq 50000 > a")

    assert count(project) == (1 if harm == "none" else 2)
    assert done.outcome("1.1")["files"] == ["a"]
    assert project.clone.git("cat-file", "-s", "patchyard/demo/1.1:a") == "288894"


def test_result_of_another_task_is_not_used(project: Project) -> None:
    """Neither where the file of one is copied over that of the other."""
    scripts = {"1.1": COUNTED + "echo a > a", "1.2": COUNTED + "echo b > b"}
    project.run(project.tasks(scripts)).expect(0)
    paths = sorted((project.state / "results").glob("*/*.json"))
    texts = [path.read_text() for path in paths]
    for path, text in zip(paths, reversed(texts), strict=True):
        path.write_text(text)

    done = project.run(project.tasks(scripts)).expect(0)

    assert [done.outcome(task)["files"] for task in scripts] == [["a"], ["b"]]
    assert [count(project, task) for task in scripts] == [2, 2]


@pytest.mark.parametrize(("name", "value"), [("tree", EMPTY_TREE), ("files", []), ("files", ["b"])])
def test_forged_result_with_its_own_checksum_is_not_used(project: Project, name: str, value: object) -> None:
    """What is committed is what the patch says."""

    def forge() -> None:
        project.clone.git("hash-object", "-w", "-t", "tree", os.devnull)
        (path,) = (project.state / "results").glob("*/*.json")
        content = json.loads(path.read_text())
        content[name] = value
        parts = [path.stem, 2, *(content[part] for part in ("version", "task", "tree", "files"))]
        parts.append(hashlib.sha256(base64.b64decode(content["patch"])).hexdigest())
        content["sha256"] = hashlib.sha256(canonical(parts)).hexdigest()
        path.write_text(json.dumps(content))

    done = twice(project, forge)

    assert count(project) == 2
    assert done.outcome("1.1")["files"] == ["a"]


def test_result_with_a_new_secret_is_not_used(project: Project) -> None:
    scripts = {"1.1": COUNTED + "echo sesame-open > a"}
    project.run(project.tasks(scripts)).expect(0)
    project.configure('secrets = ["WORD"]\n')

    done = project.run(project.tasks(scripts), environ={"WORD": "sesame-open"}).expect(1)

    assert "WORD" in done.outcome("1.1")["error"]


def test_task_id_and_title_are_part_of_cache_key(project: Project) -> None:
    project.run(project.tasks({"1.1": "echo same > a"})).expect(0)

    done = project.run(project.tasks({"1.2": "echo same > a"})).expect(0)

    assert done.outcome("1.2")["cached"] is False
