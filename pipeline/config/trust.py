"""What a repository sets only with the user's trust, and the trust that is remembered.

A file of the repository, or the front matter of a plan, was perhaps written by someone else. Settings that
reach beyond the worktree of a task (their declaration says which) need a flag, a variable, the user's own
file, or this trust. It is remembered by content, like that of direnv (https://direnv.net/man/direnv.1.html):
a setting with another value needs it again.
"""

import json
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, is_dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from containers.agents.builtin import BUILT_IN
from containers.filesystem import write_file
from containers.sandbox.network import Network
from pipeline.config.settings import SETTINGS, Settings
from pipeline.config.sources import ConfigError, Sources
from pipeline.config.table import NeedsTrust, Setting
from tasks.lazy.dataclasses import dataclass
from tasks.model import Batch, Mode, PlanSettings, SandboxMode

LONGEST_VALUE = 200
"""Characters of a value that messages show."""


class UntrustedError(ConfigError):
    """The repository sets what it may set only with the user's trust."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A setting of a repository that needs the user's trust. `value` is JSON."""

    key: str
    value: str
    where: str
    """The file that sets it."""

    def __str__(self) -> str:
        """Return it for people."""
        value = self.value if len(self.value) <= LONGEST_VALUE else f"{self.value[: LONGEST_VALUE - 1]}…"
        return f"{self.key} = {value}, in {self.where}"

    def digest(self, root: Path | None = None) -> str:
        """Return what identifies the setting with its value, in the repository whose checkout is at `root`.

        Without a checkout, for one run, which every clone of the repository may resume.
        """
        where = str(root.resolve()) if root else ""
        return sha256(json.dumps([where, self.key, self.value]).encode()).hexdigest()


def needed_grants(
    sources: Sources, plan: PlanSettings, plan_path: str, root: Path, batches: Iterable[Batch] | None = None
) -> tuple[Grant, ...]:
    """Return the settings of the repository and the plan that need trust. Blocking.

    A setting that a flag or a variable sets needs none, nor does a value that the user's own file has too.

    Args:
        sources: The settings from outside the plan.
        plan: The settings of the plan.
        plan_path: The path of the plan.
        root: The checkout.
        batches: The batches of the plan; without them, as if some ran in containers.
    """
    from_plan = {
        "agent": plan.agent,
        "agents": dict(plan.agents),
        "mode": plan.mode,
        "sandbox": plan.sandbox,
    }
    known = {*BUILT_IN, *sources.agents, *plan.agents}
    settings, batches = sources.resolve(plan), None if batches is None else tuple(batches)
    contained = batches is None or any(settings.mode_for(batch) is Mode.DAGGER for batch in batches)
    grants: list[Grant] = []
    for name, item in SETTINGS.items():
        if item.trust is None or name in sources.forced:
            continue
        if item.trust is NeedsTrust.CONTAINED and not contained:
            continue
        if item.trust is NeedsTrust.UNCONTAINED and sources.own.get(name) is not Mode.DAGGER:
            continue
        for value, where in ((sources.file.get(name), str(sources.path)), (from_plan.get(name), plan_path)):
            own = own_value(sources, name)
            if value and _reaches_out(item, value, known, root, own):
                grants += [Grant(key, _as_json(asked), where) for key, asked in _asked(item, value, own)]
    if sources.own.get("mode") is Mode.DAGGER and "mode" not in sources.forced:
        grants += [
            Grant(f"mode of batch {batch.number}", _as_json(batch.mode), plan_path)
            for batch in batches or ()
            if batch.mode not in {Mode.DAGGER, None}
        ]
    return tuple(grants)


def own_value(sources: Sources, name: str) -> object:
    """Return the value of a setting in the user's own file, or its default."""
    return sources.own.get(name, getattr(Settings(), name))


def _is_weaker(value: object, own: object) -> bool:
    """Whether a value gives tasks more than another."""
    if isinstance(value, int) and (isinstance(own, int) or own is None):
        return own is not None and value > own
    if isinstance(value, SandboxMode) and isinstance(own, SandboxMode):
        return value.strength < own.strength
    return isinstance(value, Network) and isinstance(own, Network) and value.gives_more_than(own)


def _reaches_out(item: Setting, value: object, known_agents: Collection[str], root: Path, own: object) -> bool:
    """Whether this value of a setting needs trust; `own` is the user's."""
    if item.trust is NeedsTrust.WEAKER:
        return _is_weaker(value, own)
    if item.trust is NeedsTrust.COMMAND:
        return value not in known_agents
    if item.trust is NeedsTrust.OUTSIDE and isinstance(value, Path):
        path, top = value.resolve(), root.resolve()
        return not path.is_relative_to(top) or path.is_relative_to(top / ".git")
    return True


def _asked(item: Setting, value: object, own: object) -> Iterator[tuple[str, object]]:
    """Yield the parts of a value that the user's own file does not have, by key."""
    if isinstance(value, Mapping) and isinstance(own, Mapping):
        yield from ((f"{item.key}.{name}", one) for name, one in value.items() if own.get(name) != one)
    elif isinstance(value, tuple) and isinstance(own, tuple):
        if rest := [one for one in value if one not in own]:
            yield item.key, rest
    elif value != own:
        yield item.key, value


def _as_json(value: object) -> str:
    def convert(other: object) -> Any:  # noqa: ANN401 - json's own signature
        if is_dataclass(other) and not isinstance(other, type):
            return {name: item for name, item in asdict(other).items() if item and name != "name"}
        return str(other)

    return json.dumps(value, default=convert, ensure_ascii=False, sort_keys=True)


class TrustStore:
    """The user's remembered trust: one file for each setting, outside of every repository. Methods block."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        state, home = environ.get("XDG_STATE_HOME"), environ.get("HOME")
        base = Path(state) if state else Path(home, ".local/state") if home else None
        self._directory = base and base / "patchyard" / "trust"

    def has(self, grant: Grant, root: Path) -> bool:
        """Whether a setting is trusted."""
        return self._directory is not None and (self._directory / grant.digest(root)).is_file()

    def add(self, grants: Iterable[Grant], root: Path) -> None:
        """Remember settings.

        Raises:
            ConfigError: The user has no home directory.
        """
        if self._directory is None:
            raise ConfigError("HOME is not set, so no trust can be remembered; set it, or use PATCHYARD_TRUST")
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for grant in grants:
            path = self._directory / grant.digest(root)
            write_file(path, f"{root.resolve()}\n{grant}\n".encode(errors="replace"))

    def remove(self, grants: Iterable[Grant], root: Path) -> None:
        """Forget settings."""
        for grant in grants:
            if self._directory is not None:
                (self._directory / grant.digest(root)).unlink(missing_ok=True)


def require_trust(  # noqa: PLR0913 - the parts of a call
    sources: Sources,
    plan: PlanSettings,
    plan_path: str,
    root: Path,
    environ: Mapping[str, str],
    *,
    batches: Iterable[Batch] | None = None,
    trusted: Collection[str] = (),
    only: Collection[str] = (),
) -> tuple[Grant, ...]:
    """Return the settings that need trust, if all of them are trusted. Blocking.

    Args:
        sources: The settings from outside the plan.
        plan: The settings of the plan.
        plan_path: The path of the plan.
        root: The checkout.
        environ: The environment, which says where trust is remembered.
        batches: The batches of the plan, as for `needed_grants`.
        trusted: Digests of more settings that are trusted.
        only: The settings that matter; by default all.

    Raises:
        UntrustedError: One is not trusted.
    """
    grants = needed_grants(sources, plan, plan_path, root, batches)
    grants = tuple(item for item in grants if not only or item.key in only)
    store = TrustStore(environ)
    if sources.forced.get("trust"):
        return grants
    given = {item for item in grants if not {item.digest(), item.digest(root)}.isdisjoint(trusted)}
    missing = [item for item in grants if item not in given and not store.has(item, root)]
    if missing:
        raise UntrustedError(
            f"the repository may not set this without your trust: {'; '.join(map(str, missing))}; review it, "
            f"then run `{trust_command(plan_path)}`, or use --trust or PATCHYARD_TRUST=1 to trust it once"
        )
    return grants


def trust_command(plan_path: str) -> str:
    """Return the command that remembers trust in the settings of a repository, and of a plan in a file."""
    return " ".join(["patchyard trust", *([shlex.quote(plan_path)] if plan_path not in {"", "-"} else [])])
