"""Command `tick`: set the boxes of what a run has done in the file of its plan."""

from collections.abc import Iterable
from pathlib import Path

import click

from containers.filesystem import is_directory
from containers.git.repository import Repository
from containers.temporary import write_atomically
from pipeline.cli.options import database_option, repo_option
from pipeline.cli.process import repository_and_store
from pipeline.run.call.plan_file import CallError, PlanFile, read_plan
from pipeline.run.stored.status import plan_of
from pipeline.store.records import Run, StoredTask
from tasks.dialects.packing import unpacked
from tasks.dialects.read_options import ReadOptions
from tasks.dialects.registry import parse
from tasks.dialects.source import Source
from tasks.dialects.ticks import ticked
from tasks.model import NATIVE, Plan, Task
from tasks.text import plural, printable


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@repo_option
@database_option
@click.option("--merged", is_flag=True, help="Only of tasks whose pull request is known to be merged.")
def tick(run_name: str | None, repo: Path, *, merged: bool) -> None:
    """Set the boxes of the tasks of RUN that succeeded, in the file of its plan; by default of the newest run.

    Nothing else of the file changes. In JSON the status of a task is set.
    """
    with repository_and_store(repo) as (repository, store):
        run = store.run(run_name)
        done = [item for item in store.tasks(run.id) if _counts(item, merged=merged)]
        plan = plan_of(run)
    path = _path_of(run, plan, repository)
    file = read_plan(str(path))
    try:
        text = file.data.decode()
    except UnicodeDecodeError:
        raise CallError(f"{run.plan_path} is not UTF-8 any more; save it as UTF-8") from None
    tasks, changed = _unchanged(plan, _parsed(run, file), {item.outcome.task for item in done})
    for name in changed:
        click.echo(
            printable(f"task {name} is not in {run.plan_path} as it was in the run; it is left"), err=True
        )
    result = ticked(text, tasks)
    if result.boxes:
        write_atomically(path, result.text.encode(), mode=path.stat().st_mode & 0o777)
        click.echo(printable(f"{run.plan_path}: {result.boxes} set, of {plural(len(result.tasks), 'task')}"))
    else:
        why = "their boxes are set already" if tasks else "no task of the run has changed that"
        click.echo(printable(f"{run.plan_path}: nothing to set: {why}"))


def _counts(item: StoredTask, *, merged: bool) -> bool:
    is_merged = item.pull_request is not None and item.pull_request.action == "merged"
    return item.outcome.succeeded and (is_merged or not merged)


def _path_of(run: Run, plan: Plan, repository: Repository) -> Path:
    """Return the file of a run's plan in the user's tree.

    Raises:
        CallError: There is none, or it has no boxes.
    """
    if plan.dialect == NATIVE:
        raise CallError(
            f"{run.plan_path} is a plan of the native format, which has no boxes; set its **Status:**"
        )
    for path in (Path(run.plan_path), repository.root / run.plan_path):
        if path.is_file():
            return path.resolve()
        if is_directory(path):
            raise CallError(f"{run.plan_path} is a directory of plans; set the boxes of its files by hand")
    raise CallError(f"{run.plan_path} is not there any more; name the repository with --repo")


def _parsed(run: Run, file: PlanFile) -> Plan:
    """Return the plan as it is now, read as the run has read it.

    Raises:
        CallError: It has errors.
    """
    _, options = unpacked(Source(run.plan_path, run.plan_text), ReadOptions())
    parsed = parse(file.data, run.plan_path, agent="agent", options=options, beside=file.beside)
    if parsed.plan is None:
        raise CallError(f"the plan cannot be read any more: {parsed.errors[0]}")
    return parsed.plan


def _unchanged(before: Plan, after: Plan, names: Iterable[str]) -> tuple[list[Task], list[str]]:
    """Return the tasks of these names that are still the same, and the names of the others."""
    old = {task.id: task for task in before.tasks}
    new = {task.id: task for task in after.tasks}
    wanted = [task for task in before.tasks if task.id in set(names) and not task.is_left_out]
    same = [task.id for task in wanted if task.id in new and new[task.id].title == old[task.id].title]
    return [new[name] for name in same], [task.id for task in wanted if task.id not in same]
