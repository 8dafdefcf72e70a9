"""How a run was called and how it is published, as typed values of two JSON columns of its row."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self


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

    @property
    def as_json(self) -> str:
        """The JSON text of the column `settings`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | None) -> Self:
        """Decode the column `settings`; older versions wrote fewer keys."""
        values: dict[str, Any] = json.loads(text or "{}")
        return cls(
            remote=values.get("remote") or "origin",
            github=values.get("github"),
            labels=tuple(values.get("labels") or ()),
            reviewers=tuple(values.get("reviewers") or ()),
            secrets=tuple(values.get("secrets") or ()),
            draft=bool(values.get("draft")),
            auto_merge=bool(values.get("auto_merge")),
            allow_unpushed=bool(values.get("allow_unpushed")),
            agent=values.get("agent"),
            publish=bool(values.get("publish")),
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """The part of a plan to run; without limits and names, all of it."""

    start_batch: int | None = None
    end_batch: int | None = None
    tasks: tuple[str, ...] = ()


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
        """Decode the column `call`; older versions wrote fewer keys."""
        values: dict[str, Any] = json.loads(text or "{}")
        selection = values.get("selection") or {}
        return cls(
            flags=values.get("flags") or {},
            selection=Selection(
                start_batch=selection.get("start_batch"),
                end_batch=selection.get("end_batch"),
                tasks=tuple(selection.get("tasks") or ()),
            ),
            notify=bool(values.get("notify")),
            masked=bool(values.get("masked")),
            committer=Committer(**(values.get("who") or {})),
            served=bool(values.get("served")),
            trusted=tuple(values.get("trusted") or ()),
            remote_urls=tuple(values.get("remote_urls") or ()),
        )
