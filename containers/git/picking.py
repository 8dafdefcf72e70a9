"""Copy commits onto others without a checkout. Blocking."""

from dataclasses import replace

from containers.git.commits import Commit
from containers.git.repository import Merge, Repository


def pick(repository: Repository, commit: Commit, onto: str) -> Merge:
    """Make the change of a commit with one parent again, on top of another commit.

    The result has the same author, date and message, so that it has the same id each time. If `onto` is the
    parent, it is the commit itself.

    Raises:
        GitError: One of the commits is not in the repository.
    """
    if commit.parents == (onto,):
        return Merge(commit.id)
    # `git merge-tree --merge-base` does this too, from git 2.40 on: the nearest common ancestor of these two is
    # the parent, whatever the history of `onto` is.
    beside = repository.write(replace(commit, tree=repository.tree(onto), message="patchyard: a trial\n"))
    tree, conflicts = repository.history.merge_tree(beside, commit.id)
    if conflicts is not None:
        return Merge(None, conflicts)
    return Merge(repository.write(replace(commit, tree=tree, parents=(onto,))))
