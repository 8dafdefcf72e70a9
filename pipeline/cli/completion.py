"""What the shell completes: runs, tasks and plans. Commands, options and choices click knows by itself."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from tasks.errors import PatchyardError
from tasks.text import printable

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from pipeline.store.records import Run
    from pipeline.store.store import Store

NEWEST = 30
"""Runs that are offered, at most."""
HELP = 60
"""Characters of a title that shells show beside an id."""


class _Completed(click.types.StringParamType):
    """A string that the shell completes."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        """Return what begins so; nothing where an error prevents it."""
        with suppress(PatchyardError, OSError):
            return self.found(ctx, param, incomplete)
        return []

    def found(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        """Return what begins so.

        Raises:
            PatchyardError: It cannot be found out.
        """
        raise NotImplementedError


class RunType(_Completed):
    """The id of a run."""

    def found(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":  # noqa: ARG002 - one of several
        """Return the newest runs."""
        with _store(ctx) as store:
            return _runs(store, incomplete) if store else []


class TaskType(_Completed):
    """A task: of the run that is named before it, or of the plan."""

    def found(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":  # noqa: ARG002 - one of several
        """Return the tasks."""
        if plan := ctx.params.get("plan_argument") or ctx.params.get("plan_option"):
            return _matching(_tasks_of_plan(str(plan), ctx), incomplete)
        with _store(ctx) as store:
            if store is None:
                return []
            from pipeline.cli.chosen import choose  # noqa: PLC0415 - loads the store

            named = [ctx.params["run_name"]] if ctx.params.get("run_name") else ctx.params.get("names") or ()
            return _matching(_tasks(store, choose(store, named[:1])[0]), incomplete)


class RunOrTaskType(_Completed):
    """A run, or a task of the newest run; after a run, a task of it."""

    def found(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        """Return the runs and the tasks."""
        given: Sequence[str] = ctx.params.get(param.name or "") or ()
        with _store(ctx) as store:
            if store is None:
                return []
            from pipeline.cli.chosen import choose  # noqa: PLC0415 - loads the store

            tasks = _matching(_tasks(store, choose(store, given)[0]), incomplete)
            return tasks if given else [*_runs(store, incomplete), *tasks]


class AgentType(_Completed):
    """The name of an agent."""

    def found(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":  # noqa: ARG002 - one of several
        """Return the agents that are built in, and those that the settings declare."""
        from containers.agents.builtin import BUILT_IN  # noqa: PLC0415 - slow to import
        from pipeline.cli.process import repository_if_any  # noqa: PLC0415 - likewise
        from pipeline.config.sources import load  # noqa: PLC0415 - likewise

        environ = _environment(ctx)
        _, root = repository_if_any(ctx.params.get("repo") or Path(), environ)
        return _matching(dict.fromkeys([*BUILT_IN, *load({}, environ, root).agents], ""), incomplete)


class PlanType(click.types.StringParamType):
    """A plan: a file or a directory."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        """Let the shell complete the path."""
        del ctx, param
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - start-up stays quick

        return [CompletionItem(incomplete, type="file")]


TYPES: Mapping[str, click.types.StringParamType] = MappingProxyType(
    {
        "run_name": RunType(),
        "names": RunOrTaskType(),
        "agent": AgentType(),
        **dict.fromkeys(("task", "tasks", "others", "only", "prompt_of"), TaskType()),
        **dict.fromkeys(("plan", "plans", "plan_argument", "plan_option"), PlanType()),
    }
)
"""The type of a parameter, by its name."""


def with_completion(command: click.Command) -> click.Command:
    """Return a command whose runs, tasks and plans are completed."""
    for parameter in command.params:
        if type(parameter.type) is click.types.StringParamType and parameter.name in TYPES:
            parameter.type = TYPES[parameter.name]
    return command


@contextmanager
def _store(ctx: click.Context) -> "Iterator[Store | None]":
    """Open the store of the repository that is meant; `None` if there is none yet.

    Raises:
        PatchyardError: There is no repository, or the store cannot be opened.
    """
    from containers.git.repository import Repository  # noqa: PLC0415 - slow to import
    from pipeline.run.stored.open_store import open_store  # noqa: PLC0415 - likewise
    from pipeline.store.database_url import VARIABLE  # noqa: PLC0415 - likewise

    environ = _environment(ctx)
    repository = Repository.open(ctx.params.get("repo") or Path(), environ)
    if not (environ.get(VARIABLE) or (repository.common / "patchyard").is_dir()):
        yield None
        return
    with open_store(repository, environ) as store:
        yield store


def _environment(ctx: click.Context) -> dict[str, str]:
    return {**os.environ, **(ctx.find_root().obj or {}), **{k: v for k, v in ctx.meta.items() if k.isupper()}}


def _runs(store: "Store", incomplete: str) -> "list[CompletionItem]":
    newest = list(reversed(store.runs()))[:NEWEST]
    titles = {run.id: f"{run.status}: {run.plan_title or run.plan_path}" for run in newest}
    return _matching({**titles, "latest": "the newest run"}, incomplete)


def _tasks(store: "Store", run: "Run") -> dict[str, str]:
    from pipeline.run.stored.status import known_plan  # noqa: PLC0415 - loads the parser

    plan = known_plan(run)
    titles = {task.id: task.title for task in plan.tasks} if plan else {}
    return titles | {
        item.outcome.task: f"{item.outcome.status}: {item.outcome.title}" for item in store.tasks(run.id)
    }


def _tasks_of_plan(path: str, ctx: click.Context) -> dict[str, str]:
    from pipeline.cli.process import repository_if_any  # noqa: PLC0415 - slow to import
    from pipeline.config.sources import load  # noqa: PLC0415 - likewise
    from pipeline.run.call.plan_file import parse_plan, read_plan  # noqa: PLC0415 - likewise

    environ = _environment(ctx)
    _, root = repository_if_any(ctx.params.get("repo") or Path(), environ)
    parsed = parse_plan(read_plan(path), load({}, environ, root), environ)
    return {task.id: task.title for task in parsed.plan.tasks} if parsed.plan else {}


def _matching(found: Mapping[str, str], incomplete: str) -> "list[CompletionItem]":
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - start-up stays quick

    return [
        CompletionItem(name, help=" ".join(printable(text).split())[:HELP])
        for name, text in found.items()
        if name.startswith(incomplete)
    ]
