"""A run as JUnit XML: valid, complete, and safe with any text."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from project import Project
from views import at, attempt, ended, nasty_run, plan, run
from xmlschema import XMLSchema

from pipeline.report.junit import junit
from pipeline.view.source import Source
from pipeline.view.timeline_builder import timeline
from tasks.outcome import RunStatus, Status

SCHEMA = Path(__file__).parents[2] / "support" / "junit.xsd"


@pytest.fixture(scope="module")
def schema() -> XMLSchema:
    """The schema of JUnit XML."""
    return XMLSchema(SCHEMA)


def read(xml: str | bytes) -> ET.Element:
    """Return the root of what the program wrote."""
    return ET.fromstring(xml)  # noqa: S314 - it is the program's own


def cases(xml: str) -> dict[str, str]:
    """Return how each case ended, by the first word of its name."""
    found = {}
    for case in read(xml).iter("testcase"):
        kinds = [child.tag for child in case if child.tag in {"failure", "error", "skipped"}]
        found[case.get("name", "").split()[0]] = kinds[0] if kinds else "ok"
    return found


def test_each_status_has_its_junit_element(schema: XMLSchema) -> None:
    xml = junit(nasty_run()[0])
    schema.validate(xml)
    assert cases(xml) == {
        "1.1": "ok",
        "1.2": "failure",
        "1.3": "error",
        "2.1": "skipped",
        "2.2": "skipped",
        "2.3": "ok",
        "2.4": "skipped",
    }
    root = read(xml)
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("7", "1", "1")
    first, second = root.findall("testsuite")
    assert [first.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["3", "1", "1", "0"]
    assert [second.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["4", "0", "0", "3"]
    assert first.get("timestamp") == "2026-01-01T12:00:00"


def test_characters_invalid_in_xml_are_replaced() -> None:
    failure = read(junit(nasty_run()[0])).find(".//failure")
    assert failure is not None
    expected = "<script>alert(1)</script> & \"quotes\" 'too' {{ 7 * 7 }} \ufffd[31m\ufffd \ufffd </style> ]]>"
    assert failure.get("message") == expected
    assert failure.text == expected


@given(st.text(st.characters()))
def test_arbitrary_text_gives_valid_xml(text: str) -> None:
    source = Source(
        run=run(plan_title=text),
        displayed_status=RunStatus.FAILED,
        attempts=[attempt("1.1", 0, 1, status=Status.FAILED)],
        tasks=[ended("1.1", Status.FAILED, title=text, error=text)],
    )
    read(junit(timeline(source, at(2))).encode())


def test_running_task_is_skipped() -> None:
    source = Source(
        run=run(),
        displayed_status=RunStatus.RUNNING,
        plan=plan("1.1", "1.2"),
        attempts=[attempt("1.1", 0, None)],
    )
    assert cases(junit(timeline(source, at(2)))) == {"1.1": "skipped", "1.2": "skipped"}


def test_report_command_writes_the_file(project: Project, schema: XMLSchema) -> None:
    project.run(project.tasks({"1.1": "echo 1 > a", "1.2": "echo last words; exit 3"})).expect(1)
    path = project.root.parent / "out" / "junit.xml"
    path.parent.mkdir()
    project.call("report", "--output", path).expect(0)
    schema.validate(str(path))
    assert cases(path.read_text("utf-8")) == {"1.1": "ok", "1.2": "failure"}
    assert path.read_text("utf-8") == project.call("report", "--format", "junit").expect(0).out
    failure = read(path.read_bytes()).find(".//failure")
    assert failure is not None
    assert failure.text == "last words"
    assert "exit code 3" in failure.get("message", "")
