"""The page that starts a run: the plans of a repository, the check of the chosen one, and its tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from pydantic import ValidationError

from pipeline.run.call.plan_choices import BOXES, PlanChoice, find_plans
from pipeline.web import actions
from pipeline.web.actions import CheckedPlan
from pipeline.web.schemas import Start
from pipeline.web.services import Services
from tasks.dialects.read_options import NAMES, Order, UnitKind
from tasks.errors import PatchyardError
from tasks.graph import direct, edges
from tasks.lazy.dataclasses import dataclass
from tasks.model import Mode, Plan, Task
from tasks.outcome import PullRequestScope

LISTS = frozenset({"tasks"})
"""Fields of the form that may be there several times."""
CHOICES: Mapping[str, Sequence[str]] = {
    "modes": list(Mode),
    "dialects": NAMES,
    "units": list(UnitKind),
    "scopes": list(PullRequestScope),
    "orders": list(Order),
}


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """A task of a checked plan; `ticked` is whether it is to run, `after` the tasks that it waits for."""

    task: Task
    ticked: bool
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewRun:
    """The form. `obstacle` is why nothing can run in the repository, `errors` why the run was not started."""

    values: Mapping[str, str]
    repositories: tuple[str, ...]
    choices: tuple[PlanChoice, ...] = ()
    obstacle: str | None = None
    checked: CheckedPlan | None = None
    tasks: tuple[PlannedTask, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def plans(self) -> tuple[PlanChoice, ...]:
        """The choices that are plans by more than their boxes."""
        return tuple(one for one in self.choices if one.dialect != BOXES)

    @property
    def others(self) -> tuple[PlanChoice, ...]:
        """The choices that only have boxes."""
        return tuple(one for one in self.choices if one.dialect == BOXES)

    @property
    def open_tasks(self) -> int:
        """How many tasks of the plan can run."""
        return sum(not one.task.is_left_out for one in self.tasks)

    @property
    def is_ready(self) -> bool:
        """Whether the plan that was checked can be started."""
        return bool(self.checked and self.checked.plan and not self.checked.problem)


@dataclass(slots=True)
class FormValues:
    """What was filled in: the last value of each field, and the tasks that are ticked."""

    fields: dict[str, str]
    tasks: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, found: Mapping[str, Sequence[str]]) -> "FormValues":
        """Return the values of the fields of a form."""
        fields = {name: values[-1].strip() for name, values in found.items() if name not in LISTS}
        made = cls(fields, list(found.get("tasks", ())))
        if chosen := made.fields.pop("plan", ""):
            made.fields["plan_path"] = made.fields.get("plan_path") or chosen
        return made

    def start(self) -> Start:
        """Return the run that they ask for; empty fields count as absent.

        Raises:
            ValidationError: A value is wrong.
            PatchyardError: No task is ticked.
        """
        given: dict[str, Any] = {name: value for name, value in self.fields.items() if value}
        shown, ticks_of = given.pop("shown", ""), given.pop("ticks_of", None)
        if shown and ticks_of == given.get("plan_path"):
            if not self.tasks:
                raise PatchyardError("no task is ticked; tick those that are to run")
            if str(len(self.tasks)) != shown:
                given |= {"tasks": self.tasks, "only": True}
        for name in ("pool_size", "start_batch", "end_batch"):
            if given.get(name, "").isdecimal():
                given[name] = int(given[name])
        given |= {name: True for name in ("publish", "optional") if name in given}
        return Start.model_validate(given)


async def read_form(services: Services, values: FormValues, errors: Sequence[str] = ()) -> NewRun:
    """Return the form for what was filled in, with the check of the plan if one is chosen."""
    known = await services.call(services.repositories.all)
    roots = tuple(str(repository.root) for repository in known)
    fields = values.fields
    if roots:
        fields.setdefault("repo", roots[0])
    try:
        repository = await services.call(services.repositories.named, fields.get("repo"))
        choices = await services.call(find_plans, repository.root, services.settings.environ)
    except PatchyardError as error:
        return NewRun(fields, roots, obstacle=str(error), errors=tuple(errors))
    if not fields.get("plan_path"):
        return NewRun(fields, roots, choices, errors=tuple(errors))
    checked, problems = await _checked(services, values)
    return NewRun(
        fields,
        roots,
        choices,
        checked=checked,
        tasks=_planned(checked.plan, values) if checked and checked.plan else (),
        errors=tuple(dict.fromkeys((*errors, *problems))),
    )


async def _checked(services: Services, values: FormValues) -> tuple[CheckedPlan | None, tuple[str, ...]]:
    """Return the check of the chosen plan, and why there is none."""
    try:
        return await actions.check_plan(services, FormValues(values.fields | {"ticks_of": ""}).start()), ()
    except ValidationError as error:
        return None, faults_of(error)
    except PatchyardError as error:
        return None, (str(error),)


def _planned(plan: Plan, values: FormValues) -> tuple[PlannedTask, ...]:
    """Return the tasks of a plan; all are ticked until the form says otherwise."""
    waits, own = direct(edges(plan)), values.fields.get("ticks_of") == values.fields["plan_path"]
    return tuple(
        PlannedTask(
            task, ticked=not task.is_left_out and (not own or task.id in values.tasks), after=waits[task.id]
        )
        for task in plan.tasks
    )


def faults_of(error: ValidationError) -> tuple[str, ...]:
    """Return what is wrong with each field, a sentence each."""
    return tuple(f"{item['loc'][0]}: {item['msg']}" for item in error.errors())
