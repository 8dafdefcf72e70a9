"""What a task is made from, and one key over all of it: the same key, the same work."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tasks.model import Mode, Step, Task

KEY_VERSION = 1
"""Counts up when what the key is made of changes: keys of different versions are never equal."""


@dataclass(frozen=True, slots=True)
class AgentUse:
    """The agent that a task was given to: its name, the command that was run, and its version where known."""

    name: str
    command: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class TaskInputs:
    """What a task is made from.

    `base_tree` and `start_tree` are tree ids: of the run's base, and of what the task starts from. `steps` are
    all of its steps, with what they read from standard input. `image` is that of its container, with the digest
    where that is known, and `layers` the commands that prepare it; `depth` is how many commits of history the
    container has. `environment` is the plan's and the configuration's own; `secrets` are names.
    """

    task: Task
    steps: tuple[Step, ...]
    mode: Mode
    base_tree: str
    start_tree: str
    agent: AgentUse | None = None
    image: str | None = None
    layers: tuple[str, ...] = ()
    depth: int = 1
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InputHashes:
    """What is kept of a task's ingredients: names and ids, no values, and the key over all of them."""

    key: str
    mode: Mode
    start_tree: str
    image: str | None = None
    agent: AgentUse | None = None
    environment: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()


def inputs_of(made_from: TaskInputs) -> InputHashes:
    """Return what is kept of a task's ingredients."""
    return InputHashes(
        key=key(made_from),
        mode=made_from.mode,
        start_tree=made_from.start_tree,
        image=made_from.image,
        agent=made_from.agent,
        environment=tuple(sorted(made_from.environment)),
        secrets=tuple(sorted(made_from.secrets)),
    )


def key(made_from: TaskInputs) -> str:
    """Return the key: the SHA-256 of a canonical JSON text, in hexadecimal digits.

    The values of the environment go in as hashes. Of secrets only the names do: whoever has the key must not be
    able to try values against it. `local` and `parallel` give the same key, since the tasks are the same.
    """
    task, agent = made_from.task, made_from.agent
    record = {
        "version": KEY_VERSION,
        "base": made_from.base_tree,
        "start": made_from.start_tree,
        "task": {
            "id": task.id,
            "title": task.title,
            "text": task.implementation,
            "files": [[file.action, file.path] for file in task.files],
            "verification": [check.text for check in task.verification],
        },
        "steps": [[step.kind, step.argv, step.stdin, step.prompt_file] for step in made_from.steps],
        "agent": None if agent is None else [agent.command, agent.version],
        "place": _place(made_from),
        "environment": {name: _hashed(value) for name, value in made_from.environment.items()},
        "secrets": sorted(made_from.secrets),
    }
    return hashlib.sha256(canonical(record)).hexdigest()


def canonical(record: object) -> bytes:
    """Return the one JSON text of a value: sorted names, no spaces, ASCII."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _place(made_from: TaskInputs) -> Sequence[object]:
    """Return what a task's place is made of: a container's image, or the machine, of which nothing is known."""
    if made_from.mode is Mode.DAGGER:
        return ["container", made_from.image, made_from.layers, made_from.depth]
    return ["machine"]


def _hashed(value: str) -> str:
    return hashlib.sha256(value.encode(errors="surrogateescape")).hexdigest()
