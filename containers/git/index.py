"""Read and change single entries of an index. Blocking; git's environment names the index."""

import os
from collections.abc import Iterable, Mapping

from containers.git.command import Git
from containers.git.loose_objects import hash_like

Entry = tuple[str, str]
"""The mode and the object id of a path."""


def read_entries(git: Git) -> dict[str, Entry]:
    """Return the entries of an index by their paths."""
    found = {}
    for entry in git.run("ls-files", "-s", "-z").fields:
        about, path = entry.split("\t", 1)
        mode, name, _ = about.split(" ")
        found[path] = (mode, name)
    return found


def empty_index(name: str) -> bytes:
    """Return the content of an index without entries (git: `gitformat-index`).

    Args:
        name: Any object id of the repository, whose length tells the hash.
    """
    header = b"DIRC" + (2).to_bytes(4) + (0).to_bytes(4)
    return header + hash_like(name, header).digest()


def put_entries(git: Git, entries: Mapping[str, Entry], *options: str) -> None:
    """Add or change entries, in the given order; files are not read.

    Args:
        git: Any git.
        entries: By their paths.
        options: Options of `git update-index`.
    """
    if entries:
        lines = (
            f"{mode} {name}\t".encode() + os.fsencode(path) + b"\0" for path, (mode, name) in entries.items()
        )
        git.run("update-index", *options, "-z", "--index-info", stdin=b"".join(lines))


def remove_entries(git: Git, paths: Iterable[str]) -> None:
    """Remove paths from an index; their files are not changed."""
    if names := b"".join(os.fsencode(path) + b"\0" for path in paths):
        git.run("update-index", "--force-remove", "-z", "--stdin", stdin=names)
