"""What is checked on the remote before any task runs: the base, and the names of branches. Blocking.

Commits that the user has not pushed must not be published, and work that cannot be pushed must not be done.
"""

from collections.abc import Sequence

from containers.git.repository import GitError, Repository
from pipeline.forge.base import ForgeError
from pipeline.publish.publication import Destination
from pipeline.run.results.branches import branches_in_the_way
from tasks.secrets import Secrets
from tasks.text import first_line, plural, without_unprintable

LONGEST_SUBJECT = 60
"""Characters of a commit's subject in a message."""


def check_base(destination: Destination, base: str, name: str | None, secrets: Secrets) -> None:
    """Check that the branch that all changes are merged into has the base of a run on the remote. Blocking.

    A branch of a task contains the base: what the remote does not have of it would be in every pull request,
    and be published with the first push. The remote itself is asked, since a remote-tracking ref may be older.
    The commit that the remote has there is fetched if it is missing; no ref changes.

    Args:
        destination: Where the run is published.
        base: The commit that the run starts from.
        name: The name of the base, if it has one.
        secrets: Masked in the message, which quotes a commit.

    Raises:
        ForgeError: The remote's branch does not have the base, or cannot be read.
    """
    repository, branch = destination.repository, destination.branch
    remote = destination.connection
    try:
        tip = remote.branches([branch], destination.credential).get(branch)
        if tip:
            remote.fetch(tip, destination.credential)
        missing = repository.history.missing_from(base, [tip] if tip else [])
        is_shallow = (repository.common / "shallow").exists()
        if missing and tip and is_shallow and remote.contains(tip, base, destination.credential):
            return
        if missing:
            where = f"{name} ({base[:10]})" if name and name != base else base[:10]
            first = secrets.mask_text(_describe(repository, missing[0]))
            raise ForgeError(
                f"the base {where} has {plural(len(missing), 'commit')} that {_is(missing)} not on "
                f"{_advice(destination, base, tip, first)}, or allow it with --allow-unpushed"
            )
    except GitError as error:
        raise ForgeError(str(error)) from None


def _is(commits: tuple[str, ...]) -> str:
    return "is" if len(commits) == 1 else "are"


def _advice(destination: Destination, base: str, tip: str | None, first: str) -> str:
    """Return the part of the message that names the branch, the first missing commit, and what to do."""
    remote, branch = destination.remote, destination.branch
    if tip is None:
        return f"{remote}, which has no branch {branch} yet; the first is {first}; push {branch} first"
    others = destination.connection.branches(["*"], destination.credential)
    history = destination.repository.history
    if history.missing_from(base, history.present(others.values())):
        return (
            f"{branch} of {remote}, and every pull request would publish them; the first is {first}; push them "
            f"first, start a run with `--base {remote}/{branch}`"
        )
    same = next((name for name, commit in others.items() if commit == base), None)
    elsewhere = f"the branch {same}" if same else "other branches"
    instead = f", or with `--base {remote}/{same}` for pull requests against that" if same else ""
    return (
        f"{branch} of {remote}, only on {elsewhere} there, and every pull request against {branch} would show "
        f"them; the first is {first}; start a run with `--base {remote}/{branch}`{instead}"
    )


def _describe(repository: Repository, commit: str) -> str:
    """Return a commit for a message: its short id, and its subject on one line of printable characters."""
    subject = first_line(repository.message(commit))[:LONGEST_SUBJECT]
    return f'{commit[:10]} "{without_unprintable(subject, "?")}"'


def check_names(destination: Destination, names: Sequence[str]) -> None:
    """Check that the remote can have branches of these names. Blocking.

    Raises:
        ForgeError: Another branch there is in the way, or the remote cannot be read.
    """
    tops = sorted({name.partition("/")[0] for name in names})
    patterns = [pattern for top in tops for pattern in (top, f"{top}/*")]
    try:
        existing = destination.connection.branches(patterns, destination.credential)
    except GitError as error:
        raise ForgeError(str(error)) from None
    for name, other in branches_in_the_way(names, existing.keys()).items():
        raise ForgeError(
            f"branch {name} cannot be pushed, because {destination.remote} has a branch {other}; rename or "
            "delete that, or name others with --branch"
        )
