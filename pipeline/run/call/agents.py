"""Who does the tasks of a call: check their agents, and say how to name one."""

from collections.abc import Iterable, Mapping

from containers.agents.agent import is_usable, missing_requirement
from containers.agents.builtin import BUILT_IN
from pipeline.config.settings import Settings
from pipeline.config.sources import ConfigError, UnsetError
from pipeline.run.call.task_spec import BatchSpec, TaskSpec
from tasks.diagnostics import Diagnostic, Severity
from tasks.model import NATIVE, Plan
from tasks.text import closest, plural

SHOWN = 5
"""Ids of tasks that a message has at most."""


def unassigned(batches: Iterable[BatchSpec]) -> tuple[TaskSpec, ...]:
    """Return the tasks that nobody does: they are to run, and have neither commands nor an agent."""
    specs = (spec for batch in batches for spec in batch.tasks)
    return tuple(spec for spec in specs if not (spec.agent or spec.task.run or spec.task.is_left_out))


def no_agent(
    plan: Plan, batches: Iterable[BatchSpec], settings: Settings, environ: Mapping[str, str]
) -> Diagnostic | None:
    """Return one warning for all tasks that nobody does, with the ways to name an agent. Blocking."""
    left = unassigned(batches)
    if not left:
        return None
    from containers.agents.presence import installed  # noqa: PLC0415 - start-up stays quick

    own = "in the plan (`agent: NAME` in its front matter, or **Agent:** of a task)"
    third = own if plan.dialect == NATIVE else "as PATCHYARD_AGENT"
    agents = {**BUILT_IN, **settings.agents}
    here = installed(agents.values(), environ)
    by_command = {agent.command: name for name, agent in reversed(agents.items())}  # each once
    every = ", ".join(reversed(by_command.values()))
    known = f"installed here: {', '.join(here)}" if here else f"none is installed of {every}"
    names = ", ".join(spec.id for spec in left[:SHOWN]) + (", …" if len(left) > SHOWN else "")
    verb = "is" if len(left) == 1 else "are"
    message = (
        f"{plural(len(left), 'task')} ({names}) {verb} for an agent, and none is named: name one with "
        f'`--agent NAME`, as `agent = "NAME"` in patchyard.toml, or {third}; {known}'
    )
    return Diagnostic(plan.path, left[0].task.line, left[0].task.column, Severity.WARNING, message)


def check_work(
    plan: Plan, batches: Iterable[BatchSpec], settings: Settings, environ: Mapping[str, str]
) -> None:
    """Check that somebody does every task that is to run. Blocking.

    Raises:
        ConfigError: A task has neither commands nor an agent.
    """
    if found := no_agent(plan, batches, settings, environ):
        raise ConfigError(f"{found.path}:{found.line}: {found.message}")


def check_agents(batches: Iterable[BatchSpec], settings: Settings, environ: Mapping[str, str]) -> None:
    """Check the agents of tasks that are to run; the parser has checked those that the plan itself names.

    Raises:
        ConfigError: One is neither declared nor a program of this machine, where it would run, or misses a
            requirement.
    """
    for spec in (spec for batch in batches for spec in batch.tasks if not spec.task.is_left_out):
        agent = spec.agent
        if agent is None:
            continue
        if not spec.is_contained and not is_usable(agent.name, settings.agents, environ.get("PATH", "")):
            raise ConfigError(_unknown(agent.name, spec, settings))
        if missing := missing_requirement(agent, environ, contained=spec.is_contained):
            message = f"task {spec.id}: {missing}"
            if spec.is_contained:
                why = f"is needed by agent {agent.name}, for task {spec.id}"
                raise UnsetError(message, names=agent.secrets, why=why)
            raise ConfigError(message)


def _unknown(name: str, spec: TaskSpec, settings: Settings) -> str:
    similar = closest(name, [*settings.agents, *BUILT_IN])
    hint = f"declare it as [agents.{name}], or name a command"
    hint = f"did you mean {similar}? Else {hint}" if similar else hint
    return f"agent: {name!r}, for task {spec.id}, is neither declared nor a program; {hint}"
