"""References to container images, with the digests in them."""

from collections.abc import Mapping

from tasks.lazy.patterns import regex

DIGEST = regex(r"sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})")


def digest_of(reference: str) -> str | None:
    """Return the digest that an image's reference names, such as `sha256:…`; `None` without one."""
    digest = reference.rpartition("@")[2]
    return digest if "@" in reference and DIGEST.fullmatch(digest) else None


def pinned(name: str, digests: Mapping[str, str]) -> str:
    """Return an image's reference with the digest known for its name; unchanged if none is."""
    digest = digests.get(name)
    return f"{name}@{digest}" if digest and digest_of(name) is None else name
