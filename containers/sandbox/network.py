"""What of the network a task in the sandbox reaches."""

import re
from collections.abc import Sequence
from enum import StrEnum

from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex

USUAL_PORTS = (443, 80)
"""The ports of a host that is named without one."""
_HOST = regex(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:]+\]", re.IGNORECASE)


class Reach(StrEnum):
    """How much of the network a task reaches."""

    ON = "on"
    HOSTS = "hosts"
    """Its own loopback interface, and some hosts by name."""
    OFF = "off"
    """Its own loopback interface."""

    @property
    def strength(self) -> int:
        """How much it takes from a task, from 0."""
        return (Reach.ON, Reach.HOSTS, Reach.OFF).index(self)


@dataclass(frozen=True, slots=True)
class Host:
    """A host that tasks reach: its name, or `*.` and the name that its name ends in, and its port."""

    name: str
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Host":
        """Return the host of a text such as `pypi.org`, `*.npmjs.org` or `127.0.0.1:8080`.

        Raises:
            ValueError: It is none.
        """
        name, colon, port = text.rpartition(":") if re.search(r":\d+$", text) else (text, "", "")
        if not _HOST.fullmatch(name) or (colon and not 0 < int(port) < 1 << 16):
            raise ValueError(f"{text!r} is not a host such as pypi.org, *.npmjs.org or localhost:8080")
        return cls(name.strip("[]").lower(), int(port) if colon else None)

    def matches(self, name: str, port: int) -> bool:
        """Whether a connection to a host and a port is to this one."""
        wanted = name.strip("[]").rstrip(".").lower()
        same = wanted.endswith(self.name[1:]) if self.name.startswith("*.") else wanted == self.name
        return same and (port in USUAL_PORTS if self.port is None else port == self.port)

    def __str__(self) -> str:
        """Return it as it is written."""
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port is None else f"{name}:{self.port}"


@dataclass(frozen=True, slots=True)
class Network:
    """What of the network a task reaches."""

    reach: Reach = Reach.ON
    hosts: tuple[Host, ...] = ()

    @classmethod
    def parse(cls, texts: Sequence[str]) -> "Network":
        """Return what `on`, `off`, or hosts name.

        Raises:
            ValueError: A text is none of them.
        """
        if len(texts) == 1 and (word := texts[0].strip().lower()) in {Reach.ON, Reach.OFF}:
            return cls(Reach(word))
        if not texts:
            raise ValueError("expected on, off, or hosts such as pypi.org")
        return cls(Reach.HOSTS, tuple(Host.parse(text.strip()) for text in texts))

    def gives_more_than(self, other: "Network") -> bool:
        """Whether a task reaches something with this that it does not reach with another."""
        if self.reach is Reach.HOSTS is other.reach:
            return not set(self.hosts) <= set(other.hosts)
        return self.reach.strength < other.reach.strength

    def permits(self, name: str, port: int) -> bool:
        """Whether a task reaches a port of a host."""
        return self.reach is Reach.ON or any(host.matches(name, port) for host in self.hosts)

    def __str__(self) -> str:
        """Return it as it is written, with commas."""
        return ",".join(map(str, self.hosts)) if self.reach is Reach.HOSTS else str(self.reach)


EVERYTHING = Network()
