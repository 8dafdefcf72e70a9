"""What must not be pushed: files that the forge does not take, and commits that nobody has. Blocking."""

from collections.abc import Mapping, Sequence

from containers.git.repository import GitError
from pipeline.forge.base import ForgeError
from pipeline.publish.file_limits import refusal
from pipeline.publish.publication import Destination, Publication


def large_files(
    destination: Destination, publications: Sequence[Publication]
) -> Mapping[str, Mapping[str, int]]:
    """Return the files that the forge advises against or does not take: sizes by path, by commit.

    Nothing if a commit cannot be read: its push fails, and says why.
    """
    limits = destination.forge.file_limits
    commits = [commit for publication in publications for commit in publication.own_commits]
    try:
        return destination.repository.history.large_files(commits, limits.advised)
    except GitError:
        return {}


def files_of(publication: Publication, large: Mapping[str, Mapping[str, int]]) -> Mapping[str, int]:
    """Return the large files of a publication, with their sizes."""
    return {path: size for commit in publication.own_commits for path, size in large.get(commit, {}).items()}


def refused_files(
    destination: Destination, publications: Sequence[Publication], large: Mapping[str, Mapping[str, int]]
) -> Mapping[str, str]:
    """Return the publications that the forge does not take, and what builds on them, each with the reason."""
    limits = destination.forge.file_limits
    refused: dict[str, str] = {}
    for publication in publications if limits.is_fixed else ():
        reason = refusal(files_of(publication, large), limits)
        if refused and (below := [one for one in publication.builds_on if one.task in refused]):
            reason = f"it builds on {below[0].label}, which cannot be published"
        if reason:
            refused[publication.task] = reason
    return refused


def check_submodules(destination: Destination, publication: Publication) -> None:
    """Check that others can get the commits of submodules that a branch names.

    What a task's repository says about them is not enough: the task can write it.

    Raises:
        ForgeError: They cannot.
    """
    if publication.run_base is None:
        return
    try:
        remotes = destination.repository.submodules(destination.connection, destination.credential)
        remotes.check(publication.run_base, publication.branch.commit)
    except GitError as error:
        raise ForgeError(str(error)) from None


def refused(destination: Destination, publications: Sequence[Publication]) -> Mapping[str, str]:
    """Return the publications that must not be pushed, by task, each with the reason."""
    found = dict(refused_files(destination, publications, large_files(destination, publications)))
    for publication in publications:
        if publication.task not in found:
            try:
                check_submodules(destination, publication)
            except ForgeError as error:
                found[publication.task] = str(error)
    return found
