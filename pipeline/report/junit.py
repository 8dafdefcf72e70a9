"""The report of a run as JUnit XML: one suite per batch or group, one case per task."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from types import MappingProxyType
from typing import TypeAlias
from xml.etree import ElementTree as ET

from pipeline.verdict.model import Kind
from pipeline.view.history import AttemptPart
from pipeline.view.timeline import DONE, RUNNING, Bar, Mark, Row, Stage, StageKind, Timeline
from tasks.lazy.patterns import regex
from tasks.outcome import FAILS_BEFORE
from tasks.usage import Usage

_ILLEGAL = regex(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not allow, even escaped (https://www.w3.org/TR/xml/#charsets)."""
NOT_RUN = frozenset({Kind.SKIPPED, Kind.CANCELLED, Kind.LEFT_OUT})
FAILURES = frozenset({Kind.FAILED, Kind.CONFLICT})


Histories: TypeAlias = Mapping[str, tuple[AttemptPart, ...]]


def junit(view: Timeline, histories: Histories = MappingProxyType({})) -> str:
    """Return the run as XML that conforms to the JUnit schema of Jenkins.

    A task that failed or is in conflict is a failure; one that timed out or was interrupted is an error. A task
    that was skipped, cancelled or left out, has not run or is running, is skipped. The properties of a suite
    are the verdict of the run, and what the agents of its tasks used, in US dollars and tokens. The output of a
    case begins with its attempts, if one try was not enough.

    https://github.com/jenkinsci/xunit-plugin/blob/xunit-2.3.2/src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd/junit-10.xsd

    Args:
        view: The timeline of the run.
        histories: The attempts by task.
    """
    root = ET.Element("testsuites", name=_legal(view.title), time=_seconds(view.elapsed))
    totals = dict.fromkeys(("tests", "failures", "errors"), 0)
    for stage in view.stages:
        suite = _suite(view, stage, histories)
        for name in totals:
            totals[name] += int(suite.get(name, "0"))
        root.append(suite)
    for name, number in totals.items():
        root.set(name, str(number))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _suite(view: Timeline, stage: Stage, histories: Histories) -> ET.Element:
    rows = view.rows_of(stage.number)
    title = f": {stage.title}" if stage.title else ""
    name = f"batch {stage.number}{title}" if view.kind is StageKind.BATCH else stage.label or view.title
    suite = ET.Element("testsuite", name=_legal(name))
    suite.set("timestamp", f"{view.run.started_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}")
    suite.set("time", _seconds(sum(row.seconds or 0.0 for row in rows)))
    latest = {bar.task: bar for lane in view.lanes for bar in sorted(lane.bars, key=lambda bar: bar.number)}
    cases = [_case(view, row, latest.get(row.task), histories.get(row.task, ())) for row in rows]
    counts = {"tests": len(cases)}
    for name, child in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        counts[name] = sum(case.find(child) is not None for case in cases)
    for name, number in counts.items():
        suite.set(name, str(number))
    suite.append(_properties(view, stage.usage))
    suite.extend(cases)
    return suite


def _properties(view: Timeline, usage: Usage) -> ET.Element:
    """Return the properties of a suite: the verdict of the run, and what the agents of the suite used."""
    found = ET.Element("properties")
    ET.SubElement(found, "property", name="verdict", value=_legal(view.headline))
    costs = {} if usage.cost is None else {"cost": f"{usage.cost:.6f}"}
    counts = {f"{name}_tokens": str(count) for name, count in usage.tokens.known.items()}
    for name, value in (costs | counts).items():
        ET.SubElement(found, "property", name=name, value=value)
    return found


def _case(view: Timeline, row: Row, bar: Bar | None, attempts: Sequence[AttemptPart]) -> ET.Element:
    case = ET.Element("testcase", name=_legal(f"{row.task} {row.title}"), time=_seconds(row.seconds or 0.0))
    case.set("classname", _class(view, row.stage))
    words = row.state.replace("_", " ")
    first, _, rest = (row.error or "").partition("\n")
    if row.state in NOT_RUN or not (row.done or row.attempts):
        ET.SubElement(case, "skipped", message=_legal(first or "it has not run"))
    elif row.state == RUNNING:
        ET.SubElement(case, "skipped", message="it is running")
    elif row.state not in DONE:
        kind = "failure" if row.state in FAILURES else "error"
        problem = ET.SubElement(case, kind, message=_legal(first or words), type=row.state)
        problem.text = _legal(rest) or None
    lines = [*_attempts(attempts), *_steps(bar.marks if bar else ())]
    lines += [f"used by the agent: {row.usage}"] if row.usage else []
    if lines:
        ET.SubElement(case, "system-out").text = _legal("\n".join(lines))
    return case


def _attempts(attempts: Sequence[AttemptPart]) -> Iterator[str]:
    if all(one.is_plain for one in attempts):
        return
    for one in attempts:
        yield str(one)
        yield from (f"  {each}" for each in one.rounds)


def _steps(marks: Iterable[Mark]) -> list[str]:
    lines = []
    for mark in marks:
        code = mark.exit_code
        ended = "it did not start or was killed" if code is None else f"exit code {code}"
        before = f"; {FAILS_BEFORE}" if mark.fails_before else ""
        lines.append(f"{mark.kind}: {mark.command} ({ended}{before})")
    return lines


def _class(view: Timeline, stage: int) -> str:
    plan = view.run.plan_name or "plan"
    return _legal(f"{plan}.{view.kind}-{stage}" if view.kind else plan)


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"


def _legal(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", text)
