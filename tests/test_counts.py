"""What commands cost on every machine alike does not grow unnoticed: benchmarks/counts.json has the limits."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "counts.py"
EVENTS = 1.25
"""How much more the statements of a task may be: events that follow closely share a transaction."""
NAMES = 1.05
"""How much more the bytes of a task may be: paths and random names are longer."""
GROWTH = 1.1
"""How much more may be counted for a later task: names and numbers are longer."""


@pytest.fixture(scope="module")
def counts() -> ModuleType:
    """The benchmark as a module."""
    specification = importlib.util.spec_from_file_location("counts", BENCHMARK)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_imports_processes_and_statements_do_not_grow(counts: ModuleType) -> None:
    limits, found = json.loads(counts.TABLE.read_text()), counts.count()
    assert found.keys() == limits.keys()
    for command, limit in limits.items():
        if command == "each further task":
            assert found[command]["git processes"] <= limit["git processes"]
            assert found[command]["SQL statements"] <= limit["SQL statements"] * EVENTS
        elif command == "each further task of an engine":
            assert found[command]["requests"] <= limit["requests"]
            assert found[command]["bytes"] <= limit["bytes"] * NAMES
        else:
            assert found[command]["own modules"] <= limit["own modules"], f"{command} imports more; {ADVICE}"
            assert set(found[command]["libraries"]) <= set(limit["libraries"]), f"{command}: {ADVICE}"


@pytest.mark.slow
@pytest.mark.timeout(400)  # 270 tasks
def test_a_task_costs_the_same_however_many_have_run(counts: ModuleType) -> None:
    """What is counted for the tasks around the 60th and around the 240th; seconds depend on the machine."""
    after = counts.growth(270, batches=9)
    assert len(after) == 270
    for name in ("git", "sql", "bytes", "rows"):
        early, late = ((after[at + 25][name] - after[at - 25][name]) / 50 for at in (60, 240))
        assert early > 0 or name == "rows"
        assert late <= early * GROWTH + 1, f"{name}: {early} a task around the 60th, {late} around the 240th"


ADVICE = "import it where it is used, or renew the table with `make counts` and say why"
