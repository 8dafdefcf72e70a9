"""Command `publish`: open or update the pull requests of a run."""

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.broadcast import Broadcast, Listener
from pipeline.cli.chosen import choose
from pipeline.cli.commands.results.preview_text import preview_lines
from pipeline.cli.options import REPEATABLE, database_option, repo_option
from pipeline.cli.process import (
    GITHUB_FAILED,
    environment,
    exit_with,
    report_wait,
    repository_and_store,
)
from pipeline.config.settings import DEFAULT_BRANCH
from pipeline.console import Lines
from pipeline.events import Event, Notice, Published
from pipeline.json_lines import JsonLines
from pipeline.run.call.plan_file import CallError
from pipeline.run.recording.recorder import EventWriter
from pipeline.run.stored.claim import as_published, with_remote
from pipeline.run.stored.status import current_status
from pipeline.store.records import Run
from tasks.lazy.patterns import regex
from tasks.outcome import PullRequestScope, RunStatus
from tasks.text import plural, printable

if TYPE_CHECKING:
    from containers.git.repository import Repository
    from pipeline.publish.service import Target
    from pipeline.store.store import Store


GIVEN = "as given to `run`; with --from, as configured"
ONLY_WITH_FROM = ("branch", "base")
_COMMIT = regex(r"[0-9a-f]{10,64}")
"""At least as much of a commit id as messages show."""


def _check_commits(_: click.Context, __: click.Parameter, commits: tuple[str, ...]) -> tuple[str, ...]:
    for commit in commits:
        if not _COMMIT.fullmatch(commit):
            raise click.BadParameter(f"{commit!r} is not a commit id of at least 10 hexadecimal digits.")
    return commits


@click.command()
@click.argument("names", metavar="[RUN] [TASK]...", nargs=-1)
@click.option(
    "--from",
    "directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Publish the patches and the report in DIR instead of RUN: from another machine, or a Dagger call.",
)
@repo_option
@database_option
@click.option("--remote", metavar="NAME", help=f"Remote to push to.  [default: {GIVEN}, else origin]")
@click.option(
    "--github",
    metavar="OWNER/REPO",
    help=f"Repository on GitHub.  [default: {GIVEN}, else from the remote's URL]",
)
@click.option(
    "--pull-request",
    type=click.Choice([str(scope) for scope in PullRequestScope]),
    help="Open a pull request for each task, for each group of tasks, or one for the plan.  "
    f"[default: that of the shared pull requests that it has, else {GIVEN}]",
)
@click.option(
    "--draft", is_flag=True, default=None, help=f"Open the pull requests as drafts.  [default: {GIVEN}]"
)
@click.option(
    "--auto-merge",
    is_flag=True,
    default=None,
    help="Enable auto-merge on GitHub, or merge at once if the repository requires nothing.  "
    f"[default: {GIVEN}]",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="LABEL",
    help=f"Label of the pull requests{REPEATABLE}  [default: {GIVEN}]",
)
@click.option(
    "--reviewer",
    "reviewers",
    multiple=True,
    metavar="LOGIN",
    help=f"User or organization/team to request a review from{REPEATABLE}  [default: {GIVEN}]",
)
@click.option(
    "--branch",
    metavar="TEMPLATE",
    help="With --from, the names that the run's branches must have, with {plan}, {task} and {run}.  "
    f"[default: as configured, else {DEFAULT_BRANCH}]",
)
@click.option(
    "--base",
    metavar="BRANCH",
    help="With --from, the branch that the pull requests go to; the run started from a commit of it.  "
    "[default: as configured, else the branch that is checked out here]",
)
@click.option(
    "--allow-unpushed",
    is_flag=True,
    default=None,
    help="Publish also commits of the base that the remote's branch of the pull requests does not have.",
)
@click.option(
    "--replace",
    "replaced",
    multiple=True,
    metavar="COMMIT",
    callback=_check_commits,
    help="Replace this commit at the tip of a branch on the remote, although it is not known to be patchyard's"
    f"{REPEATABLE}",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Show what would be pushed and opened, without changing anything; a token is not needed.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines to standard output.")
def publish(  # noqa: PLR0913 - the command's own parameters
    names: tuple[str, ...],
    directory: Path | None,
    repo: Path,
    *,
    replaced: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    **flags: object,
) -> None:
    """Push the branches of RUN, or of the newest run, and open or update its pull requests.

    With TASKs, only theirs and those of the tasks that they build on.

    With --from, first create the commits from the patches in DIR: the repository needs only the commit that the
    run started from. The report in DIR does not say where and how to publish: only these options, the
    environment and the configuration of this repository do.

    Safe to repeat: existing pull requests are updated, not opened twice. Exit code: 0 everything is published,
    3 something could not be published.
    """
    from pipeline.publish.service import publish_run  # noqa: PLC0415 - start-up stays quick

    given = {name: value for name, value in flags.items() if value not in {None, ()}}
    if directory is None and (useless := [name for name in ONLY_WITH_FROM if name in given]):
        raise click.UsageError(f"--{useless[0]} needs --from DIR: a RUN has its own.")
    if directory is not None and dry_run:
        raise click.UsageError("--dry-run needs a RUN: with --from DIR, the commits are made first.")
    with repository_and_store(repo) as (repository, store):
        if directory is None:
            run, tasks = choose(store, names)
            run = _with_flags(repository, store, run, given)
            if dry_run:
                exit_with(_preview(repository, store, run, tasks, replaced=replaced, as_json=as_json))
            target, note = _target(repository, run), None
        else:
            tasks = names
            run, target, note = _import(repository, store, directory, given, tasks)
        output = JsonLines(sys.stdout) if as_json else Lines(sys.stdout)
        with Broadcast([output, EventWriter(run.id, lambda: store)]) as observers:
            listener = _Sum(observers)
            if note:
                listener.notify(Notice(message=note, level="warning"))
            failures = publish_run(store, run.id, target, listener, tasks=tasks, replaced=replaced)
            listener.notify(Notice(message=listener.sentence(run, failures)))
    exit_with(GITHUB_FAILED if failures else 0)


class _Sum:
    """Listener that counts what was published, before it passes an event to another one."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._counts: Counter[str] = Counter()

    def notify(self, event: Event) -> None:
        """Count a pull request, and pass the event on."""
        if isinstance(event, Published):
            self._counts[event.request.action] += 1
        self._listener.notify(event)

    def sentence(self, run: Run, failures: int) -> str:
        """Return the sum in one sentence."""
        total = sum(self._counts.values())
        parts = ", ".join(f"{count} {action}" for action, count in sorted(self._counts.items()))
        what = f"{plural(total, 'pull request')} ({parts})" if total else "nothing"
        return f"run {run.id}: {what} published" + (
            f", {plural(failures, 'task')} could not be published" if failures else ""
        )


def _preview(  # noqa: PLR0913 - what is published, and how
    repository: "Repository",
    store: "Store",
    run: Run,
    tasks: Sequence[str],
    *,
    replaced: Sequence[str],
    as_json: bool,
) -> int:
    """Print what would be published, and return the exit code."""
    from pipeline.publish.preview import as_record, preview  # noqa: PLC0415 - start-up stays quick

    found = preview(repository, store, run, environment(), tasks, on_wait=report_wait, replaced=replaced)
    record = as_record(found)
    if as_json:
        click.echo(json.dumps(record))
    else:
        for line in preview_lines(record):
            click.echo(printable(line))
    return 0 if found.is_possible else GITHUB_FAILED


def _import(
    repository: "Repository", store: "Store", directory: Path, flags: Mapping[str, object], tasks: Sequence[str]
) -> tuple[Run, "Target", str | None]:
    """Import the run in a directory; return it, where it is published, and a note about what is not used of it.

    Raises:
        PatchyardError: The directory or a flag is invalid, or the run cannot be published.
    """
    from pipeline.publish.service import (  # noqa: PLC0415 - start-up stays quick
        ignored_options,
        import_run,
        prepare_import,
    )

    imported, target = prepare_import(repository, directory, flags, environment(), report_wait)
    known = {task.task for task in imported.report.tasks}
    if unknown := [name for name in tasks if name not in known]:
        raise click.UsageError(
            f"name either a RUN or a directory with --from DIR: that has no task {unknown[0]}."
        )
    import_run(store, imported, target)
    return imported.run, target, ignored_options(imported)


def _with_flags(repository: "Repository", store: "Store", run: Run, flags: Mapping[str, object]) -> Run:
    """Return a run as it is to be published: as it was given to `run`, overridden by the flags of this command.

    Raises:
        CallError: The run is still running.
    """
    if current_status(store, run, environment()) is RunStatus.RUNNING:
        raise CallError(f"run {run.id} is still running; publish it when it has ended")
    if remote := flags.get("remote"):
        run = with_remote(run, repository, str(remote))
    run = as_published(store, run)
    scope = PullRequestScope(str(flags.get("pull_request") or run.settings.pull_request))
    settings = replace(run.settings, **{**flags, "pull_request": scope})  # type: ignore[arg-type]  # click has converted them
    return replace(run, settings=settings)


def _target(repository: "Repository", run: Run) -> "Target":
    """Return where a run is published.

    Raises:
        ForgeError: The run cannot be published.
    """
    from pipeline.publish.service import target_for_run  # noqa: PLC0415 - start-up stays quick

    return target_for_run(repository, run, environment(), report_wait)
