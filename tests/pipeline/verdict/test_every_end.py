"""Every way in which a run can end, through everything that says how it went: the same verdict and counts."""

import html
import json
import re
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import pytest
from github_server import Fault, GitHubServer
from project import Done, Project, wait_for
from served import Serving

from containers.git.repository import Repository
from pipeline.events import now
from pipeline.report.html import html_report
from pipeline.report.junit import junit
from pipeline.report.markdown import markdown
from pipeline.report.model import build_report
from pipeline.run.stored.status import known_plan
from pipeline.store.store import Store
from pipeline.verdict.model import Kind
from pipeline.view.source import source_of
from pipeline.view.timeline_builder import timeline

WHY = "AssertionError: 1 != 2"
FAILS = f"echo '{WHY}'; echo '=== 1 failed in 0.1s ==='; exit 3"
ROUNDED = {"event", "time", "seconds", "speedup", "efficiency"}
"""Fields that events round, or have for themselves."""
LIMIT = "usage limit reached, wait for 9999 seconds"


@dataclass(frozen=True)
class End:
    """A run that ended: what `--json` printed, the exit code that is documented, and the kinds of its tasks."""

    done: Done
    code: int
    counts: Mapping[str, int]
    words: str = ""

    @property
    def verdict(self) -> str:
        """Its verdict, as the last line of `--json` has it."""
        return str(self.done.finished["verdict"])


def _tasks(count: int) -> str:
    return "".join(f"### Task 1.{n}: T{n}\n\nDo {n}.\n\n" for n in range(1, count + 1))


def _cancelled(project: Project) -> Done:
    plan = project.tasks({"1.1": "echo 1 > a", "1.2": 'touch "$SHARED/in"; sleep 60'}, title="Cancelled")
    with project.start("run", plan, "--json", "--pool-size", "2") as started:
        wait_for((project.shared / "in").exists)
        started.signal(signal.SIGINT)
        return started.done()


def _agent_ends(project: Project) -> Iterator[tuple[str, End]]:
    """Yield the ends that only a run with an agent has."""
    project.declare_agent(f"echo '{LIMIT}'; exit 1", limit="usage limit reached, wait for (?P<seconds>[0-9]+)")
    plan = project.plan("# Limit\n\n" + _tasks(2), "limit.md")
    done = project.run(plan, "--wait-for-limits", "0", "--repairs", "0", "--pool-size", "1")
    yield "limit", End(done, 1, {"failed": 1, "skipped": 1}, "agent mine is at its usage limit")
    agent = 'echo "$PATCHYARD_TASK" > "$PATCHYARD_TASK.txt"; echo "session cost: \\$0.40"'
    project.declare_agent(agent, cost=r"cost: \$(?P<cost>[0-9.]+)")
    plan = project.plan("# Budget\n\n" + _tasks(3), "budget.md")
    done = project.run(plan, "--budget", "0.3", "--pool-size", "1")
    yield "budget", End(done, 1, {"changed": 1, "skipped": 2}, "agents: $0.40")


def _all_ends(project: Project, github: GitHubServer) -> Iterator[tuple[str, End]]:
    plan = project.tasks({"1.1": "echo 1 > a", "1.2": "true"}, "good.md", title="Good")
    both = {"changed": 1, "unchanged": 1}
    yield "success", End(project.run(plan, "--publish"), 0, both, "1 published")
    yield "cache", End(project.run(plan), 0, both, "2 from the cache")
    scripts = {"1.1": FAILS, "1.2": "sleep 60", "1.3": "true", "1.4": "true"}
    fields = {"1.2": "**Timeout:** 1s", "1.3": "**Dependencies:** Task 1.1", "1.4": "**Status:** completed"}
    plan = project.tasks(scripts, "bad.md", title="Bad", fields=fields)
    bad = {"failed": 1, "timed_out": 1, "skipped": 1, "left_out": 1}
    yield "failure", End(project.run(plan), 1, bad, WHY)
    plan = project.tasks({"1.1": "echo 1 > a", "1.2": "echo 2 > a"}, "conflict.md", title="Conflict")
    done = project.run(plan, "--on-conflict", "stop")
    yield "conflict", End(done, 1, {"changed": 1, "conflict": 1}, "conflicts with task 1.1 in a")
    yield "cancel", End(_cancelled(project), 130, {"changed": 1, "cancelled": 1}, "patchyard resume ")
    github.inject(Fault(status=422, message="Validation Failed", method="POST", path="/pulls$", times=9))
    plan = project.tasks({"1.1": "echo 3 > a"}, "unpublished.md", title="Unpublished")
    yield "unpublished", End(project.run(plan, "--publish"), 3, {"changed": 1}, "1 not published (1.1)")
    yield from _agent_ends(project)


@pytest.fixture
def ends(hosted: Project, github: GitHubServer) -> dict[str, End]:
    """A run for each way to end, of one repository."""
    return dict(_all_ends(hosted, github))


def _said(page: str) -> tuple[str, dict[str, int]]:
    """Return the verdict and the counts of a page or an HTML report."""
    (verdict,) = re.findall(r'id="verdict"[^>]*>([^<]*)<', page)
    counts = re.findall(r'data-filter="(\w+)"[^>]*>.*? (\d+)</button>', page)
    return html.unescape(verdict), {kind: int(number) for kind, number in counts}


def _reports(project: Project, run_id: str) -> dict[str, str]:
    """Return the reports of a run in all formats."""
    repository = Repository.open(project.root, project.environ)
    with Store.beside(repository.common) as store:
        run = store.run(run_id)
        made = build_report(repository, store, run)
        source = source_of(store, run, run.status, known_plan(run))
        view = timeline(source, now())
        return {
            "json": made.as_json,
            "markdown": markdown(made),
            "junit": junit(view),
            "html": html_report(view, source.tasks, now()),
        }


def _check_reports(end: End, reports: Mapping[str, str]) -> None:
    counts, verdict = end.counts, end.verdict
    record = json.loads(reports["json"])
    assert (record["verdict"], record["counts"]) == (verdict, counts)
    assert reports["markdown"].splitlines()[2].replace("\\", "").replace("*", "") == verdict
    assert _said(reports["html"]) == (verdict, counts)
    suites = ET.fromstring(reports["junit"])  # noqa: S314 - it is the program's own
    assert {one.get("value") for one in suites.iter("property") if one.get("name") == "verdict"} == {verdict}
    expected = {
        "tests": sum(counts.values()),
        "failures": counts.get("failed", 0) + counts.get("conflict", 0),
        "errors": counts.get("timed_out", 0),
        "skipped": sum(counts.get(kind, 0) for kind in ("skipped", "cancelled", "left_out")),
    }
    assert {name: sum(int(one.get(name, 0)) for one in suites) for name in expected} == expected


def test_every_end_is_the_same_everywhere(hosted: Project, ends: Mapping[str, End]) -> None:
    every = {kind for end in ends.values() for kind in end.counts}
    assert every == set(map(str, Kind)) - {"running", "interrupted", "pending"}
    assert {name: end.done.finished["status"] for name, end in ends.items()} == {
        "success": "succeeded",
        "cache": "succeeded",
        "failure": "failed",
        "conflict": "failed",
        "cancel": "cancelled",
        "unpublished": "succeeded",
        "limit": "failed",
        "budget": "failed",
    }
    with Serving(hosted) as server:
        for name, end in ends.items():
            finished, run = end.done.finished, end.done.run
            assert (end.done.code, finished["counts"]) == (end.code, end.counts), name
            assert finished["verdict"].startswith(f"{finished['status']}: ")
            (status,) = hosted.call("status", run, "--json").expect(0).records
            shared = [key for key in finished if key in status and key not in ROUNDED]
            assert {key: status[key] for key in shared} == {key: finished[key] for key in shared}, name
            text = hosted.call("status", run).expect(0).out
            assert f"\n{end.verdict}\n" in text, name
            assert end.words in " ".join(text.split()), name
            _check_reports(end, _reports(hosted, run))
            state = server.status(run)
            assert (state["verdict"], state["counts"]) == (end.verdict, end.counts), name
            assert state["failed"] == finished["failed"]
            assert (state["published"], state["unpublished"]) == (
                finished["published"],
                finished["unpublished"],
            )
            assert _said(server.client.get(f"/runs/{run}").text) == (end.verdict, end.counts), name
