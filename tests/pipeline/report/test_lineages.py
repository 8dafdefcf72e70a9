"""What the tasks of a report build on: in it once where many have it in common, and checked when it is read."""

import json
from dataclasses import replace
from pathlib import Path

from many_tasks import keep_run
from project import Project

from containers.git.repository import Repository
from pipeline.report.lineages import Containment, ReportedLineages
from pipeline.report.model import WITH_FOUNDATIONS, build_report, read_report
from pipeline.report.parts import FoundationPart
from pipeline.store.store import Store
from tasks.lineage import Lineage

BATCH = Lineage(f"1.{number}" for number in range(1, 101))
ABOVE = BATCH.with_names(f"2.{number}" for number in range(1, 101))
BUILDS_ON = {"2.1": BATCH, "2.2": BATCH.with_names(["2.1"]), "3.1": ABOVE, "3.2": ABOVE}


def test_a_report_has_what_many_tasks_build_on_once(project: Project, tmp_path: Path) -> None:
    run, head = keep_run(project, 202), project.clone.head
    with Store.beside(project.root / ".git") as store:
        for item in store.tasks(run):
            if builds_on := BUILDS_ON.get(item.outcome.task):
                outcome = replace(item.outcome, start=head)
                store.keep_outcome(run, 0, outcome, builds_on=builds_on)
        written = build_report(Repository.open(project.root, project.environ), store, store.run(run))
    path = tmp_path / "report.json"
    path.write_text(written.as_json)

    report = read_report(path)

    assert report.version == WITH_FOUNDATIONS
    assert [len(one.tasks) for one in report.foundations] == [100, 100]
    lineages = ReportedLineages(report)
    assert {task.task: lineages.of(task.start) for task in report.tasks if task.start} == BUILDS_ON
    known = {task.task for task in report.tasks}
    assert list(lineages.problems(known)) == []
    assert path.read_text().count('"1.50"') < 10
    first, second = report.foundations
    for forged in (
        (second, first),
        (first, first, second),
        (first,),
        (first, replace(second, below="other")),
        (first, second, FoundationPart("k", None, ("9.9",))),
    ):
        changed = ReportedLineages(replace(report, foundations=forged))
        assert len(list(changed.problems(known))) >= 1
        for task in report.tasks:
            changed.of(task.start)  # which ends
    assert json.loads(path.read_text())["foundations"][1]["below"] == first.key


def test_a_commit_contains_what_its_parents_contain() -> None:
    commits = Containment("base", ["1", "2", "3"])
    commits.add("a", ["base"], "1")
    commits.add("b", ["base"], "2")
    commits.add("merge", ["a", "b"], None)
    assert commits.has_all("base", Lineage())
    assert commits.has_all("merge", Lineage(["2"], Lineage(["1"])))
    assert not commits.has_all("a", Lineage(["2"], Lineage(["1"])))
    assert not commits.has_all("merge", Lineage(["1", "3"]))
    assert not commits.has_all("unknown", Lineage(["1"]))
