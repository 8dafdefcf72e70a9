"""The key over all that a task is made from."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.keys import AgentUse, TaskInputs, canonical, inputs_of, key
from tasks.model import Check, DeclaredFile, FileAction, Mode, Step, StepKind, Task

STEP = Step(StepKind.RUN, "make", ("sh", "-c", "make"))
TASK = Task("1.1", "Build", 1, files=(DeclaredFile(FileAction.CREATE, "a", 3),), implementation="Do it.")
MADE = TaskInputs(
    task=TASK,
    steps=(STEP,),
    mode=Mode.DAGGER,
    base_tree="a" * 40,
    start_tree="b" * 40,
    agent=AgentUse("claude", "claude -p", "2.1"),
    image="python:3.13@sha256:" + "c" * 64,
    layers=("pip install x",),
    environment={"NAME": "value"},
    secrets=("TOKEN",),
)
OTHERS = {
    "task's id": replace(MADE, task=replace(TASK, id="1.2")),
    "task's title": replace(MADE, task=replace(TASK, title="Builds")),
    "task's text": replace(MADE, task=replace(TASK, implementation="Do it well.")),
    "a file's path": replace(MADE, task=replace(TASK, files=(DeclaredFile(FileAction.CREATE, "b", 3),))),
    "a file's action": replace(MADE, task=replace(TASK, files=(DeclaredFile(FileAction.DELETE, "a", 3),))),
    "verification": replace(MADE, task=replace(TASK, verification=(Check("It works"),))),
    "a step's command": replace(MADE, steps=(replace(STEP, argv=("sh", "-c", "make all")),)),
    "a step's kind": replace(MADE, steps=(replace(STEP, kind=StepKind.VERIFY),)),
    "a step's input": replace(MADE, steps=(replace(STEP, stdin="prompt"),)),
    "one step more": replace(MADE, steps=(STEP, STEP)),
    "the base": replace(MADE, base_tree="d" * 40),
    "the start": replace(MADE, start_tree="d" * 40),
    "no agent": replace(MADE, agent=None),
    "the agent's command": replace(MADE, agent=AgentUse("claude", "claude -p --model x", "2.1")),
    "the agent's version": replace(MADE, agent=AgentUse("claude", "claude -p", "2.2")),
    "the image": replace(MADE, image="python:3.13@sha256:" + "d" * 64),
    "the layers": replace(MADE, layers=("pip install y",)),
    "the history": replace(MADE, depth=5),
    "a variable's name": replace(MADE, environment={"NAMES": "value"}),
    "a variable's value": replace(MADE, environment={"NAME": "values"}),
    "a secret's name": replace(MADE, secrets=("KEY",)),
    "the place": replace(MADE, mode=Mode.LOCAL),
}


@pytest.mark.parametrize("what", OTHERS)
def test_every_input_of_a_task_is_in_its_key(what: str) -> None:
    assert key(OTHERS[what]) != key(MADE)
    assert len({key(other) for other in OTHERS.values()}) == len(OTHERS)


def test_same_inputs_have_the_same_key_in_any_order_and_process() -> None:
    again = replace(
        MADE,
        environment={"B": "2", "A": "1"},
        secrets=("Y", "X"),
    )
    assert key(again) == key(replace(MADE, environment={"A": "1", "B": "2"}, secrets=("X", "Y")))
    # Written down: a key that changes for no reason makes reports of two versions useless to compare.
    assert key(MADE) == "279e6fe00d4335ed8d379da494eba5b3232e6c4361dbc0a5064e1900040f1c4f"


def test_irrelevant_fields_are_not_in_the_key() -> None:
    moved = replace(TASK, line=40, files=(DeclaredFile(FileAction.CREATE, "a", 44),), batch=2)
    assert key(replace(MADE, task=moved)) == key(MADE)
    renamed = replace(MADE, agent=AgentUse("mine", "claude -p", "2.1"))
    assert key(renamed) == key(MADE)
    on_machine = replace(MADE, mode=Mode.LOCAL)
    assert key(on_machine) == key(replace(MADE, mode=Mode.PARALLEL, image=None, layers=(), depth=0))


def test_stored_inputs_have_names_but_no_values() -> None:
    kept = inputs_of(replace(MADE, environment={"B": "hidden-2", "A": "hidden-1"}))
    assert kept.environment == ("A", "B")
    assert kept.secrets == ("TOKEN",)
    assert kept.key == key(replace(MADE, environment={"B": "hidden-2", "A": "hidden-1"}))
    assert "hidden" not in repr(kept)
    assert "value" not in repr(MADE)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_canonical_text_is_complete_and_unique(value: object) -> None:
    text = canonical(value)
    assert json.loads(text) == value
    assert canonical(json.loads(text)) == text


def test_inputs_that_are_not_utf_8_have_a_key() -> None:
    odd = replace(MADE, environment={"NAME": "\udcff"}, task=replace(TASK, title="\udcfe"))
    assert key(odd) != key(MADE)
