"""What commands cost on every machine alike does not grow unnoticed: benchmarks/counts.json has the limits."""

import importlib.util
import json
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "counts.py"
EVENTS = 1.25
"""How much more the statements of a task may be: events that follow closely share a transaction."""


@pytest.mark.slow
def test_imports_processes_and_statements_do_not_grow() -> None:
    specification = importlib.util.spec_from_file_location("counts", BENCHMARK)
    assert specification
    assert specification.loader
    counts = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(counts)
    limits, found = json.loads(counts.TABLE.read_text()), counts.count()
    assert found.keys() == limits.keys()
    for command, limit in limits.items():
        if command == "each further task":
            assert found[command]["git processes"] <= limit["git processes"]
            assert found[command]["SQL statements"] <= limit["SQL statements"] * EVENTS
        else:
            assert found[command]["own modules"] <= limit["own modules"], f"{command} imports more; {ADVICE}"
            assert set(found[command]["libraries"]) <= set(limit["libraries"]), f"{command}: {ADVICE}"


ADVICE = "import it where it is used, or renew the table with `make counts` and say why"
