"""The commands `report` and `lock`."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import click

from containers.engine import DEFAULT_IMAGE
from containers.engines import Engine, connected
from containers.git import NotARepositoryError, Repository
from containers.images import digest_of, digests
from pipeline.afterwards import opened
from pipeline.config import Sources, load
from pipeline.lock import Lock, LockError, images_of
from pipeline.options import environment, repo_option
from pipeline.wiring import parse_plan, read_plan
from tasks.model import PlanSettings
from tasks.plan import PlanError


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@repo_option
@click.option(
    "--format",
    "as_format",
    type=click.Choice(["json", "markdown"]),
    default="markdown",
    show_default=True,
    help="For programs, or for people and the summary of a CI job.",
)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write to a file."
)
def report(run_name: str | None, repo: Path, as_format: str, output: Path | None) -> None:
    """Report on RUN, or on the newest run: what it was made from, how it went, and what it left.

    The key of a task is over all that it was made from: its text and commands, the trees that it starts from,
    its image, agent and environment. The same key without an agent gives the same patch.
    """
    from pipeline.report import ReportError, report_of  # noqa: PLC0415 - start-up stays quick
    from pipeline.summary import markdown  # noqa: PLC0415 - start-up stays quick

    with opened(repo) as (repository, store):
        made = report_of(repository, store, store.run(run_name))
    text = made.as_json if as_format == "json" else markdown(made)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ReportError(f"cannot write {output}: {error.strerror}") from None


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
        EngineError: None answers.
    """
    with TemporaryDirectory(prefix="patchyard-") as directory:
        chosen = Engine.parse(engines[0]) if engines else Engine()
        async with connected(chosen, environ, Path(directory, "log")) as client:
            return await digests(client, names)


COMMANDS = (report, lock)
