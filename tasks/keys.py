"""Cache key of a task: a hash of all its inputs."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import field

from tasks.lazy.dataclasses import dataclass
from tasks.model import Mode, Step, Task

KEY_VERSION = 1
"""Increased when the inputs of the key change: keys of different versions are never equal."""


@dataclass(frozen=True, slots=True)
class AgentUse:
    """The agent of a task: its name, the command that was run, and its version if known."""

    name: str
    command: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class TaskInputs:
    """All inputs of a task.

    `base_tree` and `start_tree` are the tree ids of the run's base and of the task's start point. `steps` are
    all of its steps, with their standard input. `image` is the image of its container, with the digest if it is
    known, and `layers` are the commands that prepare it; `depth` is the number of commits of history in the
    container. `environment` has the variables of the plan and the configuration; `secrets` are names. `sparse`
    is the digest of the patterns by which its worktree has only some files of the start point.
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
    sparse: str | None = None


@dataclass(frozen=True, slots=True)
class InputHashes:
    """The part of a task's inputs that is stored: names and ids without values, and the key."""

    key: str
    mode: Mode
    start_tree: str
    image: str | None = None
    agent: AgentUse | None = None
    environment: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()


def inputs_of(made_from: TaskInputs) -> InputHashes:
    """Return the part of a task's inputs that is stored."""
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
    """Return the cache key: the SHA-256 of a canonical JSON text, in hexadecimal digits.

    Values of the environment are included as hashes. Of secrets only the names are included, so that nobody can
    test guesses of a value against the key. The modes `local` and `parallel` have the same key, since the tasks
    are the same.
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
        **place_of(made_from),
    }
    return hashlib.sha256(canonical(record)).hexdigest()


def place_of(made_from: TaskInputs) -> dict[str, object]:
    """Return the part of a key that says where the steps of a task run, and with which variables."""
    return {
        "place": _place(made_from),
        "environment": {name: _hashed(value) for name, value in made_from.environment.items()},
        "secrets": sorted(made_from.secrets),
    }


def canonical(record: object) -> bytes:
    """Return the canonical JSON text of a value: sorted names, no spaces, ASCII."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _place(made_from: TaskInputs) -> Sequence[object]:
    """Return where a task runs: in a container of an image, or on the machine, whose software is unknown."""
    if made_from.mode is Mode.DAGGER:
        return ["container", made_from.image, made_from.layers, made_from.depth]
    return ["machine", made_from.sparse] if made_from.sparse else ["machine"]


def _hashed(value: str) -> str:
    return hashlib.sha256(value.encode(errors="surrogateescape")).hexdigest()
