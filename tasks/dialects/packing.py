"""A source and how it is read as one text: what a run stores of its plan."""

import json
from dataclasses import asdict

from tasks.dialects.read_options import Order, ReadOptions, UnitKind
from tasks.dialects.source import Beside, Source

_PREFIX = "patchyard-plan: "


def packed(source: Source, options: ReadOptions) -> str:
    """Return a source with its options as one text; a file that is read by default is its own text.

    What is packed already stays as it is.
    """
    if source.text.startswith(_PREFIX) or (source.beside == Beside() and options == ReadOptions()):
        return source.text
    beside = source.beside
    content = {"text": source.text, "files": beside.files, "names": sorted(beside.names), "place": beside.place}
    return _PREFIX + json.dumps({**content, "options": asdict(options)})


def unpacked(source: Source, options: ReadOptions) -> tuple[Source, ReadOptions]:
    """Return what `packed` was given if a source's text is its result, else the source and the options."""
    text, path = source.text, source.path
    if not text.startswith(_PREFIX):
        return source, options
    try:
        found = json.loads(text[len(_PREFIX) :])
        files = tuple((str(name), str(content)) for name, content in found["files"])
        beside = Beside(files, frozenset(map(str, found["names"])), str(found.get("place", "")))
        return Source(path, str(found["text"]), beside), _options(found["options"])
    except (ValueError, KeyError, TypeError):
        return source, options


def _options(values: dict[str, object]) -> ReadOptions:
    unit, dialect, tag = values["unit"], values["dialect"], values["tag"]
    return ReadOptions(
        dialect=str(dialect) if dialect else None,
        unit=UnitKind(str(unit)) if unit else None,
        order=Order(str(values["order"])),
        optional=bool(values["optional"]),
        tag=str(tag) if tag else None,
    )
