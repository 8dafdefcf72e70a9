"""Command `apply`: the one that changes the user's checkout."""

import json
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path

import click

from containers.git.changes import GITLINK, Change
from containers.git.repository import Repository
from containers.git.user_checkout import CheckoutError, UserCheckout
from pipeline.cli.chosen import choose
from pipeline.cli.options import database_option, repo_option
from pipeline.cli.process import exit_with, repository_and_store
from pipeline.publish.parts import in_order, reach
from pipeline.run.results.applying import Combined, combine
from pipeline.run.results.conflict_sides import what_helps
from pipeline.store.records import Run, StoredTask
from pipeline.store.store import Store, UnknownRunError
from pipeline.verdict.reason import listed
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import Conflict, Patch
from tasks.text import plural, printable

CONFLICT = 1
"""Exit code if a patch conflicts."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What is applied where: patches with their tasks, in order; `conflicts` are those that the run has."""

    repository: Repository
    checkout: UserCheckout
    run: Run
    named: Sequence[str]
    patches: Sequence[tuple[str, Patch]]
    added: Sequence[str]
    conflicts: Sequence[Conflict]


@dataclass(slots=True)
class _Result:
    """What became of the tasks; `files` are those that were changed."""

    applied: list[str] = field(default_factory=list)
    already: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    conflict: str | None = None
    conflicting: list[str] = field(default_factory=list)
    has_marks: bool = False
    left: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@click.command()
@click.argument("names", metavar="[RUN] [TASK]...", nargs=-1)
@click.option("--only", is_flag=True, help="Apply the TASKs alone, without those that they build on.")
@click.option(
    "--3way",
    "three_way",
    is_flag=True,
    help="Apply also to a checkout with changes, and leave conflict marks where a patch conflicts.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be applied, without changing anything.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
@repo_option
@database_option
def apply(  # noqa: PLR0913 - one per option
    names: tuple[str, ...], repo: Path, *, only: bool, three_way: bool, dry_run: bool, as_json: bool
) -> None:
    """Put the patches of TASKs in RUN into your checkout: into its files and its index, without a commit.

    By default all tasks of the newest run that changed something, in order; with TASKs, these and what they
    build on. Each is merged with what is checked out; what is there already is left out. This is the only
    command that changes your checkout: it does so completely or not at all, and only if no tracked file has
    changes. With --3way, changes are permitted in other files, and a conflict is left in the files for you to
    solve. Exit code: 0 everything is applied, 1 a patch conflicts, 2 the checkout has changes or the tasks
    cannot be applied.
    """
    with repository_and_store(repo) as (repository, store):
        run, tasks = choose(store, names)
        patches, added = _patches(store, run, tasks, only=only)
        checkout = UserCheckout(repository)
        work = _Work(repository, checkout, run, tasks, patches, added, store.conflicts(run.id))
        changed = checkout.changed_paths()
        if changed and not three_way:
            raise CheckoutError(
                f"{checkout.root} has changes ({listed(changed, 3)}): commit or stash them, or use --3way"
            )
        found = combine(repository, checkout.head, patches, run.base)
        if changed or (found.conflict and three_way):
            result = _merge(work, changed, found, dry_run=dry_run)
        else:
            result = _switch(work, found, dry_run=dry_run)
        if not tasks and (missing := _without_patch(store, run)):
            result.notes.append(f"without {listed(missing)}, which did not succeed")
    _print(work, result, dry_run=dry_run, as_json=as_json)
    exit_with(CONFLICT if result.conflict else 0)


def _without_patch(store: Store, run: Run) -> list[str]:
    """Return the tasks whose changes are not applied since they did not succeed, each with its status."""
    outcomes = (item.outcome for item in store.tasks(run.id))
    return [f"task {one.task} ({one.status.words})" for one in outcomes if not one.succeeded]


def _patches(
    store: Store, run: Run, tasks: Sequence[str], *, only: bool
) -> tuple[list[tuple[str, Patch]], tuple[str, ...]]:
    """Return the patches to apply in order, and the tasks that were not named.

    Raises:
        UnknownRunError: The run has no such task, or it has no patch.
    """
    stored = {item.outcome.task: item for item in store.tasks(run.id)}
    for name in tasks:
        if name not in stored:
            raise UnknownRunError(
                f"run {run.id} has no finished task {name}; `patchyard status {run.id}` lists its tasks"
            )
        if stored[name].outcome.patch is None:
            raise UnknownRunError(f"task {name} of run {run.id} has no patch ({stored[name].outcome.status})")
    builds_on = {task: item.builds_on for task, item in stored.items()}
    wanted = set(tasks)
    if not only:
        wanted |= {below for below in reach(tasks, builds_on) if _has_commit(stored.get(below))}
    if not tasks:
        wanted = {task for task, item in stored.items() if _has_commit(item)}
    order = in_order([task for task in stored if task in wanted], builds_on)
    found = [(task, patch) for task in order if (patch := stored[task].outcome.patch)]
    return found, tuple(task for task, _ in found if tasks and task not in tasks)


def _has_commit(item: StoredTask | None) -> bool:
    return item is not None and item.outcome.commit is not None


def _switch(work: _Work, found: Combined, *, dry_run: bool) -> _Result:
    """Put all patches into a checkout without changes, or none.

    Raises:
        CheckoutError: A file is in the way, or cannot be written.
    """
    result = _Result(list(found.applied), list(found.already))
    if found.conflict:
        done = {*found.applied, *found.already}
        left = [task for task, _ in work.patches if task not in {*done, found.conflict}]
        return _Result([], [], [], found.conflict, list(found.files), left=left)
    changes = work.checkout.changes_to(found.tree)
    result.files = [change.path for change in changes]
    if blocked := work.checkout.in_the_way(changes):
        raise CheckoutError(
            f"nothing was applied: {listed(blocked, 3)} in {work.checkout.root} is not tracked by git, and "
            "would be overwritten; move or remove it"
        )
    if changes and not dry_run:
        with _uninterrupted():
            work.checkout.switch(found.tree, changes)
        result.notes += _notes(work.checkout, changes)
    return result


def _notes(checkout: UserCheckout, changes: Sequence[Change]) -> Iterator[str]:
    if outside := checkout.outside(change.path for change in changes):
        yield f"outside of the sparse checkout, so only in the index: {listed(outside, 3)}"
    if links := [change.path for change in changes if change.new_mode == GITLINK]:
        yield f"`git submodule update` checks out the new commits of {listed(links, 3)}"


def _merge(work: _Work, changed: Sequence[str], found: Combined, *, dry_run: bool) -> _Result:
    """Merge the patches one after the other into a checkout with changes; the first conflict ends it.

    Raises:
        CheckoutError: A file that a patch changes has unstaged changes, or a patch cannot be applied.
    """
    checkout, result = work.checkout, _Result()
    touched = {path for _, patch in work.patches for path in patch.files}
    if blocked := sorted(touched.intersection(checkout.unstaged_paths())):
        raise CheckoutError(
            f"nothing was applied: {listed(blocked, 3)} has unstaged changes; `git add` or stash them"
        )
    if checkout.unmerged_paths():
        raise CheckoutError(f"{checkout.root} has conflicts already ({listed(changed, 3)}); solve them first")
    if dry_run:
        return _Result(
            list(found.applied), list(found.already), sorted(touched), found.conflict, list(found.files)
        )
    result.already += found.already
    patches = [one for one in work.patches if one[0] not in found.already]
    for number, (task, patch) in enumerate(patches):
        before = checkout.index_tree()
        with _uninterrupted():
            output = checkout.merge_patch(patch.diff)
        if output.code == 0:
            is_there = checkout.index_tree() == before
            (result.already if is_there else result.applied).append(task)
            result.files += () if is_there else patch.files
            continue
        result.left = [name for name, _ in patches[number + 1 :]]
        result.conflict, result.conflicting, result.has_marks = task, list(checkout.unmerged_paths()), True
        if not result.conflicting:
            reason = next(iter(output.stderr.strip().splitlines()), "").removeprefix("error: ")
            done = f"{listed(result.applied)} is applied; " if result.applied else "nothing was applied: "
            raise CheckoutError(f"{done}task {task} cannot be applied: {reason}")
        break
    return result


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM take effect after the checkout is whole again."""
    received: list[int] = []
    every = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    numbers = [number for number in every if signal.getsignal(number) is not signal.SIG_IGN]  # `nohup`
    before = {number: signal.signal(number, lambda got, _: received.append(got)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        raise KeyboardInterrupt


def _print(work: _Work, result: _Result, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        record = {
            "run": work.run.id,
            "checkout": str(work.checkout.root),
            "applied": result.applied,
            "already": result.already,
            "added": list(work.added),
            "files": list(dict.fromkeys(result.files)),
            "conflict": result.conflict,
            "conflicting": result.conflicting,
            "left": result.left,
            "dry_run": dry_run,
        }
        click.echo(json.dumps(record))
        return
    for line in _lines(work, result, dry_run=dry_run):
        click.echo(printable(line), err=result.conflict is not None)


def _lines(work: _Work, result: _Result, *, dry_run: bool) -> Iterator[str]:
    run, files = work.run.id, plural(len(set(result.files)), "file")
    verb = "would apply" if dry_run else "applied"
    if work.added:
        yield f"with what the named tasks build on: {', '.join(work.added)}"
    if result.already:
        yield f"already there: {_named(result.already)}"
    if result.applied:
        hint = "" if dry_run else "; `git diff --cached` shows them, nothing is committed"
        where = f"{work.checkout.root}: {files} in the index"
        yield f"{verb} {_named(result.applied)} of run {run} to {where}{hint}"
    yield from result.notes
    if result.conflict:
        yield from _conflict_lines(work, result)
    elif not result.applied and not result.already:
        yield f"no task of run {run} succeeded with changes, so there is nothing to apply"


def _conflict_lines(work: _Work, result: _Result) -> Iterator[str]:
    run, where, left = work.run.id, listed(result.conflicting, 3), " ".join(result.left)
    if not result.has_marks:
        yield f"nothing was applied: task {result.conflict} conflicts in {where}"
        known = [one for one in work.conflicts if one.tasks[-1] == result.conflict]
        yield from (what_helps(run, one) for one in known[:1])
        command = " ".join(["patchyard apply", run, *work.named, "--3way"])
        yield f"`{command}` applies what it can, and leaves conflict marks to solve"
        return
    yield f"task {result.conflict} conflicts in {where}: solve the conflict marks there, and `git add` it"
    if left:
        yield f"not applied yet: {_named(result.left)}; then `patchyard apply {run} {left} --3way`"


def _named(tasks: Sequence[str]) -> str:
    return f"{'task' if len(tasks) == 1 else 'tasks'} {listed(tasks, 10)}"
