"""The tasks of a plan as a graph."""

from tasks.dialects.read_options import Order, ReadOptions
from tasks.dialects.registry import parse
from tasks.graph import direct, edges, longest_chain, mermaid, text_lines, waves
from tasks.model import Plan

NATIVE = """\
## Batch 1: A
### Task 1.1: One
**Run:** make a
### Task 1.2: Two
**Run:** make b
**Dependencies:** Task 1.1
## Batch 2: B
### Task 2.1: Three "quoted"
**Run:** make c
"""

SEQUENCE = """\
### Task 1: A
**Files:**
- Create: `a.py`
- [ ] **Step 1: Write it**
### Task 2: B
**Files:**
- Create: `b.py`
- [ ] **Step 1: Write it**
### Task 3: C
**Files:**
- Modify: `a.py`
- [ ] **Step 1: Write it**
### Task 4: D
- [ ] **Step 1: Look at all of it**
### Task 5: E
**Files:**
- Create: `e.py`
- [ ] **Step 1: Write it**
"""


def plan_of(text: str, order: Order = Order.AS_WRITTEN) -> Plan:
    found = parse(text, "plan.md", agent="agent", options=ReadOptions(order=order))
    assert found.plan, found.diagnostics
    return found.plan


def test_batches_are_barriers() -> None:
    plan = plan_of(NATIVE)
    assert edges(plan) == {"1.1": (), "1.2": ("1.1",), "2.1": ("1.1", "1.2")}
    assert waves(plan) == [["1.1"], ["1.2"], ["2.1"]]
    assert longest_chain(plan) == ("1.1", "1.2", "2.1")


def test_direct_waits_leave_out_what_others_wait_for() -> None:
    assert direct(edges(plan_of(NATIVE))) == {"1.1": (), "1.2": ("1.1",), "2.1": ("1.2",)}
    waits = {"a": (), "b": (), "c": ("a",), "d": ("b", "c", "a"), "e": ("d", "b")}
    assert direct(waits) == {"a": (), "b": (), "c": ("a",), "d": ("b", "c"), "e": ("d",)}


def test_inferred_edges_have_their_reason() -> None:
    plan = plan_of(SEQUENCE, Order.INFERRED)
    assert list(text_lines(plan)) == [
        "1",
        "2",
        "3 after 1 (both change a.py)",
        (
            "4 after 1 (task 4 declares no file, so it may touch any), "
            "2 (task 4 declares no file, so it may touch any), 3 (task 4 declares no file, so it may touch any)"
        ),
        "5 after 4 (task 4 declares no file, so it may touch any)",
    ]
    assert [len(wave) for wave in waves(plan)] == [2, 1, 1, 1]


def test_mermaid_quotes_titles() -> None:
    lines = mermaid(plan_of(NATIVE)).split("\n")
    assert lines[0] == "graph TD"
    assert '  t2["2.1 Three #quot;quoted#quot;"]' in lines
    assert "  t0 --> t1" in lines


def test_tasks_of_a_batch_share_what_they_wait_for() -> None:
    """Otherwise a plan of ten batches with a thousand tasks each has nine million names."""
    batches = [[f"{batch}.{number}" for number in range(1, 41)] for batch in (1, 2, 3)]
    lines = []
    for batch, names in enumerate(batches, 1):
        lines += [f"## Batch {batch}: B", *(f"### Task {name}: T\n**Run:** make" for name in names)]
    text = "\n".join(lines)
    waits = edges(plan_of(text))
    assert waits["3.40"] == tuple(batches[1])
    assert len({id(others) for others in waits.values()}) == 3
    assert waves(plan_of(text)) == batches
    assert direct(waits) == waits
    assert len(longest_chain(plan_of(text))) == 3
