"""The commands `report` and `lock`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import anyio
import click

from containers.dagger_engine.engines import EngineAddress, connect_engines
from containers.dagger_engine.images import digest_of, resolve_digests
from containers.dagger_engine.query import EngineError
from containers.dagger_engine.runner import DEFAULT_IMAGE
from containers.git.repository import NotARepositoryError, Repository
from pipeline.cli.options import database_option, environment, repo_option
from pipeline.cli.show import opened
from pipeline.config.lockfile import Lock, LockError, images_of
from pipeline.config.settings import Sources, load
from pipeline.events import now
from pipeline.run.lifecycle import current_status, plan_of
from pipeline.run.prepare import parse_plan, read_plan
from pipeline.store.records import Run
from pipeline.store.store import Store
from tasks.errors import PatchyardError
from tasks.model import PlanSettings
from tasks.plan.parser import PlanError

FORMATS = MappingProxyType(
    {".json": "json", ".md": "markdown", ".html": "html", ".htm": "html", ".xml": "junit"}
)
"""What a report is, by the suffix of the file that it goes to."""


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@repo_option
@database_option
@click.option(
    "--format",
    "as_format",
    type=click.Choice(["json", "markdown", "html", "junit"]),
    show_default="what the suffix of FILE says, else markdown",
    help="For programs, for the summary of a CI job, for a browser, or for a CI server's test results.",
)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write to a file."
)
def report(run_name: str | None, repo: Path, as_format: str | None, output: Path | None) -> None:
    """Report on RUN, or on the newest run: what it was made from, how it went, and what it left.

    As html it is one file that opens from disk, with the timeline, the table of tasks and their diffs.

    The key of a task is over all that it was made from: its text and commands, the trees that it starts from,
    its image, agent and environment. The same key without an agent gives the same patch.
    """
    from pipeline.report.model import ReportError  # noqa: PLC0415 - start-up stays quick

    chosen = as_format or FORMATS.get(output.suffix.lower() if output else "", "markdown")
    with opened(repo) as (repository, store):
        text = _written(repository, store, store.run(run_name), chosen)
    if output is None:
        click.echo(text.encode() if chosen in {"html", "junit"} else text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ReportError(f"cannot write {output}: {error.strerror}") from None


def _written(repository: Repository, store: Store, run: Run, as_format: str) -> str:
    """Return the report of a run in one of its formats."""
    if as_format in {"html", "junit"}:
        return _picture(store, run, as_format)
    from pipeline.report.markdown import markdown  # noqa: PLC0415 - start-up stays quick
    from pipeline.report.model import report_of  # noqa: PLC0415 - start-up stays quick

    made = report_of(repository, store, replace(run, status=current_status(store, run, environment())))
    return made.as_json if as_format == "json" else markdown(made)


def _picture(store: Store, run: Run, as_format: str) -> str:
    """Return a run as HTML, or as JUnit XML: both show it as it went, also one that is not over."""
    from pipeline.report.html import html_report  # noqa: PLC0415 - start-up stays quick
    from pipeline.report.junit import junit  # noqa: PLC0415 - start-up stays quick
    from pipeline.view.timeline_builder import source_of, timeline  # noqa: PLC0415 - start-up stays quick

    try:
        plan = plan_of(run)
    except PatchyardError:  # the tasks that began are in the store, whatever became of the plan
        plan = None
    moment = now()
    now_is = current_status(store, run, environment())
    source = source_of(store, run, now_is, plan, patches=as_format == "html")
    view = timeline(source, moment)
    return junit(view) if as_format == "junit" else html_report(view, source.tasks, moment)


@click.command()
@click.argument("plans", metavar="[PLAN]...", nargs=-1)
@repo_option
@click.option("--update", is_flag=True, help="Look up anew what the lock file has already.")
@click.option(
    "--image", "images", multiple=True, metavar="REF", help="Lock this image; may be given several times."
)
@click.option(
    "--engine",
    "engines",
    multiple=True,
    metavar="URL",
    help="The Dagger engine to ask; the first one, of several.",
)
def lock(
    plans: tuple[str, ...], repo: Path, *, update: bool, images: tuple[str, ...], engines: tuple[str, ...]
) -> None:
    """Write the digests of the images that PLANs and the configuration name to patchyard.lock.

    Commit the file: a run in containers then takes those very images. Without a PLAN and an --image, it is the
    image of tasks that name none. What the file has is kept, unless --update is given. Exit code: 2 an image
    cannot be found, 4 no engine answers.
    """
    root = _root(repo)
    sources = load({"engines": engines}, environment(), root)
    known = Lock.beside(root)
    settings = sources.resolve(PlanSettings())
    named = [*images, *_named(plans, sources)]
    if not named:
        named = [settings.image or DEFAULT_IMAGE]
    wanted = [name for name in dict.fromkeys(named) if not digest_of(name)]
    if update:
        wanted = list(dict.fromkeys([*wanted, *known.images]))
    asked = [name for name in wanted if update or name not in known.images]
    found = anyio.run(partial(_ask, asked, settings.engines, environment())) if asked else {}
    if missing := [name for name in asked if name not in found]:
        raise LockError(
            f"the engine finds no image {', '.join(missing)}: check the name, and that its registry lets you in"
        )
    made = known.with_images(found)
    if made != known or not known.path.exists():
        made.write()
    for name in wanted:
        click.echo(f"{name} {made.images[name]} ({_done(name, known, made)})")


def _done(name: str, known: Lock, made: Lock) -> str:
    if name not in known.images:
        return "added"
    return "kept" if known.images[name] == made.images[name] else "updated"


def _root(repo: Path) -> Path:
    """Return where the lock file stands: the repository's root, or `repo` itself where there is none."""
    try:
        return Repository.open(repo, environment()).root
    except NotARepositoryError:
        return repo


def _named(plans: Iterable[str], sources: Sources) -> list[str]:
    """Return the images that the tasks of plans run in.

    Raises:
        PlanError: A plan has mistakes.
    """
    named: list[str] = []
    for path in plans:
        parsed = parse_plan(read_plan(path), path, sources, environment())
        if parsed.plan is None:
            raise PlanError(parsed.diagnostics)
        named += images_of(parsed.plan, sources.resolve(parsed.plan.settings))
    return named


async def _ask(names: Iterable[str], engines: Sequence[str], environ: Mapping[str, str]) -> Mapping[str, str]:
    """Ask the first engine, or the one of the environment, for digests.

    Raises:
        EngineError: None answers, or it goes away.
    """
    with TemporaryDirectory(prefix="patchyard-") as directory:
        chosen = EngineAddress.parse(engines[0]) if engines else EngineAddress()
        async with connect_engines(chosen, environ, Path(directory, "log")) as client:
            try:
                return await resolve_digests(client, names)
            except EngineError as error:
                raise EngineError(f"{chosen} has gone: {error}") from error


COMMANDS = (report, lock)
