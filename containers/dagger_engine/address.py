"""The address of an engine, as users write it."""

from typing import Self
from urllib.parse import urlsplit

from tasks.lazy.dataclasses import dataclass

SCHEMES = (
    "tcp",
    "unix",
    "ssh",
    "kube-pod",
    "container",
    "image",
    "docker-container",
    "docker-image",
    "podman-container",
)


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """An engine to use: its address (`None`: from the environment) and its maximum number of running tasks."""

    url: str | None = None
    share: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `URL` or `URL=SHARE`.

        Raises:
            ValueError: It is not an address, or the share is not a number of at least 1.
        """
        url, equals, share = text.rpartition("=")
        if not equals or ("?" in url and "=" not in url.partition("?")[2].rpartition("&")[2]):
            # An address may contain an equals sign, as in kube-pod://pod?namespace=42.
            url, share = text, ""
        elif not share.isdigit():
            raise ValueError(f"{text!r}: a share is a whole number of at least 1")
        if url.partition("://")[0] not in SCHEMES or "://" not in url:
            raise ValueError(
                f"{text!r} is not an engine address; use one such as tcp://host:1234 or unix:///path"
            )
        if problem := address_problem(url):
            raise ValueError(f"{text!r} is not an engine address: {problem}")
        if share and int(share) < 1:
            raise ValueError(f"{text!r}: a share is at least 1")
        return cls(url, int(share) if share else None)

    def __str__(self) -> str:
        """The address, as messages show it."""
        return self.url or "the Dagger engine"


def address_problem(address: str) -> str | None:
    """Return what is wrong with an address that the command line would retry without end; `None` if valid."""
    parts = urlsplit(address)
    if parts.scheme == "tcp":
        try:
            whole = bool(parts.hostname and parts.port)
        except ValueError:
            whole = False
        return None if whole else "it needs a host and a port, as in tcp://host:1234"
    return None if parts.netloc + parts.path else f"nothing follows {parts.scheme}://"
