"""Plans of GSD."""

from typing import Any

from tasks.dialects.read_options import ReadOptions, UnitKind
from tasks.dialects.registry import parse
from tasks.dialects.source import Beside
from tasks.model import Plan
from tasks.plan.parser import Parsed


def plan_file(plan: str, *, wave: int = 1, depends: str = "[]", tasks: int = 1, verify: str = "") -> str:
    text = "".join(
        f'<task type="auto">\n  <name>Task {number}: Do {number}</name>\n  '
        f"  <files>src/{plan}.py, docs/x.md</files>\n"
        f"  <action>\nWork & `a && b` {number}\n  </action>\n  <verify>{verify}</verify>\n</task>\n"
        for number in range(1, tasks + 1)
    )
    return (
        f"---\nphase: 12-things\nplan: {plan}\nwave: {wave}\ndepends_on: {depends}\n"
        f"files_modified:\n  - src/{plan}.py\n---\n"
        f"<objective>\nBuild {plan}.\n\nPurpose: more\n</objective>\n\n"
        "<context>\n@.planning/STATE.md\n@src/a.py\n</context>\n\n"
        f"<tasks>\n{text}</tasks>\n\n<success_criteria>\nIt is good.\n</success_criteria>\n"
    )


def parsed(files: dict[str, str], **options: Any) -> Parsed:  # noqa: ANN401 - values of ReadOptions
    beside = Beside(tuple(sorted(files.items())), frozenset(files))
    return parse("", "phases/12-things", agent="agent", options=ReadOptions(**options), beside=beside)


def plan_of(files: dict[str, str], **options: Any) -> Plan:  # noqa: ANN401 - likewise
    found = parsed(files, **options)
    assert found.plan, found.diagnostics
    return found.plan


def waits(plan: Plan) -> dict[str, tuple[str, ...]]:
    return {task.id: task.dependencies for task in plan.tasks}


def test_a_directory_is_one_plan_and_a_file_a_unit() -> None:
    plan = plan_of({"12-01-PLAN.md": plan_file("01", tasks=2), "12-RESEARCH.md": "notes"})
    assert (plan.dialect, plan.unit, plan.items) == ("gsd", "group", 2)
    (task,) = plan.tasks
    assert (task.id, task.title, [file.path for file in task.files]) == ("12-01", "Build 01.", ["src/01.py"])
    for text in ("Purpose: more", "`a && b` 2", "It is good."):
        assert text in task.implementation
    assert plan.neighbours == ("/.planning/STATE.md", "/src/a.py")


def test_files_wait_for_those_that_they_name_else_for_the_wave_before() -> None:
    plan = plan_of(
        {
            "12-01-PLAN.md": plan_file("01"),
            "12-02-some-words-PLAN.md": plan_file("02"),
            "12-03-PLAN.md": plan_file("03", wave=2, depends="['12-01']"),
            "12-04-PLAN.md": plan_file("04", wave=2),
            "12-05-PLAN.md": plan_file("05", wave=4, depends="\n  - 4\n  - 12-02-some-words"),
            "12-06-PLAN.md": plan_file("06", wave=4, depends="[03, 12.1]"),
        }
    )
    assert waits(plan) == {
        "12-01": (),
        "12-02": (),
        "12-03": ("12-01",),
        "12-04": ("12-01", "12-02"),
        "12-05": ("12-04", "12-02"),
        "12-06": ("12-03", "12-01"),
    }


def test_numbers_keep_their_zeros() -> None:
    files = {
        "02.1-10-PLAN.md": plan_file("10"),
        "02.1-01-PLAN.md": plan_file("01", wave=2, depends="[02.1-10]"),
    }
    assert waits(plan_of(files)) == {"02.1-01": ("02.1-10",), "02.1-10": ()}


def test_a_plan_of_another_phase_is_not_waited_for() -> None:
    files = {"12-01-PLAN.md": plan_file("01"), "12-02-PLAN.md": plan_file("02", depends="[07-its-name]")}
    found = parsed(files)
    assert found.plan
    assert waits(found.plan) == {"12-01": (), "12-02": ()}
    assert "`07-its-name`, which this phase does not have" in found.warnings[0].message


def test_a_summary_with_its_numbers_says_that_a_plan_is_done() -> None:
    files = {name: plan_file(name[3:5]) for name in ("12-01-words-PLAN.md", "12-02-PLAN.md", "12-03-PLAN.md")}
    summaries = ("12-01-SUMMARY.md", "12-PHASE-SUMMARY.md", "2-03-SUMMARY.md")
    plan = plan_of({**files, **dict.fromkeys(summaries, "")})
    assert [task.completed for task in plan.tasks] == [True, False, False]
    single = parse(
        files["12-02-PLAN.md"], "p/12-02-PLAN.md", agent="a", beside=Beside((), frozenset(summaries))
    )
    assert single.plan
    assert [task.completed for task in single.plan.tasks] == [False]


def test_by_items_the_first_waits_for_the_last_of_the_files_before() -> None:
    files = {"12-01-PLAN.md": plan_file("01", tasks=2), "12-02-PLAN.md": plan_file("02", wave=2, tasks=2)}
    plan = plan_of(files, unit=UnitKind.ITEM)
    assert waits(plan) == {
        "12-01.1": (),
        "12-01.2": ("12-01.1",),
        "12-02.1": ("12-01.2",),
        "12-02.2": ("12-02.1",),
    }
    last = plan.tasks[-1]
    assert (last.title, [file.path for file in last.files]) == ("Do 2", ["src/02.py", "docs/x.md"])
    assert "It is good." in last.group_text


def test_verification_is_what_is_automated_or_only_a_command() -> None:
    def checks(verify: str) -> list[str]:
        plan = plan_of({"12-01-PLAN.md": plan_file("01", verify=verify)})
        return [check.text for check in plan.tasks[0].verification]

    assert checks("<automated>npm test && npm run lint</automated>") == ["npm test && npm run lint"]
    assert checks("<automated>cd /data/project && npm test</automated>") == []
    assert checks("\n- `npm test` passes\n- `npm run lint`\n- `npm start` shows the page\n") == [
        "npm test",
        "npm run lint",
    ]


def test_a_task_in_one_line_is_read() -> None:
    tasks = '<task type="auto"><name>A</name></task>\n<task>\n<name>B</name>\n</task>\n'
    text = f"---\nphase: 1\nplan: 1\n---\n<tasks>\n{tasks}</tasks>\n"
    plan = parse(text, "01-01-PLAN.md", agent="agent").plan
    assert plan
    assert plan.items == 2
