"""Plans of other tools in the API and on the page."""

import json
from pathlib import Path

from project import Project
from served import Serving

from pipeline.view.stages import WITHOUT_GROUP

AGENT = 'touch "$PATCHYARD_TASK.txt"'
GSD = (
    "---\nphase: 01-a\nplan: {0}\nwave: {0}\n---\n<tasks>\n"
    '<task type="auto">\n  <name>Task 1: x</name>\n  <action>Write {0}</action>\n</task>\n</tasks>\n'
)
NASTY = "<script>alert(1)</script>"
SUPERPOWERS = (
    f"# Greet {NASTY}\n\n**Goal:** greet {NASTY} all.\n\n## Phase 1: {NASTY}\n\n### Task 1: Hello\n\n"
    "- [ ] **Step 1: Write it**\n\n## Phase 2: Later\n\n### Task 2: Bye\n\n- [ ] **Step 1: Write it**\n"
    "\n### Task 3: Look\n\n- [ ] **Step 1: Look**\n"
)
LEFT = "a GSD plan in which every task is done"


def committed(project: Project, files: dict[str, str]) -> None:
    """Commit files to the project's repository."""
    for name, text in files.items():
        path = project.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    project.clone.git("add", "--all")
    project.clone.git("commit", "--quiet", "-m", "plans")


def test_directory_is_started_and_nothing_is_when_all_of_it_is_done(project: Project, server: Serving) -> None:
    phase = ".planning/phases/01-a"
    committed(project, {f"{phase}/01-0{number}-PLAN.md": GSD.format(number) for number in (1, 2)})
    body = {"plan_path": phase, "agent": AGENT, "order": "sequential"}

    started = server.post("/start", json=body).json()

    assert (started["dialect"], started["status"]) == ("gsd", "started")
    assert "message" not in started
    run = started["execution_id"]
    status = server.wait(run)
    assert [status[name] for name in ("dialect", "unit", "order")] == ["gsd", "group", "sequential"]
    assert status["status"] == "complete"
    task = server.get(f"/{run}/tasks/01-02").json()
    assert (task["dependencies"], task["task_status"]) == (["01-01"], "changed")
    assert server.client.get(f"/runs/{run}/tasks/01-02").status_code == 200

    for number in (1, 2):
        (project.root / phase / f"01-0{number}-SUMMARY.md").write_text("done")
    left = server.post("/start", json=body).json()
    assert (left["execution_id"], left["status"], left["dialect"]) == (None, "complete", "gsd")
    assert left["message"] == LEFT
    assert server.get("").json()["total"] == 1
    form = {"plan_path": phase, "repo": str(project.root), "agent": AGENT}
    shown = server.client.post("/runs", data=form)
    assert f"{LEFT}; no run was started" in shown.text
    for wrong in ({"unit": "phase"}, {"order": "backwards"}, {"dialect": "x"}):
        server.post("/start", 422, json={**body, **wrong})


def test_page_has_groups_as_sections_and_the_header_as_text(project: Project, server: Serving) -> None:
    committed(project, {"docs/superpowers/plans/x.md": SUPERPOWERS})
    run = server.start(Path("docs/superpowers/plans/x.md"), agent=AGENT, tasks=["1", "3"])
    server.wait(run)

    text = server.client.get(f"/runs/{run}").text

    escaped = "&lt;script&gt;alert(1)&lt;/script&gt;"
    assert "<script>alert" not in text
    assert f">Phase 1: {escaped}</button> <small>1 of 1" in text
    assert ">Phase 2: Later</button> <small>2 of 2" in text
    assert "superpowers plan: a task per item, order as-written</summary>" in text
    assert f"**Goal:** greet {escaped} all." in text
    assert "batch" not in text.lower()
    assert WITHOUT_GROUP not in text
    groups = {name: task["group"] for name, task in server.tasks(run).items()}
    assert groups == {"1": f"Phase 1: {NASTY}", "2": "Phase 2: Later", "3": "Phase 2: Later"}  # 3 builds on 2
    report = project.call("report", run, "--format", "html").expect(0).out
    assert f">Phase 1: {escaped}</button> <small>1 of 1" in report
    assert f"**Goal:** greet {escaped} all." in report
    assert "batch" not in report.partition("<body")[2].partition("<script>")[0].lower()
    shown = project.call("report", run).expect(0).out
    assert "superpowers plan: a task per item, order as-written" in shown
    assert shown.count("\n## Phase ") == 2
    suites = project.call("report", run, "--format", "junit").expect(0).out
    assert '<testsuite name="Phase 2: Later"' in suites
    assert 'classname="greet-script-alert-1-script.group-2"' in suites
    record = json.loads(project.call("report", run, "--format", "json").expect(0).out)
    assert record["plan"].items() >= {"dialect": "superpowers", "unit": "item", "order": "as-written"}.items()
    assert {task["task"]: task["group"] for task in record["tasks"]} == groups
