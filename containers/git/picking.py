"""Copy commits onto others without a checkout. Blocking."""

import re

from containers.git.commits import Commit, Identity, Signature
from containers.git.repository import Merge, Repository

_PERSON = re.compile(r"(?P<name>[^<]*?) ?<(?P<email>[^>]*)> (?P<date>[0-9]+ [+-][0-9]{4})")
"""An author as git writes it (https://git-scm.com/docs/git-fast-import#_committer)."""


def pick(repository: Repository, commit: Commit, onto: str) -> Merge:
    """Make the change of a commit with one parent again, on top of another commit.

    The result has the same author, date and message, so that it has the same id each time. If `onto` is the
    parent, it is the commit itself.

    Raises:
        GitError: One of the commits is not in the repository.
    """
    (parent,) = commit.parents
    if parent == onto:
        return Merge(commit.id)
    signature = _signature(commit.author)
    # `git merge-tree --merge-base` does this too, from git 2.40 on: the nearest common ancestor of these two is
    # the parent, whatever the history of `onto` is.
    beside = repository.commit(repository.tree(onto), [parent], "patchyard: a trial\n", signature)
    tree, conflicts = repository.history.merge_tree(beside, commit.id)
    if conflicts is not None:
        return Merge(None, conflicts)
    return Merge(repository.commit(tree, [onto], commit.message, signature))


def _signature(person: str) -> Signature:
    found = _PERSON.fullmatch(person)
    if found is None:
        return Signature(Identity("patchyard", "patchyard@localhost"), "@0 +0000")
    return Signature(Identity(found["name"], found["email"]), f"@{found['date']}")
