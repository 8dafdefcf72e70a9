"""Command `diff`."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import click

from containers.git.repository import Repository
from containers.pager import page, pager_of
from pipeline.cli.chosen import choose
from pipeline.cli.commands.results.diff_text import (
    YELLOW,
    Painter,
    attempt_header,
    conflict_lines,
    header,
    patch_lines,
    stat_lines,
)
from pipeline.cli.options import attempt_option, database_option, repo_option
from pipeline.cli.process import environment, repository_and_store
from pipeline.run.results.conflict_sides import pairs_of, what_helps
from pipeline.store.records import Run, StoredAttempt
from pipeline.store.store import Store, UnknownRunError
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import Conflict, Patch
from tasks.text import printable


@dataclass(frozen=True, slots=True)
class _Shown:
    """What is printed: patches, each with its header, and conflicts."""

    items: Sequence[tuple[str, Patch]]
    conflicts: Sequence[Conflict]


@click.command()
@click.argument("names", metavar="[RUN] [TASK]...", nargs=-1)
@attempt_option
@click.option("--stat", is_flag=True, help="Print how much each file changed, not the lines.")
@click.option("--conflicts", is_flag=True, help="Print only the conflicts, with both sides.")
@click.option(
    "--color/--no-color",
    default=None,
    help="Print in colours.  [default: on a terminal, unless NO_COLOR is set]",
)
@click.option("--no-pager", is_flag=True, help="Do not use a pager; by default GIT_PAGER, PAGER or less is.")
@repo_option
@database_option
def diff(  # noqa: PLR0913 - one per option
    names: tuple[str, ...],
    repo: Path,
    *,
    number: int | None,
    stat: bool,
    conflicts: bool,
    color: bool | None,
    no_pager: bool,
) -> None:
    """Print the patches of TASKs in RUN, by default of all tasks of the newest run.

    On a terminal with a header for each task, in colours, through a pager, and with both sides of a conflict;
    elsewhere the patches alone, byte for byte. The patch of a failed or timed-out task holds what it had
    changed until then.
    """
    environ = environment()
    is_terminal = sys.stdout.isatty()
    colored = is_terminal and not environ.get("NO_COLOR") if color is None else color
    paint = Painter(colored=bool(colored) and (color is True or environ.get("TERM", "dumb") != "dumb"))
    with repository_and_store(repo) as (repository, store):
        run, tasks = choose(store, names)
        shown = _chosen(store, run, tasks, number)
        if not (is_terminal or stat or conflicts or color):
            _write_patches(patch for _, patch in shown.items)
            return

        def lines() -> Iterator[bytes]:
            for line in _lines(repository, store, run, shown, paint, stat=stat, only_conflicts=conflicts):
                yield f"{line}\n".encode()

        pager = pager_of(environ) if is_terminal and not no_pager else None
        _show(lines, pager, environ)


def _show(lines: Callable[[], Iterable[bytes]], pager: str | None, environ: Mapping[str, str]) -> None:
    if pager and page(pager, lines, environ):
        return
    for line in lines():
        sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def _chosen(store: Store, run: Run, tasks: Sequence[str], number: int | None) -> _Shown:
    """Return what is printed; tasks that were named and have no patch are reported.

    Raises:
        UnknownRunError: There is no such task or attempt.
        click.UsageError: An attempt is named without one task.
    """
    stored = {item.outcome.task: item for item in store.tasks(run.id)}
    conflicts = [one for one in store.conflicts(run.id) if not tasks or set(tasks) & set(one.tasks)]
    if number is not None:
        if len(tasks) != 1:
            raise click.UsageError("--attempt needs one TASK.")
        attempt = _attempt_of(store, run, tasks[0], number)
        patch = attempt.patch
        return _Shown([(attempt_header(attempt, patch), patch)] if patch else [], [])
    for task in tasks:
        if task not in stored:
            hint = f"`patchyard status {run.id}` lists its tasks"
            raise UnknownRunError(f"run {run.id} has no finished task {task}; {hint}")
    chosen = [stored[task] for task in tasks] if tasks else list(stored.values())
    for item in chosen if tasks else ():
        if item.outcome.patch is None:
            where = f"task {item.outcome.task} of run {run.id}"
            click.echo(f"{where} has no patch ({item.outcome.status})", err=True)
    shown = [(header(item), item.outcome.patch) for item in chosen if item.outcome.patch]
    return _Shown(shown, conflicts)


def _attempt_of(store: Store, run: Run, task: str, number: int) -> StoredAttempt:
    for attempt in store.attempts(run.id, task):
        if attempt.number == number:
            return attempt
    hint = "`patchyard status --json` lists them"
    raise UnknownRunError(f"run {run.id} has no attempt {number} of task {task}; {hint}")


def _lines(  # noqa: PLR0913 - what is printed, and how
    repository: Repository,
    store: Store,
    run: Run,
    shown: _Shown,
    paint: Painter,
    *,
    stat: bool,
    only_conflicts: bool,
) -> Iterator[str]:
    for number, (heading, patch) in enumerate(() if only_conflicts else shown.items):
        if number:
            yield ""
        yield paint(heading, YELLOW)
        yield from stat_lines(patch.diff, paint) if stat else patch_lines(patch.diff, paint)
    if stat and not only_conflicts:
        return
    yield from _conflict_lines(repository, store, run, shown, paint, after=not only_conflicts)
    if only_conflicts and not shown.conflicts:
        yield f"run {run.id}: no conflict is left"


def _conflict_lines(  # noqa: PLR0913 - what is printed, and how
    repository: Repository, store: Store, run: Run, shown: _Shown, paint: Painter, *, after: bool
) -> Iterator[str]:
    """Yield the conflicts with both sides; `after` is whether something is above them."""
    outcomes = {item.outcome.task: item.outcome for item in store.tasks(run.id)}
    titles = {task: outcome.title for task, outcome in outcomes.items()}
    for conflict in shown.conflicts:
        for pair in pairs_of(repository, conflict, outcomes):
            if after:
                yield ""
            after = True
            yield from conflict_lines(pair, titles, paint)
        yield printable(what_helps(run.id, conflict).partition(";")[0])


def _write_patches(patches: Iterable[Patch]) -> None:
    """Write patches to standard output, every byte as it is."""
    out = sys.stdout.buffer
    for patch in patches:
        for block in patch.diff.blocks():
            out.write(block)
    out.flush()
