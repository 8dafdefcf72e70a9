"""How a run was called and how it is published, as typed values of two JSON columns of its row."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, field
from typing import Any, Self

from tasks.lazy.dataclasses import dataclass
from tasks.outcome import PullRequestScope
from tasks.schedule import SelectionError


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """How a run is published.

    `publish` says whether that happens at the end of the run. `allow_unpushed` says whether commits of the base
    that the remote does not have may be published. `agent` is the default agent, needed to parse the stored
    plan again. `secrets` are names of environment variables.
    """

    remote: str = "origin"
    github: str | None = None
    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    draft: bool = False
    auto_merge: bool = False
    allow_unpushed: bool = False
    agent: str | None = None
    publish: bool = False
    pull_request: PullRequestScope = PullRequestScope.TASK

    @property
    def as_json(self) -> str:
        """The JSON text of the column `settings`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | None) -> Self:
        """Decode the column `settings`; older versions wrote fewer keys.

        Raises:
            ValueError: It is not what `as_json` writes.
        """
        values = _mapping_of(json.loads(text or "{}"))
        return cls(
            remote=_text_of(values.get("remote")) or "origin",
            github=_text_of(values.get("github")),
            labels=texts_of(values.get("labels")),
            reviewers=texts_of(values.get("reviewers")),
            secrets=texts_of(values.get("secrets")),
            draft=bool(values.get("draft")),
            auto_merge=bool(values.get("auto_merge")),
            allow_unpushed=bool(values.get("allow_unpushed")),
            agent=_text_of(values.get("agent")),
            publish=bool(values.get("publish")),
            pull_request=PullRequestScope(_text_of(values.get("pull_request")) or PullRequestScope.TASK),
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """The part of a plan to run; without limits and names, all of it.

    `with_needed` selects also what `tasks` build on. A stored run names all of its tasks instead.
    """

    start_batch: int | None = None
    end_batch: int | None = None
    tasks: tuple[str, ...] = ()
    with_needed: bool = False

    @classmethod
    def of(
        cls,
        start_batch: int | None,
        end_batch: int | None,
        *,
        tasks: Iterable[str] = (),
        only: Iterable[str] = (),
    ) -> Self:
        """Return a selection of tasks with what they build on, or of tasks without that.

        Raises:
            SelectionError: Both are given.
        """
        tasks, only = tuple(tasks), tuple(only)
        if tasks and only:
            raise SelectionError("name tasks with --task, or with --only, not with both")
        return cls(start_batch, end_batch, tasks or only, with_needed=bool(tasks))


@dataclass(frozen=True, slots=True)
class Committer:
    """Who makes the commits of a run. `offset` is that of their clock from UTC, such as `+0200`."""

    name: str = "patchyard"
    email: str = "patchyard@localhost"
    offset: str = "+0000"


@dataclass(frozen=True, slots=True)
class StoredCall:
    """What is needed to prepare the call of a run again, except for secrets.

    `flags` are settings by name, as given on a command line. `notify` says whether a webhook URL was given,
    which is not stored. `masked` says whether the stored plan text has a secret masked. `served` says whether
    servers look after the run.
    """

    flags: Mapping[str, Any] = field(default_factory=dict)
    selection: Selection = field(default_factory=Selection)
    notify: bool = False
    masked: bool = False
    committer: Committer = field(default_factory=Committer)
    served: bool = False
    trusted: tuple[str, ...] = ()
    """Digests of the settings of the repository that the user trusted for this run."""
    remote_urls: tuple[str, ...] = ()
    """The URLs, without credentials, that the remote was read from and pushed to when the run started."""

    @property
    def as_json(self) -> str:
        """The JSON text of the column `call`."""
        return json.dumps(
            {
                "flags": dict(self.flags),
                "selection": asdict(self.selection),
                "notify": self.notify,
                "masked": self.masked,
                "who": asdict(self.committer),
                "served": self.served,
                "trusted": self.trusted,
                "remote_urls": self.remote_urls,
            }
        )

    @classmethod
    def from_json(cls, text: str | None) -> Self:
        """Decode the column `call`; older versions wrote fewer keys.

        Raises:
            ValueError: It is not what `as_json` writes.
        """
        values = _mapping_of(json.loads(text or "{}"))
        selection = _mapping_of(values.get("selection"))
        who = {name: _text_of(value) for name, value in _mapping_of(values.get("who")).items()}
        return cls(
            flags=_mapping_of(values.get("flags")),
            selection=Selection(
                start_batch=_number_of(selection.get("start_batch")),
                end_batch=_number_of(selection.get("end_batch")),
                tasks=texts_of(selection.get("tasks")),
            ),
            notify=bool(values.get("notify")),
            masked=bool(values.get("masked")),
            committer=Committer(**{name: value for name, value in who.items() if value is not None}),
            served=bool(values.get("served")),
            trusted=texts_of(values.get("trusted")),
            remote_urls=texts_of(values.get("remote_urls")),
        )


def texts_of(value: object) -> tuple[str, ...]:
    """Return a decoded list of texts as a tuple; nothing for `null`.

    Raises:
        ValueError: It is something else.
    """
    found = [] if value is None else value
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise ValueError("not a list of texts")
    return tuple(found)


def _text_of(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise ValueError("not a text")


def _number_of(value: object) -> int | None:
    if value is None or isinstance(value, int):
        return value
    raise ValueError("not a whole number")


def _mapping_of(value: object) -> Mapping[str, Any]:
    found = {} if value is None else value
    if not isinstance(found, dict):
        raise ValueError("not a mapping")  # noqa: TRY004 - as for other values
    return found
