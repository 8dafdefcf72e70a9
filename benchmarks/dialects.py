"""Measure `patchyard check` on a plan of 1,000 tasks in each dialect, as ratios to the native format.

All plans are measured in turn, round by round, as whole commands, and the medians of the rounds are compared.
The time is that of the processor, which other work on the machine changes less than the wall time: a check
waits for nothing. That each plan is read as meant, with all of its tasks, is checked before its time is used.

Usage: python benchmarks/dialects.py [--tasks N] [--rounds N] [--only DIALECT] [--page docs/plans-of-others.md]
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from parse import text_of
from run import PATCHYARD, Table, about, each, environment, timed

SUPERPOWERS = """
### Task {n}: Add module {n}

**Files:**
- Create: `src/module_{n}.py`
- Modify: `docs/index.md:12-34`

- [ ] **Step 1: Write the test**

```python
def test_number() -> None:
    assert number() == {n}
```

- [ ] **Step 2: Write the function, and run the test**

Run: `python -m pytest tests/test_{n}.py`
Expected: PASS

- [ ] **Step 3: Commit**

```bash
git commit -m "feat: add module {n}"
```
"""
SPEC_KIT = """
## Phase {n}: Module {n}

**Purpose**: a function that returns {n}

- [ ] T{first:04} [P] Create the function in src/module_{n}.py
- [ ] T{second:04} Describe it in docs/index.md
- [ ] T{third:04} Run `python -m pytest`
"""
KIRO = """
- [ ] {n}. Add module {n}
  - [ ] {n}.1 Write the function in `src/module_{n}.py`
    - It is pure, and has a docstring
    - _Requirements: 1.{n}_
  - [ ] {n}.2 Write its test
    - Run `python -m pytest`
    - _Requirements: 1.{n}, 2.1_
"""
KIRO_DEPENDS = """
- [ ] {n}. Add module {n}
  - Write the function in `src/module_{n}.py`
  - _Requirements: 1.{n}_
  - _Depends: {before}_
"""
OPENSPEC = """
## {n}. Module {n}

- [ ] {n}.1 Create the function in `src/module_{n}.py`
- [ ] {n}.2 Describe it in `docs/index.md`
- [ ] {n}.3 Run `python -m pytest`
"""
GSD = """---
phase: 01-modules
plan: {n}
wave: {n}
depends_on: []
files_modified: [src/module_{n}.py]
---

<objective>
Add module {n}.
</objective>

<tasks>
<task type="auto">
  <name>Task 1: Add module {n}</name>
  <files>src/module_{n}.py</files>
  <action>Write a function that returns {n}, with a docstring.</action>
  <verify><automated>python -m pytest</automated></verify>
</task>
</tasks>
"""
SISYPHUS = """
- [ ] {n}. Add module {n}

  **What to do**:
  - Write the function in `src/module_{n}.py`

  **Parallelization**:
  - **Can Run In Parallel**: YES
  - **Blocked By**: {before}

  **Acceptance Criteria**:
  - [ ] `python -m pytest` passes

  **Commit**: YES
  - Message: `feat: add module {n}`
"""
CONDUCTOR = """
- [ ] Task: Add module {n}
    - [ ] Write the function in `src/module_{n}.py`
    - [ ] Write its test
"""
HUMANLAYER = """
## Phase {n}: Module {n}

### Changes Required:

**File**: `src/module_{n}.py`
**Changes**: a function that returns {n}

### Success Criteria:

#### Automated Verification:
- [ ] Tests pass: `python -m pytest`

#### Manual Verification:
- [ ] It reads well
"""
BMAD = """# Story 1.{n}: Module {n}

Status: ready-for-dev

## Story

As a user, I want module {n}.

## Acceptance Criteria

1. It returns {n}.

## Tasks / Subtasks

- [ ] Write the function (AC: 1)
  - [ ] `src/module_{n}.py`
- [ ] Write its test (AC: 1)
"""
CHECKLIST = """
## Module {n}

- [ ] Create the function in `src/module_{n}.py`
- [ ] Describe it in `docs/index.md`
- [ ] Run `python -m pytest`
"""
LARGE_JSON = 1_500_000
"""Bytes of the large file in JSON."""


@dataclass(frozen=True)
class Written:
    """A plan to measure: its files by name, which of them is named, and what `check` says of it."""

    files: Mapping[str, str]
    name: str
    dialect: str
    tasks: int


def _repeated(head: str, part: str, tasks: int, every: tuple[int, str] = (0, "")) -> str:
    """Return a text with a part for each task, and a heading above each `every[0]` of them."""
    texts = [head]
    for n in range(1, tasks + 1):
        if every[0] and n % every[0] == 1:
            texts.append(every[1].format(n=n // every[0] + 1))
        numbers = {"first": 3 * n - 2, "second": 3 * n - 1, "third": 3 * n}
        texts.append(part.format(n=n, before=n - 1 or "None", **numbers))
    return "".join(texts)


def _taskmaster(tasks: int, padding: int = 0) -> str:
    def part(n: int, more: str) -> dict[str, object]:
        return {"id": n, "title": f"Part {n}", "description": f"{more} of it", "status": "pending"}

    found = [
        {
            **part(n, "Add module"),
            "dependencies": [n - 1] if n > 1 else [],
            "details": f"Write a function in src/module_{n}.py. " + "It is pure. " * padding,
            "testStrategy": "Run `python -m pytest`",
            "subtasks": [part(1, "The function"), part(2, "The test") | {"dependencies": [1]}],
        }
        for n in range(1, tasks + 1)
    ]
    return json.dumps({"master": {"tasks": found}}, indent=2)


def _ralph(tasks: int) -> str:
    stories = [
        {
            "id": f"US-{n:03}",
            "title": f"Add module {n}",
            "description": f"As a user I want module {n}",
            "acceptanceCriteria": ["It returns the number", "Tests pass"],
            "priority": n,
            "passes": False,
        }
        for n in range(1, tasks + 1)
    ]
    return json.dumps({"project": "Modules", "userStories": stories}, indent=2)


def _directory(part: str, name: str, tasks: int) -> Mapping[str, str]:
    return {name.format(n=n): part.format(n=n) for n in range(1, tasks + 1)}


def plans(tasks: int) -> Mapping[str, Written]:
    """Return the plans by what the table calls them; the first is the native one."""

    def one(path: str, text: str, dialect: str, number: int = tasks) -> Written:
        return Written({path: text}, path, dialect, number)

    phases = (10, "\n## Phase {n}: Part {n}\n")
    gsd = _directory(GSD, "gsd/01-modules/01-{n:04}-PLAN.md", tasks)
    bmad = _directory(BMAD, "stories/1.{n}.module.md", tasks)
    large = next(text for pad in range(0, 400, 20) if len(text := _taskmaster(tasks, pad)) >= LARGE_JSON)
    return {
        "patchyard": one("plan.md", text_of(tasks), "patchyard"),
        "superpowers": one("superpowers.md", _repeated("# Modules\n", SUPERPOWERS, tasks), "superpowers"),
        "spec-kit": one("specs/001/tasks.md", _repeated("# Tasks\n", SPEC_KIT, tasks), "spec-kit"),
        "kiro": one(".kiro/specs/a/tasks.md", _repeated("# Implementation Plan\n", KIRO, tasks), "kiro"),
        "openspec": one("openspec/changes/a/tasks.md", _repeated("", OPENSPEC, tasks), "openspec"),
        "gsd, a directory": Written(gsd, "gsd/01-modules", "gsd", tasks),
        "taskmaster": one("tasks.json", _taskmaster(tasks), "taskmaster"),
        "sisyphus": one("sisyphus.md", _repeated("# Modules\n\n## TODOs\n", SISYPHUS, tasks), "sisyphus"),
        "conductor": one("conductor.md", _repeated("# Plan\n", CONDUCTOR, tasks, phases), "conductor"),
        "humanlayer": one("humanlayer.md", _repeated("# Modules\n", HUMANLAYER, tasks), "humanlayer"),
        "ralph": one("prd.json", _ralph(tasks), "ralph"),
        "bmad, a directory": Written(bmad, "stories", "bmad", tasks),
        "checklist": one("TODO.md", _repeated("# Modules\n", CHECKLIST, tasks), "checklist"),
        "kiro, with `_Depends` on each": one(
            ".kiro/specs/b/tasks.md", _repeated("# Implementation Plan\n", KIRO_DEPENDS, tasks), "kiro"
        ),
        "taskmaster, 1.5 MB": one("large.json", large, "taskmaster"),
    }


def write(plan: Written, directory: Path) -> Path:
    """Write the files of a plan, and return what `check` is given."""
    for name, text in plan.files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory / plan.name


def checked(plan: Written, path: Path, home: Path) -> Callable[[], float]:
    """Return a measure of `patchyard check` on a plan, after a look at what it says."""
    command: list[str | Path] = [PATCHYARD, "check", path, "--repo", home, "--agent", "true"]
    environ = environment(home)
    said = json.loads(timed([*command, "--json"], environ)[1].partition("\n")[0])
    if (said.get("dialect"), said.get("tasks")) != (plan.dialect, plan.tasks):
        sys.exit(f"{path} is not read as meant: {said}")

    def seconds() -> float:
        before = getrusage(RUSAGE_CHILDREN)
        timed(command, environ)
        after = getrusage(RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    return seconds


def measured(tasks: int, rounds: int, only: str | None) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table."""
    with tempfile.TemporaryDirectory(prefix="patchyard-bench-") as name:
        home = Path(name)
        chosen = {
            title: plan
            for title, plan in plans(tasks).items()
            if only is None or only in title or title == "patchyard"
        }
        measures = {title: checked(plan, write(plan, home), home) for title, plan in chosen.items()}
        seconds = dict(zip(measures, each(rounds, *measures.values()), strict=True))
    for title, plan in chosen.items():
        size = sum(map(len, plan.files.values()))
        ratio = seconds[title] / seconds["patchyard"]
        yield title, f"{size / 1000:,.0f} kB", f"{ratio:.2f} times", f"{seconds[title]:.2f} s"


def main() -> None:
    """Measure, print the table, and put it into a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000, help="tasks of each plan")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each measure; the median counts")
    parser.add_argument("--only", metavar="DIALECT", help="this dialect, and the native one")
    parser.add_argument("--page", type=Path, help="put the table into this page, too")
    given = parser.parse_args()
    rows = list(measured(given.tasks, given.rounds, given.only))
    columns = ("plan", "size", "against the native one", "`check`, processor time")
    shown = str(Table(f"A plan of {given.tasks:,} tasks", columns, rows))
    text = f"{about()} Median of {given.rounds} rounds.\n\n{shown}"
    print(text)
    if given.page:
        before, begin, rest = given.page.read_text(encoding="utf-8").partition("<!-- speed -->\n")
        _, end, after = rest.partition("<!-- /speed -->")
        given.page.write_text(f"{before}{begin}{text}{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
