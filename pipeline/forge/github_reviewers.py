"""Labels and reviewers of a pull request on GitHub. Those that GitHub rejects become notes, not failures."""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from pipeline.forge.base import PullRequestDraft
from pipeline.forge.github_errors import FORBIDDEN, NOT_FOUND, UNPROCESSABLE, error_messages, is_rate_limit
from pipeline.forge.note import Note, read_note, with_additions
from tasks.lazy.dataclasses import dataclass

if TYPE_CHECKING:
    from github import GithubException
    from github.PullRequest import PullRequest

REJECTED = frozenset({FORBIDDEN, NOT_FOUND, UNPROCESSABLE})
"""Statuses for labels and reviewers that cannot be set; 403 may be a rate limit as well."""


def add_labels_and_reviewers(
    request: "PullRequest", draft: PullRequestDraft, body: str, *, is_new: bool
) -> tuple[str, ...]:
    """Add the labels and reviewers that it never had, note them in its body, and return notes. Blocking.

    They are noted afterwards: a process that is killed before has not added them.

    Args:
        request: The open pull request.
        draft: What it is to have.
        body: Its body.
        is_new: Whether it was opened just now.

    Raises:
        GithubException: A request failed for another reason than the labels or reviewers.
    """
    before = read_note(body) or Note()
    labels = _add_labels(request, draft.labels, before.labels)
    reviewers = _request_reviews(request, draft.reviewers, before.reviewers, is_new=is_new)
    noted = with_additions(body, labels=labels.names, reviewers=reviewers.names)
    if noted != body:
        request.edit(body=noted)
    return (*labels.notes, *reviewers.notes)


@dataclass(frozen=True, slots=True)
class _Added:
    """Labels or reviewers that a pull request has now, and notes about those that GitHub rejected."""

    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _add_labels(request: "PullRequest", labels: Iterable[str], before: Collection[str]) -> _Added:
    """Add the missing labels, except for those that it had `before`: a person removed them. Blocking.

    GitHub creates labels that the repository does not have.

    Raises:
        GithubException: The request failed for another reason than the labels.
    """
    from github import GithubException  # noqa: PLC0415 - 0.3 s, and only publishing needs it

    wanted = _new(labels, before)
    present = {label.name.casefold() for label in request.labels or ()}
    missing = [label for label in wanted if label.casefold() not in present]
    try:
        if missing:
            request.add_to_labels(*missing)
    except GithubException as refusal:
        note = _note(f"it was not labelled {', '.join(missing)}", refusal)
        return _Added(tuple(label for label in wanted if label not in missing), (note,))
    return _Added(tuple(wanted))


def _request_reviews(
    request: "PullRequest", reviewers: Iterable[str], before: Collection[str], *, is_new: bool
) -> _Added:
    """Request reviews from users, and from teams as `organization/team`. Blocking.

    Reviewers with a pending request, or who have reviewed already, are skipped, as are those of whom it was
    requested `before`: a person removed the request.

    Raises:
        GithubException: The request failed for another reason than the reviewers.
    """
    requested = {user.login.casefold() for user in request.requested_reviewers or ()}
    requested |= {team.slug.casefold() for team in request.requested_teams or ()}
    wanted = _new(reviewers, before)
    missing = [name for name in wanted if _slug(name).casefold() not in requested]
    if missing and not is_new:
        reviewed = _past_reviewers(request)
        missing = [name for name in missing if name.casefold() not in reviewed]
    rejected = _request_missing(request, missing) if missing else {}
    return _Added(tuple(name for name in wanted if name not in rejected), tuple(rejected.values()))


def _new(names: Iterable[str], before: Collection[str]) -> list[str]:
    """Return the names, each once, without those before; GitHub ignores their case."""
    known = {name.casefold() for name in before}
    return [name for name in dict.fromkeys(names) if name.casefold() not in known]


def _past_reviewers(request: "PullRequest") -> set[str]:
    from github import GithubException  # noqa: PLC0415 - as above

    try:
        return {review.user.login.casefold() for review in request.get_reviews() if review.user}
    except GithubException as refusal:
        if refusal.status == NOT_FOUND:
            return set()
        raise


def _request_missing(request: "PullRequest", reviewers: Sequence[str]) -> dict[str, str]:
    """Request all reviews at once; GitHub rejects all if it rejects one, so then request each separately.

    Returns:
        A note about each reviewer that GitHub rejects.
    """
    from github import GithubException  # noqa: PLC0415 - as above

    users = [name for name in reviewers if "/" not in name]
    teams = [_slug(name) for name in reviewers if "/" in name]
    try:
        if teams:
            request.create_review_request(reviewers=users, team_reviewers=teams)
        else:
            request.create_review_request(reviewers=users)
    except GithubException as refusal:
        if len(reviewers) == 1:
            return {reviewers[0]: _note(f"{reviewers[0]} was not asked for a review", refusal)}
        if refusal.status not in REJECTED or is_rate_limit(refusal):
            raise
        return {name: note for one in reviewers for name, note in _request_missing(request, [one]).items()}
    return {}


def _slug(reviewer: str) -> str:
    return reviewer.rpartition("/")[2]


def _note(what: str, refusal: "GithubException") -> str:
    """Return a note about a rejected value; raise any other error again."""
    if refusal.status not in REJECTED or is_rate_limit(refusal):
        raise refusal
    return f"{what}: {'; '.join(error_messages(refusal)) or f'GitHub answered {refusal.status}'}"
