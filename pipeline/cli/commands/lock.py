"""Command `lock`: write the digests of images to the lock file."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import gettempdir

import anyio
import click

from containers.agents.builtin import DEFAULT_IMAGE
from containers.dagger_engine.address import EngineAddress
from containers.dagger_engine.digests import digest_of
from containers.dagger_engine.engines import connect_engines
from containers.dagger_engine.images import resolve_digests
from containers.dagger_engine.query import EngineError
from containers.temporary import sweep, temporary_directory
from pipeline.cli.options import repo_option
from pipeline.cli.process import environment, repository_if_any
from pipeline.config.lockfile import Lock, LockError
from pipeline.config.sources import Sources, load
from pipeline.config.trust import require_trust
from pipeline.run.call.plan_file import parse_plan, read_plan
from pipeline.run.call.task_spec import images_of, resolve_batches
from tasks.model import PlanSettings
from tasks.plan.parser import PlanError


@click.command()
@click.argument("plans", metavar="[PLAN]...", nargs=-1)
@repo_option
@click.option("--update", is_flag=True, help="Also look up the images that the lock file has already.")
@click.option(
    "--image", "images", multiple=True, metavar="REF", help="Image to lock; may be given several times."
)
@click.option(
    "--engine",
    "engines",
    multiple=True,
    metavar="URL",
    help="Dagger engine that looks the images up; of several, the first is used.",
)
def lock(
    plans: tuple[str, ...], repo: Path, *, update: bool, images: tuple[str, ...], engines: tuple[str, ...]
) -> None:
    """Write the digests of the images that PLANs and the configuration name to patchyard.lock.

    Commit the file: runs in containers then use exactly those images. Without a PLAN or an --image, the default
    image is locked. Images that are locked already are kept, unless --update is given. Exit code: 2 an image is
    not found, 4 no Dagger engine is available.
    """
    root = _lock_directory(repo)
    sources = load({"engines": engines}, environment(), root)
    known = Lock.beside(root)
    settings = sources.resolve(PlanSettings())
    require_trust(sources, PlanSettings(), "", root, environment(), only=["engines"])
    named = [*images, *_images_of_plans(plans, sources)]
    if not named:
        named = [settings.image or DEFAULT_IMAGE]
    wanted = [name for name in dict.fromkeys(named) if not digest_of(name)]
    if update:
        wanted = list(dict.fromkeys([*wanted, *known.images]))
    unresolved = [name for name in wanted if update or name not in known.images]
    found = anyio.run(partial(_resolve, unresolved, settings.engines, environment())) if unresolved else {}
    if missing := [name for name in unresolved if name not in found]:
        raise LockError(
            f"image not found: {', '.join(missing)}; check the name, and that you are logged in to its registry"
        )
    made = known.with_images(found)
    if made != known or not known.path.exists():
        made.write()
    for name in wanted:
        click.echo(f"{name} {made.images[name]} ({_change(name, known, made)})")


def _change(name: str, known: Lock, made: Lock) -> str:
    """Return what happened to the entry of an image."""
    if name not in known.images:
        return "added"
    return "kept" if known.images[name] == made.images[name] else "updated"


def _lock_directory(repo: Path) -> Path:
    """Return the directory of the lock file: the root of the repository, or `repo` outside of one."""
    return repository_if_any(repo, environment())[1]


def _images_of_plans(plans: Iterable[str], sources: Sources) -> list[str]:
    """Return the images that the tasks of plans run in.

    Raises:
        PlanError: A plan has mistakes.
    """
    named: list[str] = []
    for path in plans:
        parsed = parse_plan(read_plan(path), sources, environment())
        if parsed.plan is None:
            raise PlanError(parsed.diagnostics)
        named += images_of(resolve_batches(parsed.plan, sources.resolve(parsed.plan.settings)))
    return named


async def _resolve(
    names: Iterable[str], engines: Sequence[str], environ: Mapping[str, str]
) -> Mapping[str, str]:
    """Return the digests of images by name, from the first engine, or that of the environment.

    Raises:
        EngineError: No engine is available, or it became unavailable.
    """
    sweep(Path(gettempdir()))
    with temporary_directory(Path(gettempdir()), "lock") as directory:
        chosen = EngineAddress.parse(engines[0]) if engines else EngineAddress()
        async with connect_engines(chosen, environ, Path(directory, "log")) as client:
            try:
                return await resolve_digests(client, names)
            except EngineError as error:
                raise EngineError(f"{chosen} is unavailable: {error}") from error
