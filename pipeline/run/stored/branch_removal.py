"""Deletion of many branches."""

from collections.abc import Iterator, Mapping

from containers.git.repository import GitError, Repository

AT_ONCE = 500
"""Branches that git deletes in one transaction, so that what is deleted is recorded soon."""


def delete_in_parts(
    repository: Repository, branches: Mapping[str, str], *, dry_run: bool
) -> Iterator[tuple[list[str], Mapping[str, GitError]]]:
    """Delete branches, part by part; yield the names of the deleted ones, and why others were not. Blocking.

    Args:
        repository: Their repository.
        branches: Their commits, by their names; a branch at another commit is not deleted.
        dry_run: Whether to delete nothing, and name them all the same.
    """
    names = list(branches)
    for first in range(0, len(names), AT_ONCE):
        part = {name: branches[name] for name in names[first : first + AT_ONCE]}
        failed = {} if dry_run else repository.delete_branches(part)
        yield [name for name in part if name not in failed], failed
