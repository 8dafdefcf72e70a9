"""Commands `check` and `run --dry-run`: show what a plan does without running it."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from textwrap import indent
from typing import Any

import click

from containers.agents.prompt import prompt
from containers.git.repository import Repository
from pipeline.cli.commands.remarks import print_diagnostics, print_remarks, print_warnings
from pipeline.cli.process import BAD_PLAN, repository_if_any
from pipeline.config.settings import Settings
from pipeline.config.sources import load
from pipeline.config.trust import Grant, TrustStore, needed_grants, trust_command
from pipeline.events import now, timestamp
from pipeline.run.call.agents import check_agents, no_agent, unassigned
from pipeline.run.call.limits import limits_found
from pipeline.run.call.plan_file import CallError, parse_plan, read_plan, with_existing_neighbours
from pipeline.run.call.prepare import Call, Prepared, prepare
from pipeline.run.call.remarks import OVERLAPS, overlap_remarks, remarks
from pipeline.run.call.sandbox import sandbox_sentence
from pipeline.run.call.task_spec import BatchSpec, TaskSpec, resolve_batches
from pipeline.verdict.reason import listed
from tasks.conflicts import Serialize
from tasks.dialects.wording import named, nothing_left, nothing_to_start
from tasks.graph import edges, longest_chain, mermaid, text_lines, waves
from tasks.model import NATIVE, Mode, Plan, Step, hidden_script
from tasks.overlaps import overlaps, serialized
from tasks.plan.parser import Diagnostic
from tasks.text import closest, plural, printable

NOBODY = "  agent  none is named yet"
CHAIN = 20
"""Maximum number of tasks of a chain that is shown."""
MOST_WAITS = 20
"""Maximum number of tasks that one waits for that are shown; `--json` has all of them."""


def show_plan(call: Call, repository: Repository, *, as_json: bool, prompt_of: str | None = None) -> int:
    """Show what a run would do in the repository of the call, without doing it; return the exit code. Blocking.

    With `prompt_of`, only what the agent of that task would be given is shown.

    Raises:
        PatchyardError: The plan or an option is invalid.
    """
    prepared = prepare(call, repository=repository)
    settings = prepared.settings
    if prompt_of:
        print_prompt(prepared.plan, prepared.batches, prompt_of)
        return 0
    print_warnings(prepared)
    if nobody := no_agent(prepared.plan, prepared.batches, settings, call.environ):
        print_diagnostics([nobody])
    nobodys = {spec.id for spec in unassigned(prepared.batches)}
    _show_overlaps(prepared.plan, as_json=as_json)
    if not as_json:
        if left := nothing_to_start(prepared.plan):
            click.echo(printable(f"{prepared.plan.path}: {left}: nothing is left to run"))
            return 0
        base = f"{prepared.base[:12]}{f' ({prepared.base_name})' if prepared.base_name else ''}"
        click.echo(f"would run {plural(len(prepared.plan.tasks), 'task')} of {prepared.plan.path} from {base},")
        click.echo(f"in a pool of {settings.pool_size} worktrees at {prepared.worktrees.path}")
        _show_sandbox(prepared.batches, settings, prepared.repository, call.environ)
        click.echo(printable(_extent(prepared.plan)))
    for batch in prepared.batches:
        if not batch.tasks:
            continue
        if not as_json and prepared.plan.has_batches:
            builds = ", ".join(map(str, batch.batch.dependencies or ()))
            foundation = f", builds on batch {builds}" if builds else ""
            click.echo(printable(f"\nbatch {batch.number}: {batch.title} ({batch.mode}{foundation})"))
        for spec in batch.tasks:
            record = _dry_run_record(prepared, spec)
            needs_agent = spec.id in nobodys
            click.echo(json.dumps(record) if as_json else _dry_run_text(record, spec, needs_agent=needs_agent))
    return 0


def _show_sandbox(
    batches: Iterable[BatchSpec], settings: Settings, repository: Repository, environ: Mapping[str, str]
) -> None:
    """Say with which rights tasks run, and by what their limits hold, if any runs on this machine."""
    if any(batch.tasks and batch.mode is not Mode.DAGGER for batch in batches):
        click.echo(printable(sandbox_sentence(settings, repository, environ)))
        if found := limits_found(settings, environ):
            click.echo(printable(f"limits: {found}"))


def _event(name: str) -> dict[str, Any]:
    """Return what every line of JSON begins with."""
    return {"event": name, "time": timestamp(now())}


def _step_records(steps: Iterable[Step], mask: Callable[[str], str] = str) -> list[dict[str, str | None]]:
    """Return the steps of a task; `mask` removes the secrets from a text."""
    return [
        {"kind": str(step.kind), "command": step.title, "script": step.script and mask(step.script)}
        for step in steps
    ]


def _dry_run_record(prepared: Prepared, spec: TaskSpec) -> dict[str, Any]:
    return _event("would_run") | {
        "task": spec.id,
        "title": spec.title,
        "batch": spec.task.batch,
        "mode": str(spec.mode),
        "skipped": spec.task.is_left_out,
        "depends_on": list(spec.task.dependencies),
        "branch": prepared.settings.branch.format(plan=prepared.plan.name, task=spec.id, run="RUN"),
        "timeout": spec.timeout,
        "steps": _step_records(spec.steps, prepared.secrets.mask_text),
    }


def _dry_run_text(record: Mapping[str, Any], spec: TaskSpec, *, needs_agent: bool) -> str:
    lines = [f"  task {record['task']}: {record['title']}"]
    if record["skipped"]:
        why = "optional; --optional runs it" if spec.task.optional else "marked as completed in the plan"
        lines[0] += f" (skipped: {why})"
    elif record["depends_on"]:
        lines[0] += f" (after {', '.join(map(str, record['depends_on']))})"
    if not record["skipped"]:
        lines += [f"  {NOBODY}"] if needs_agent else []
        lines += [f"    {step['kind']:6} {step['command']}" for step in record["steps"]]
        lines.append(f"    branch {record['branch']}")
    return printable("\n".join(lines))


def check_plan(  # noqa: PLR0913 - what is checked, and how it is shown
    path: str,
    repo: Path,
    environ: Mapping[str, str],
    *,
    flags: Mapping[str, object],
    as_json: bool,
    graph: str | None = None,
    prompt_of: str | None = None,
    verbose: bool = False,
) -> int:
    """Report the errors of a plan, and show which verification is run and which goes to the agent. Blocking.

    A repository is not required; outside of one, the configuration file is searched in `repo` itself.

    With `graph`, `text` or `mermaid`, only which tasks wait for which is shown; with `prompt_of`, only what the
    agent of that task will be given. With `verbose`, scripts are shown whole.

    Returns the exit code: 0 if the plan can be run, 2 if it has errors.

    Raises:
        PatchyardError: The plan cannot be read, or the configuration or an agent is invalid.
    """
    repository, root = repository_if_any(repo, environ)
    sources = load(flags, environ, root)
    parsed = parse_plan(read_plan(path), sources, environ)
    if parsed.plan is None:
        _show_diagnostics(parsed.diagnostics, as_json=as_json)
        return BAD_PLAN
    settings = sources.resolve(parsed.plan.settings)
    plan = with_existing_neighbours(parsed.plan, repository, settings.base or "HEAD")
    plan = serialized(plan) if settings.serialize is Serialize.DECLARED else plan
    batches = resolve_batches(plan, settings)
    nobody = no_agent(plan, batches, settings, environ)
    _show_diagnostics([*parsed.diagnostics, *([nobody] if nobody else [])], as_json=as_json)
    check_agents(batches, settings, environ)
    if graph:
        click.echo(
            printable(mermaid(plan) if graph == "mermaid" else "\n".join([*text_lines(plan), _extent(plan)]))
        )
        return 0
    if prompt_of:
        print_prompt(plan, batches, prompt_of)
        return 0
    _show_reading(plan, as_json=as_json)
    grants = needed_grants(sources, parsed.plan.settings, path, root, parsed.plan.batches)
    if repository:
        found = remarks(repository, plan, settings, settings.base or repository.branch() or "HEAD")
        _show_remarks(found, as_json=as_json)
    _show_overlaps(plan, as_json=as_json)
    _show_grants(grants, path, root, environ, as_json=as_json)
    _show_tasks(plan, batches, as_json=as_json, verbose=verbose)
    if not as_json:
        if repository:
            _show_sandbox(batches, settings, repository, environ)
        counts = plural(len(plan.tasks), "task")
        counts += f" in {plural(len(plan.batches), 'batch')}" if plan.has_batches else ""
        click.echo(f"{path}: {counts}: {_verdict(plan, needs_agent=bool(nobody))}")
    return 0


def _show_diagnostics(diagnostics: Iterable[Diagnostic], *, as_json: bool) -> None:
    if as_json:
        for found in diagnostics:
            click.echo(json.dumps(_diagnostic_record(found)))
    else:
        print_diagnostics(diagnostics)


def _show_tasks(plan: Plan, batches: Iterable[BatchSpec], *, as_json: bool, verbose: bool) -> None:
    waits, left = edges(plan), {spec.id for spec in unassigned(batches)}
    for spec in (spec for batch in batches for spec in batch.tasks):
        record = _check_record(spec, plan, waits[spec.id])
        if as_json:
            click.echo(json.dumps(record))
        else:
            click.echo(_check_text(record, needs_agent=spec.id in left, verbose=verbose))


def print_prompt(plan: Plan, batches: Iterable[BatchSpec], name: str) -> None:
    """Print what the agent of a task will be given.

    Raises:
        CallError: There is no such task, or it has no agent.
    """
    specs = {spec.id: spec for batch in batches for spec in batch.tasks}
    if (spec := specs.get(name)) is None:
        hint = (
            f"did you mean {similar}?" if (similar := closest(name, specs)) else "`patchyard check` lists them"
        )
        raise CallError(f"--prompt {name}: {plan.path} has no task {name}; {hint}")
    if spec.task.run:
        raise CallError(f"--prompt {name}: task {name} runs commands of its own, so that no agent is called")
    click.echo(printable(prompt(spec.task, plan)), nl=False)


def _extent(plan: Plan) -> str:
    """Return how many waves of tasks a plan has, and its longest chain."""
    chain = longest_chain(plan)
    shown = " -> ".join(chain if len(chain) <= CHAIN else [*chain[: CHAIN // 2], "…", *chain[-CHAIN // 2 :]])
    return f"{plural(len(waves(plan)), 'wave')}; the longest chain has {plural(len(chain), 'task')}: {shown}"


def _verdict(plan: Plan, *, needs_agent: bool) -> str:
    return nothing_left(plan) or ("the plan needs an agent" if needs_agent else "the plan can be run")


def _show_reading(plan: Plan, *, as_json: bool) -> None:
    """Print what was understood of a plan as a whole."""
    if as_json:
        click.echo(json.dumps(_plan_record(plan)))
    elif plan.dialect != NATIVE:
        done = f", {plan.done_items} done" if plan.done_items else ""
        click.echo(
            printable(
                f"{named(plan.dialect)}: a task per {plan.unit} "
                f"({plural(plan.items, 'item')}{done}), order {plan.order}"
            )
        )
        for name in plan.neighbours:
            click.echo(printable(f"to be read with it: {name}"))


def _show_overlaps(plan: Plan, *, as_json: bool) -> None:
    """Print which tasks that run side by side declare to change the same file."""
    if not as_json:
        print_remarks(overlap_remarks(plan))
        return
    for one in overlaps(plan)[:OVERLAPS]:
        click.echo(json.dumps(_event("overlap") | asdict(one)))


def _show_remarks(found: Iterable[str], *, as_json: bool) -> None:
    if not as_json:
        print_remarks(found)
        return
    for text in found:
        click.echo(json.dumps(_event("remark") | {"message": text}))


def _plan_record(plan: Plan) -> dict[str, Any]:
    return _event("plan") | {
        "path": plan.path,
        "dialect": plan.dialect,
        "unit": plan.unit,
        "order": plan.order,
        "title": plan.title,
        "tasks": len(plan.tasks),
        "items": plan.items,
        "done": plan.done_items,
        "neighbours": list(plan.neighbours),
    }


def _show_grants(
    grants: Iterable[Grant], path: str, root: Path, environ: Mapping[str, str], *, as_json: bool
) -> None:
    """Print the settings that need trust, and whether it is remembered."""
    store = TrustStore(environ)
    for grant in grants:
        is_trusted = store.has(grant, root)
        if as_json:
            record = {"setting": grant.key, "value": json.loads(grant.value), "path": grant.where}
            click.echo(json.dumps(_event("grant") | record | {"trusted": is_trusted}))
        elif is_trusted:
            click.echo(printable(f"trusted: {grant}"))
        else:
            click.echo(printable(f"needs trust: {grant} (`{trust_command(path)}` gives it)"), err=True)


def _check_record(spec: TaskSpec, plan: Plan, waits: Iterable[str]) -> dict[str, Any]:
    """Return what is run for a task, what its agent gets, and what it waits for."""
    task = spec.task
    checks = [item for item in task.verification if item.step is not None]
    return _event("task") | {
        "task": spec.id,
        "title": spec.title,
        "batch": task.batch,
        "line": task.line,
        "group": task.group,
        "done": task.completed,
        "depends_on": list(waits),
        "files": [{"action": str(file.action), "path": file.path} for file in task.files],
        "runs": _step_records(spec.steps),
        "verify": [item.text for item in checks],
        "prose": [item.text for item in task.verification if item.step is None],
        "commit": task.commit,
        "prompt": None if task.run else prompt(task, plan),
    }


def _check_text(record: Mapping[str, Any], *, needs_agent: bool, verbose: bool) -> str:
    done = " (done)" if record["done"] else ""
    after = f" (after {listed(record['depends_on'], MOST_WAITS)})" if record["depends_on"] and not done else ""
    lines = [f"task {record['task']}: {record['title']}{done}{after}"]
    if record["done"]:
        return printable(lines[0])
    lines += [NOBODY] if needs_agent else []
    for step in record["runs"]:
        lines.append(f"  {step['kind']:6} {step['command']}")
        if verbose and (script := hidden_script(step["command"], step["script"])):
            lines.append(indent(script, " " * 11))
    lines += [f"  prose  {' '.join(text.split())}" for text in record["prose"]]
    return printable("\n".join(lines))


def _diagnostic_record(found: Diagnostic) -> dict[str, Any]:
    return _event("diagnostic") | {
        "path": found.path,
        "line": found.line,
        "column": found.column,
        "severity": str(found.severity),
        "message": found.message,
    }
