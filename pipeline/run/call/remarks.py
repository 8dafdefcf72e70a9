"""What a user should know of a call before anything runs, though nothing of it is an error."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from containers.git.repository import Repository
from containers.git.working_tree.uncommitted import Uncommitted
from containers.worktrees.copies import unmatched
from pipeline.config.settings import SETTINGS, Settings
from pipeline.config.sources import FILE
from pipeline.config.table import PREFIX
from tasks.model import Plan
from tasks.text import closest, plural

OVERLAPS = 10
"""Maximum number of files that several tasks change which are shown."""
NAMES = 20
"""Maximum number of tasks of such a file which are shown."""
ALIKE = 0.85
"""How alike a misspelt variable is to the meant one at least: `difflib.SequenceMatcher.ratio`."""
NO_SETTINGS = frozenset(
    f"{PREFIX}{name}"
    for name in (
        *("DATABASE", "GIT_PASSWORD", "GIT_USERNAME", "HOST", "LEASE", "SECRETS_ON_STDIN", "TOKEN"),
        *("ATTEMPT", "JOB", "PORT", "ROUND", "RUN", "SLOT", "TASK", "WORKTREE"),  # a run in a task has these
    )
)
"""Variables of the program that set nothing in `SETTINGS`."""


def remarks(repository: Repository, plan: Plan, settings: Settings, base: str) -> Iterator[str]:
    """Yield what a run does not see of the checkout and the environment, a sentence each. Blocking.

    Args:
        repository: The repository; a bare one has no checkout.
        plan: The plan.
        settings: The settings of the run.
        base: What the run starts from, for people.
    """
    yield from _misspelt(repository.environ)
    root = repository.root
    if root == repository.common:
        return
    own = {FILE, *settings.copy, os.path.relpath(Path(plan.path).absolute(), root)}
    if found := repository.uncommitted(own):
        yield _unseen(found, base)
    for pattern in unmatched(root, settings.copy):
        yield f"copy: {pattern} is not in {root}, so no worktree gets it"


def _misspelt(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the variables that are almost those of settings."""
    known = {item.variable for item in SETTINGS.values() if item.variable}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in known or name in NO_SETTINGS:
            continue
        if meant := closest(name, known, ALIKE):
            yield f"{name} has no effect; did you mean {meant}?"


def _unseen(found: Uncommitted, base: str) -> str:
    counts = [
        plural(number, f"{word} path")
        for number, word in ((found.changed, "changed"), (found.untracked, "untracked"))
        if number
    ]
    verb = "is" if found.changed + found.untracked == 1 else "are"
    return (
        f"{' and '.join(counts)} of the checkout {verb} not part of the run, which starts from {base}; "
        "commit what its tasks need"
    )


def overlap_remarks(plan: Plan) -> Iterator[str]:
    """Yield which tasks that run side by side declare to change the same file, at most `OVERLAPS` files."""
    from tasks.overlaps import overlaps  # noqa: PLC0415 - start-up stays quick

    found = overlaps(plan)
    for one in found[:OVERLAPS]:
        where = f" of batch {one.batch}" if plan.has_batches else ""
        names = ", ".join(one.tasks[:NAMES]) + ("…" if len(one.tasks) > NAMES else "")
        yield f"tasks {names}{where} change the same file: {one.path}"
    if len(found) > OVERLAPS:
        yield f"and {plural(len(found) - OVERLAPS, 'more file')}"
    if found:
        yield "such tasks may conflict; `--serialize declared` lets them wait for each other"
