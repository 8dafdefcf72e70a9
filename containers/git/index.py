"""Read and change single entries of an index. Blocking; git's environment names the index."""

import os
from collections.abc import Iterable, Mapping

from containers.git.command import Git
from containers.git.loose_objects import hash_like

Entry = tuple[str, str]
"""The mode and the object id of a path."""
LEFT_OUT = "S"
"""The tag of a file that a sparse checkout leaves out."""


def read_entries(git: Git) -> dict[str, Entry]:
    """Return the entries of an index by their paths."""
    found = {}
    for entry in git.run("ls-files", "-s", "-z").fields:
        about, path = entry.split("\t", 1)
        mode, name, _ = about.split(" ")
        found[path] = (mode, name)
    return found


def read_tags(git: Git, *patterns: str) -> dict[str, str]:
    """Return the tags of the paths in an index (https://git-scm.com/docs/git-ls-files#_output).

    Args:
        git: Any git.
        patterns: Which paths; all by default.
    """
    return {entry[2:]: entry[0] for entry in git.run("ls-files", "-t", "-z", "--", *patterns).fields}


def listed(paths: Iterable[str]) -> bytes:
    """Return paths as git reads them from standard input with `-z`."""
    return b"".join(os.fsencode(path) + b"\0" for path in paths)


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
    if names := listed(paths):
        git.run("update-index", "--force-remove", "-z", "--stdin", stdin=names)
