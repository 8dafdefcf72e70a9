"""Recognise the dialect of a plan, and read it."""

from collections.abc import Callable, Collection, Iterator
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from tasks.diagnostics import Report
from tasks.dialects import native
from tasks.dialects.packing import unpacked
from tasks.dialects.read_options import NAMES, ReadOptions
from tasks.dialects.source import Beside, Source
from tasks.model import NATIVE
from tasks.plan.parser import Parsed, decoded

if TYPE_CHECKING:
    from tasks.dialects.dialect import Dialect


def parse(  # noqa: PLR0913 - what is read, for whom, and how; all but two are named
    data: bytes | str,
    path: str,
    *,
    agent: str | None = None,
    is_agent: Callable[[str], bool] = lambda _: True,
    agents: Collection[str] = (),
    options: ReadOptions | None = None,
    beside: Beside | None = None,
) -> Parsed:
    """Parse a plan of any dialect. Any text gives a plan or errors, never an exception.

    Args:
        data: The text of the plan, or what `packed` made of it; bytes are UTF-8.
        path: The plan's path as the user gave it, with which every diagnostic begins.
        agent: The agent that gets the text of tasks that name none, unless the plan sets one.
        is_agent: Whether an agent's name or command can be used. Those that the plan declares always can.
        agents: Names that a message may propose for one that cannot be used.
        options: What the user says of how the plan is read; a packed plan has its own.
        beside: What is beside the text; likewise.
    """
    report = Report(path)
    text = decoded(data, report)
    if text is None:
        return Parsed(None, report.sorted())
    source, options = unpacked(Source(path, text, beside or Beside()), options or ReadOptions())
    try:
        found = _chosen(source, options, report)
        if found is None:
            # The text as it came: what is wrong with it is reported by the native reader.
            content = data if source.text == text else source.text
            parsed = native.parse(
                content, path, agent=agent, is_agent=is_agent, agents=agents, optional=options.optional
            )
            return parsed if options.dialect else native.unknown(parsed, source)
        from tasks.dialects.units import plan_of  # noqa: PLC0415 - start-up stays quick

        reading = found.read(source, options, report)
        if not source.is_json and (fence := source.outline.open_fence) is not None:
            report.warning(fence + 1, 1, "this fence is never closed, so that all below is part of it")
        plan = plan_of(reading, found.name, path, options, report)
    except RecursionError:
        report.error(1, 1, "the plan is nested too deeply")
        return Parsed(None, report.sorted())
    if not plan.tasks and not report.errors:
        report.error(1, 1, f"this {plan.dialect} plan has no task")
    return Parsed(None if report.errors else plan, report.sorted())


def recognised(source: Source) -> str | None:
    """Return the name of the dialect of a source; `None` if it is not a plan."""
    try:
        found = _chosen(source, ReadOptions(), Report(source.path))
        if found is not None:
            return found.name
        is_one = native.is_certain(source) or native.count(source) or native.fits_loosely(source)
    except RecursionError:
        return None
    return NATIVE if is_one else None


def _chosen(source: Source, options: ReadOptions, report: Report) -> "Dialect | None":
    """Return the dialect of a source, the one that reads most items; `None` is the native one."""
    if options.dialect:
        return None if options.dialect == NATIVE else _dialect(options.dialect)
    if native.is_certain(source):
        return None
    own = native.count(source)
    counts = {dialect.name: count for dialect in _specific() if (count := dialect.count(source))}
    best = max(counts, key=lambda name: counts[name], default=NATIVE)
    if counts and counts[best] > own:
        others = [name for name in (*counts, *([NATIVE] if own else ())) if name != best]
        if others:
            report.warning(1, 1, f"this is read as {best}; `--dialect {others[0]}` reads it otherwise")
        return _dialect(best)
    fallback = _dialect("checklist")
    return None if own or native.fits_loosely(source) or not fallback.count(source) else fallback


def _specific() -> "Iterator[Dialect]":
    """Yield every dialect that is known by more than its boxes."""
    return (_dialect(name) for name in NAMES if name not in {NATIVE, "checklist"})


@cache
def _dialect(name: str) -> "Dialect":
    found: Dialect = import_module(f"tasks.dialects.formats.{name.replace('-', '_')}").DIALECT
    return found
