"""A plan written as a native one and read again, which has to be the same."""

from dataclasses import replace

from containers.agents.prompt import prompt
from tasks.dialects.registry import parse
from tasks.model import NATIVE, Plan, Task
from tasks.plan.writer import differing, native_text

OUTSIDE = "is outside of the repository: this task will fail"


def read_again(plan: Plan) -> tuple[str, Plan]:
    """Return the text of a native plan, and what it is read as; assert that this is the same plan."""
    text = native_text(plan)
    text.encode()  # a text file can hold it
    parsed = parse(text, plan.path, agent="agent")
    assert parsed.plan, parsed.diagnostics
    again = parsed.plan
    assert all(found.message.endswith(OUTSIDE) for found in parsed.diagnostics)
    assert (again.dialect, again.version) == (NATIVE, 2)
    assert (again.title, again.name, again.neighbours) == (plan.title, plan.name, plan.neighbours)
    assert (again.header.strip(), again.footer.strip()) == (plan.header.strip(), plan.footer.strip())
    assert [prompt(task, again) for task in again.tasks] == [prompt(task, plan) for task in plan.tasks]
    assert [bare(task) for task in again.tasks] == [bare(task) for task in plan.tasks]
    assert len(again.batches) <= 1
    assert differing(plan, again) == ()
    return text, again


def bare(task: Task) -> Task:
    """Return a task without its places in the file, and without the blanks around its texts."""
    return replace(
        task,
        files=tuple(replace(file, line=0) for file in task.files),
        verification=tuple(replace(check, line=0) for check in task.verification),
        implementation=task.implementation.strip(),
        group_text=task.group_text.strip(),
        reasons=dict(task.reasons),
        open_items=(),
        open_box=None,
        line=0,
        column=0,
    )
