"""Measure how long parsing a plan takes: `python benchmarks/parse.py [TASKS ...]`."""

import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tasks.plan.parser import parse  # noqa: E402 - the program of this checkout is measured, wherever it is run from

REPEATS = 7

TASK = """
### Task {batch}.{place}: Add module {number}

**Files:**
- Create: `src/module_{number}.py`
- Modify: `docs/index.md`

**Implementation:**
Write a function that returns {number}, with a docstring and types.

- It is pure.
- It has a test.

**Run:**
```sh
echo 'def number(): return {number}' > src/module_{number}.py
```

**Verification:**
- `test -f src/module_{number}.py`
- python -m pytest
- The function has a docstring

**Commit:** feat: add module {number}
**Timeout:** 10m
"""


def text_of(tasks: int) -> str:
    """Return the text of a plan with a number of tasks, in batches of 20."""
    parts = ["# A long plan\n"]
    for number in range(tasks):
        batch, place = divmod(number, 20)
        if not place:
            parts.append(f"\n## Batch {batch + 1}: Part {batch + 1}\n\n**Execution Mode:** parallel\n")
        parts.append(TASK.format(batch=batch + 1, place=place + 1, number=number))
    return "".join(parts)


def seconds(text: str) -> tuple[float, float]:
    """Return the wall time and the CPU time, in seconds, of the fastest of several rounds."""
    clock, processor = [], []
    for _ in range(REPEATS):
        begin = time.perf_counter(), time.process_time()
        parsed = parse(text, "plan.md")
        clock.append(time.perf_counter() - begin[0])
        processor.append(time.process_time() - begin[1])
        assert parsed.plan is not None  # noqa: S101 - a plan with mistakes would be measured for nothing
    return min(clock), min(processor)


def main(arguments: list[str]) -> None:
    """Print a table of tasks, lines, and milliseconds of wall time and CPU time."""
    print(f"{'tasks':>7} {'lines':>8} {'ms':>8} {'CPU ms':>8} {'CPU µs/task':>12}")
    for tasks in [int(argument) for argument in arguments] or [250, 500, 1_000, 2_000]:
        text = text_of(tasks)
        clock, processor = seconds(text)
        lines = text.count("\n")
        each = processor / tasks * 1e6
        print(f"{tasks:>7,} {lines:>8,} {clock * 1e3:>8.1f} {processor * 1e3:>8.1f} {each:>12.0f}")


if __name__ == "__main__":
    main(sys.argv[1:])
