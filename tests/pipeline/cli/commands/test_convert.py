"""The command `convert`: a plan of another tool becomes a native one with the same tasks."""

from pathlib import Path

import pytest
from project import Done, Project, Record, fingerprint, one_sentence

TASKS = """\
# Login

All of it is in Go.

## Phase 1: Setup

- [ ] T001 Write `a.go`

## Phase 2: User Story 1

- [x] T002 Write `b.go`
- [ ] T003 Run `make test` and see it pass

## Notes

None.
"""
PLAN = "specs/1/tasks.md"
SAME = ("task", "title", "done", "group", "depends_on", "files", "verify", "prose", "commit", "prompt", "runs")


@pytest.fixture
def login(project: Project) -> Project:
    """A project with a plan of spec-kit and two documents beside it, of which one is not committed."""
    project.clone.commit({PLAN: TASKS, "specs/1/spec.md": "the spec"})
    project.clone.write({"specs/1/research.md": "to be committed"})
    return project


def tasks_of(done: Done) -> list[Record]:
    return [{key: task[key] for key in SAME} for task in done.expect(0).events("task")]


def test_the_result_has_the_same_tasks_and_prompts(login: Project, tmp_path: Path) -> None:
    before = fingerprint(login.root)
    target = tmp_path / "plan.md"

    printed = login.call("convert", PLAN, cwd=login.root).expect(0)
    written = login.call("convert", PLAN, "--output", target, cwd=login.root).expect(0)
    assert fingerprint(login.root) == before

    assert printed.out == target.read_text()
    assert "documents:\n  - /specs/1/spec.md\n  - /specs/1/research.md\n---" in printed.out
    assert written.out == f"{target}: 2 tasks of a spec-kit plan\n"
    assert written.err == ""
    check = ("check", "--json", "--agent", "cat")
    meant = tasks_of(login.call(*check, PLAN, cwd=login.root))
    assert tasks_of(login.call(*check, target, cwd=login.root)) == meant
    assert "`specs/1/spec.md`" in meant[1]["prompt"]
    assert "`make test`" in meant[1]["prompt"]


def test_the_options_of_reading_are_those_of_check(login: Project, tmp_path: Path) -> None:
    target = tmp_path / "plan.md"
    options = ("--unit", "item", "--order", "sequential", "--agent", "cat")

    login.call("convert", PLAN, *options, "--output", target, cwd=login.root).expect(0)

    again = login.call("check", target, "--json", "--agent", "cat", cwd=login.root)
    assert tasks_of(again) == tasks_of(login.call("check", PLAN, "--json", *options, cwd=login.root))
    assert [task["depends_on"] for task in again.events("task")] == [[], ["T001"], ["T002"]]


def test_a_file_is_overwritten_only_by_force(login: Project) -> None:
    target = login.root / "mine.md"
    target.write_text("mine")
    target.chmod(0o640)

    refused = login.call("convert", PLAN, "--output", "mine.md", cwd=login.root)
    assert one_sentence(refused) == ("mine.md exists already; name another file, or overwrite it with --force")
    assert (refused.code, target.read_text()) == (2, "mine")
    directory = login.call("convert", PLAN, "--output", "specs", "--force", cwd=login.root)
    assert one_sentence(directory) == "specs is a directory; name the file to write"

    login.call("convert", PLAN, "--output", "mine.md", "--force", cwd=login.root).expect(0)
    assert target.read_text().startswith("---\npatchyard: 2\n")
    assert target.stat().st_mode & 0o777 == 0o640


def test_nothing_is_written_of_a_plan_with_errors(project: Project, tmp_path: Path) -> None:
    plan = project.plan("# Nothing\n")

    done = project.call("convert", plan, "--output", tmp_path / "out.md")

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"{plan}:1:1: error: this is not a plan of a known dialect: ")
    assert not (tmp_path / "out.md").exists()


def test_a_native_plan_stays_as_it_is_and_a_plan_needs_no_repository(tmp_path: Path, project: Project) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs/tasks.md").write_text(TASKS)
    (tmp_path / "specs/spec.md").write_text("the spec")
    native = b"# A\r\n\r\n### Task 1: A\r\n**Run:** make\r\n"
    (tmp_path / "native.md").write_bytes(native)

    project.call("convert", "specs/tasks.md", "--output", "specs/plan.md", cwd=tmp_path).expect(0)
    project.call("convert", "specs/tasks.md", "--output", "plan.md", cwd=tmp_path).expect(0)
    project.call("convert", "native.md", "--output", "same.md", cwd=tmp_path).expect(0)

    assert (tmp_path / "same.md").read_bytes() == native
    assert "documents:\n  - spec.md\n" in (tmp_path / "specs/plan.md").read_text()
    assert "documents:\n  - specs/spec.md\n" in (tmp_path / "plan.md").read_text()
    checks = [project.call("check", "--json", path, cwd=tmp_path) for path in ("specs/tasks.md", "plan.md")]
    assert tasks_of(checks[0]) == tasks_of(checks[1])
