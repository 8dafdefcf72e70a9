"""Plans of HumanLayer."""

from tasks.dialects.registry import parse
from tasks.model import Plan

PLAN = """\
# Move the store

The header.

### Success Criteria:
- [ ] All of it: `make all`

## Phase 1: Tables

Write them.

```sh
## Phase 9: not one
```

### Success Criteria:

#### Automated Verification:
- [x] Tests pass: `make test`
- [X] `ruff check .` — no errors
- [x] The migration is in `db/001.sql`
- [x] Lint: `make lint` (if there is one)
- [x] It starts: `npm run dev`
- [x] Old: `cd /home/me/x && make test`

#### Manual Verification:
- [ ] Look at it
- [ ] Look again

## Phase 2: Callers ✅

Use them.

## Phase 3: Docs

**Automated Verification:**
- [ ] `make docs`

**Manual Verification:**
- [ ] Read it

## References

- notes
"""


def plan_of(text: str) -> Plan:
    found = parse(text, "thoughts/shared/plans/x.md", agent="agent")
    assert found.plan, found.diagnostics
    return found.plan


def test_phases_are_units_one_after_another() -> None:
    plan = plan_of(PLAN)
    assert (plan.dialect, plan.unit, plan.items) == ("humanlayer", "item", 3)
    assert [(task.id, task.title, task.dependencies) for task in plan.tasks] == [
        ("1", "Phase 1: Tables", ()),
        ("2", "Phase 2: Callers", ("1",)),
        ("3", "Phase 3: Docs", ("2",)),
    ]
    assert plan.header.startswith("# Move the store\n\nThe header.")
    assert plan.footer == "## References\n\n- notes"


def test_a_phase_is_done_by_its_heading_or_by_its_automated_criteria() -> None:
    assert [task.completed for task in plan_of(PLAN).tasks] == [True, True, False]


def test_commands_of_automated_criteria_are_verification() -> None:
    first, _, third = plan_of(PLAN).tasks
    assert [check.text for check in first.verification] == ["make test", "ruff check ."]
    assert [check.text for check in third.verification] == ["make docs"]


def test_manual_criteria_are_for_a_person() -> None:
    first, _, third = plan_of(PLAN).tasks
    assert first.manual == ("Look at it", "Look again")
    assert third.manual == ("Read it",)


def test_a_title_that_is_a_phase_is_one_unit() -> None:
    plan = plan_of("# Phase 4: Filter\n\nWrite it.\n\n## Success Criteria\n\n- [x] a\n- [x] b\n")
    assert [(task.id, task.completed) for task in plan.tasks] == [("4", True)]


def test_a_list_of_phases_with_criteria_outside_of_sections_is_a_check_list() -> None:
    text = "# Roadmap\n\n## Phase 1: A\n\n**Success Criteria**:\n\n1. It works\n\nPlans:\n\n- [ ] 01-PLAN.md\n"
    plan = parse(text, "ROADMAP.md", agent="agent").plan
    assert plan
    assert plan.dialect == "checklist"
