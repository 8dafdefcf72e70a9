"""`patchyard publish --from DIR`: a run that was made elsewhere, published from a clone that has its base."""

import json
import re
from pathlib import Path

import pytest
from elsewhere import NAME, Elsewhere, opened
from project import Project
from repositories import Clone, make_repository

from pipeline.report.importer import ImportedRun
from pipeline.report.model import ReportError


def trees(project: Project) -> dict[str, str]:
    """Return the trees of the program's branches."""
    return {
        name: project.clone.git("rev-parse", f"{commit}^{{tree}}")
        for name, commit in project.branches().items()
        if name != "main"
    }


def test_another_clone_gets_the_same_commits_branches_and_pull_requests(elsewhere: Elsewhere) -> None:
    done = elsewhere.publish("--label", "bot")

    assert elsewhere.here.branches() == elsewhere.project.branches()
    assert len(elsewhere.project.branches()) == 8  # five tasks, two batches, main
    pulls = elsewhere.pulls
    prefix = "patchyard/some-plan"
    assert {head: pull.base for head, pull in pulls.items()} == {
        f"{prefix}/1.1": "main",
        f"{prefix}/1.2": "main",
        f"{prefix}/1.3": f"{prefix}/1.1",
        f"{prefix}/2.1": f"{prefix}/batch-1",
        f"{prefix}/3.1": f"{prefix}/batch-2",
    }
    assert pulls[f"{prefix}/1.3"].title == "Größe: add three"
    assert "Two!" in (pulls[f"{prefix}/1.2"].body or "")
    assert "`one.txt`" in (pulls[f"{prefix}/1.1"].body or "")
    assert f"Patchyard-Run: {elsewhere.run}" in (pulls[f"{prefix}/1.1"].body or "")
    assert pulls[f"{prefix}/1.1"].labels == ["bot"]
    assert len(done.events("pull_request")) == 5
    hub = elsewhere.server.repository(NAME)
    assert {name: hub.tip(name) for name in elsewhere.here.branches()} == elsewhere.here.branches()
    assert elsewhere.here.clone.git("status", "--porcelain") == ""

    # Once more changes nothing.
    before = elsewhere.here.branches()
    pushed = len(elsewhere.server.calls("POST", "git-receive-pack"))
    again = elsewhere.publish()
    assert elsewhere.here.branches() == before
    assert len(elsewhere.pulls) == 5
    assert {event["action"] for event in again.events("pull_request")} == {"updated"}
    assert len(elsewhere.server.calls("POST", "git-receive-pack")) == pushed


def test_imported_run_equals_a_local_run(elsewhere: Elsewhere) -> None:
    with opened(elsewhere.here) as (repository, store):
        ImportedRun.read(elsewhere.directory).recreate(repository, store)
        ImportedRun.read(elsewhere.directory).recreate(repository, store)
    status = [
        json.loads(project.call("status", elsewhere.run, "--json").expect(0).out)
        for project in (elsewhere.here, elsewhere.project)
    ]
    for record in status:
        for task in record["tasks"]:
            task.pop("log")
        for attempt in record["attempts"]:
            for name in ("log", "host", "started_at", "finished_at"):
                attempt.pop(name)
        record["attempts"].sort(key=lambda attempt: attempt["task"])
        record.pop("finished_at")
    assert status[0] == status[1]
    shown = [project.call("diff", elsewhere.run, "2.1").out for project in (elsewhere.here, elsewhere.project)]
    assert shown[0] == shown[1]
    text = elsewhere.here.call("report", elsewhere.run, "--format", "json").expect(0).out
    keys = {task["task"]: task["key"] for task in json.loads(text)["tasks"]}
    assert keys == {task["task"]: task["key"] for task in elsewhere.report["tasks"]}
    # Published where it ran, it is the same run for both.
    elsewhere.publish("--draft", project=elsewhere.project)
    assert [pull.draft for pull in elsewhere.pulls.values()] == [True] * 5
    assert set(trees(elsewhere.here)) >= set(elsewhere.pulls)


def test_commits_without_identity_get_the_publishers_name(elsewhere: Elsewhere) -> None:
    text = (elsewhere.directory / "report.json").read_text()
    assert "Uma User <uma@example.com> " in text
    anonymous = text.replace("Uma User <uma@example.com> ", "patchyard <patchyard@localhost> ")
    (elsewhere.directory / "report.json").write_text(anonymous)
    with opened(elsewhere.here) as (repository, store):
        ImportedRun.read(elsewhere.directory).recreate(repository, store)
    # The names and the times are those of the run again: so are the ids.
    assert elsewhere.here.branches() == elsewhere.project.branches()
    who = elsewhere.here.clone.git("log", "-1", "--format=%an <%ae> %cn <%ce>", "patchyard/some-plan/2.1")
    assert who == "Uma User <uma@example.com> Uma User <uma@example.com>"


def test_shallow_clone_fetches_the_base_from_the_remote(elsewhere: Elsewhere, tmp_path: Path) -> None:
    clone, hub = elsewhere.project.clone, elsewhere.server.repository(NAME)
    clone.commit({"later.txt": "1"})
    clone.git("push", "-q", hub.path, "main")
    other = tmp_path / "shallow"
    clone.user.git("clone", "-q", "--depth=1", f"file://{hub.path}", other, cwd=tmp_path)
    shallow = Project(Clone(clone.user, other))
    shallow.clone.git("remote", "set-url", "origin", elsewhere.server.clone_url(NAME))
    base = elsewhere.report["base"]["commit"]
    assert shallow.clone.git("cat-file", "-t", base, check=False) == ""
    elsewhere.publish(project=shallow)
    assert trees(shallow) == trees(elsewhere.project)
    assert len(elsewhere.pulls) == 5


def test_missing_base_is_reported(elsewhere: Elsewhere) -> None:
    base = elsewhere.report["base"]
    elsewhere.change(base={**base, "commit": "1" * 40}, commits=[], tasks=[])
    done = elsewhere.publish(code=2)
    assert "neither here nor on origin" in done.err
    assert elsewhere.pulls == {}


def test_modified_patch_is_rejected_without_side_effects(elsewhere: Elsewhere) -> None:
    patch = elsewhere.directory / "1.3.patch"
    patch.write_bytes(patch.read_bytes().replace(b"+three\n", b"+THREE\n"))
    done = elsewhere.publish(code=2)
    assert "the patch of task 1.3 gives another tree than in the run" in done.err
    assert set(elsewhere.here.branches()) == {"main"}
    assert elsewhere.pulls == {}
    assert elsewhere.here.call("runs", "--json").out == ""
    patch.write_bytes(b"diff --git a/x b/x\n")
    assert "the patch of task 1.3 does not apply here" in elsewhere.publish(code=2).err
    patch.unlink()
    assert "1.3.patch: cannot be read" in elsewhere.publish(code=2).err


def test_branch_of_a_person_is_not_changed(elsewhere: Elsewhere) -> None:
    elsewhere.here.clone.git("branch", "patchyard/some-plan/1.2", "main")
    done = elsewhere.publish(code=1)
    assert "patchyard/some-plan/1.2 has commits that patchyard did not make" in done.err
    assert elsewhere.here.branches()["patchyard/some-plan/1.2"] == elsewhere.here.clone.head
    assert elsewhere.pulls == {}


def test_branch_named_differently_in_a_report_is_not_changed(elsewhere: Elsewhere) -> None:
    tasks = elsewhere.report["tasks"]
    tasks[0]["branch"] = "main"
    elsewhere.change(tasks=tasks)
    head = elsewhere.here.clone.head
    assert "task 1.1 has the branch 'main'" in elsewhere.publish(code=2).err
    assert elsewhere.here.clone.head == head == elsewhere.server.repository(NAME).tip("main")


INVALID = [
    ("report", "run", "../../x", "not a valid run id"),
    ("base", "commit", "--all", "not a valid commit id"),
    ("task", "task", "../x", "not a valid task id"),
    ("task", "patch", "../1.1.patch", "not the name of task 1.1's patch"),
    ("task", "patch", "report.json", "not the name of task 1.1's patch"),
    ("task", "patch", None, "task 1.1 has a commit, but no patch"),
    ("task", "start", None, "no start point of this run"),
    ("task", "status", "odd", "task 1.1 has a commit, but the status 'odd'"),
    ("task", "mode", "odd", "'odd' is not a valid Mode"),
    ("task", "started_at", "yesterday", "Invalid isoformat"),
    ("step", "kind", "odd", "'odd' is not a valid StepKind"),
    ("task", "commit", "2" * 40, "the commit of task 1.1 is missing"),
    ("report", "status", "odd", "'odd' is not a valid RunStatus"),
    ("report", "commits", [], "the commit of task 1.1 is missing"),
    ("commit", "author", "A <a@b> 1 +0000\nparent " + "3" * 40, "is not one that a run creates"),
    ("commit", "parents", [], "is not one that a run creates"),
    ("commit", "parents", ["4" * 40], "commit 4444"),
    ("commit", "tree", "5" * 40, "gives another tree than"),
]


def test_invalid_report_is_rejected(elsewhere: Elsewhere) -> None:
    whole = json.dumps(elsewhere.report)
    with opened(elsewhere.here) as (repository, store):
        for where, name, value, message in INVALID:
            report = json.loads(whole)
            first = report["tasks"][0]
            parts = {"report": report, "base": report["base"], "task": first, "step": first["steps"][0]}
            parts["commit"] = report["commits"][0]
            parts[where][name] = value
            elsewhere.change(**report)
            with pytest.raises(ReportError, match=re.escape(message)):
                ImportedRun.read(elsewhere.directory).recreate(repository, store)
            assert (set(elsewhere.here.branches()), store.runs()) == ({"main"}, ())
        elsewhere.change(**json.loads(whole))
        ImportedRun.read(elsewhere.directory).recreate(repository, store)
    assert elsewhere.here.branches() == elsewhere.project.branches()


def test_run_and_directory_are_exclusive(elsewhere: Elsewhere) -> None:
    assert "this repository has no runs yet" in elsewhere.here.call("publish").expect(2).err
    assert "either a RUN or a directory" in elsewhere.publish("latest", code=2).err
    empty = elsewhere.directory.parent / "empty"
    empty.mkdir()
    done = elsewhere.here.call("publish", "--from", empty).expect(2)
    assert "report.json: cannot be read" in done.err


def test_missing_token_has_no_side_effects(elsewhere: Elsewhere) -> None:
    done = elsewhere.here.call("publish", "--from", elsewhere.directory).expect(3)
    assert "there is no token for octo/demo" in done.err
    assert set(elsewhere.here.branches()) == {"main"}


def test_a_run_that_changed_nothing_has_nothing_to_publish(elsewhere: Elsewhere) -> None:
    plan = elsewhere.project.tasks({"1.1": "true"}, "nothing.md")
    run = elsewhere.project.run(plan).expect(0).run
    directory = elsewhere.directory.parent / "nothing"
    elsewhere.project.call("patches", run, "-o", directory).expect(0)
    done = Elsewhere(elsewhere.project, elsewhere.here, elsewhere.server, directory, run).publish()
    assert "nothing to publish" in done.out


def test_moved_submodule_is_imported(elsewhere: Elsewhere, tmp_path: Path) -> None:
    project, hub = elsewhere.project, elsewhere.server.repository(NAME)
    part = make_repository(project.clone.user, tmp_path / "part", {"a": "1"})
    project.clone.git("submodule", "add", "-q", str(part.path), "part")
    project.clone.commit()
    project.clone.git("push", "-q", hub.path, "main")
    second = part.commit({"a": "2"})
    script = f"git update-index --cacheinfo 160000,{second},part; git commit -qm moved; echo 1 > one"
    plan = project.tasks({"1.1": script}, "move.md", title="Move")
    done = project.run(plan)
    assert done.code == 0, done
    directory = tmp_path / "moved"
    project.call("patches", done.run, "-o", directory).expect(0)
    Elsewhere(project, elsewhere.here, elsewhere.server, directory, done.run).publish()
    assert trees(elsewhere.here)["patchyard/move/1.1"] == trees(project)["patchyard/move/1.1"]
