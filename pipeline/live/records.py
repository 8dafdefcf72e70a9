"""Events from their JSON objects, as the store keeps them."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from datetime import datetime
from typing import Any

from pipeline.events import NAMES, ConflictFound, Event, Published, RunFinished, TaskFinished
from tasks.agent_report import Tokens
from tasks.outcome import Conflict, Outcome, PullRequest, Refusal, Status

_CLASSES: Mapping[str, type[Event]] = {name: kind for kind, name in NAMES.items()}


def event_of(record: Mapping[str, object]) -> Event | None:
    """Return the event of a record; `None` for the end of a run, and for what this release does not know."""
    kind = _CLASSES.get(str(record.get("event")))
    if kind is None or kind is RunFinished:
        return None
    with suppress(KeyError, TypeError, ValueError):
        values = dict[str, Any](record)
        values["time"] = datetime.fromisoformat(values["time"])
        if kind is TaskFinished:
            return TaskFinished(time=values["time"], outcome=_outcome(values))
        if kind is ConflictFound:
            conflict = Conflict(values["batch"], tuple(values["tasks"]), tuple(values["files"]))
            return ConflictFound(time=values["time"], conflict=conflict)
        if kind is Published:
            return Published(time=values["time"], request=PullRequest(**_known(PullRequest, values)))
        return kind(**_known(kind, values))
    return None


def _known(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    return {item.name: values[item.name] for item in fields(kind) if item.name in values}


def _outcome(values: dict[str, Any]) -> Outcome:
    known = _known(Outcome, values)
    tokens = Tokens(**_known(Tokens, known.get("tokens") or {}))
    lists: dict[str, Any] = {name: tuple(known[name]) for name in ("files", "fails_before") if name in known}
    refused = tuple(Refusal(**_known(Refusal, one)) for one in known.get("refused") or ())
    known |= lists | {"refused": refused, "status": Status(known["status"]), "tokens": tokens}
    return Outcome(**known)
