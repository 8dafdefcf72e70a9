"""Labels and reviewers of a pull request on GitHub. Those that GitHub rejects become notes, not failures."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pipeline.forge.github_errors import FORBIDDEN, NOT_FOUND, UNPROCESSABLE, error_messages, is_rate_limit

if TYPE_CHECKING:
    from github import GithubException
    from github.PullRequest import PullRequest

REJECTED = frozenset({FORBIDDEN, NOT_FOUND, UNPROCESSABLE})
"""Statuses for labels and reviewers that cannot be set; 403 may be a rate limit as well."""


def add_labels(request: "PullRequest", labels: Iterable[str]) -> list[str]:
    """Add the missing labels and return notes. Blocking.

    GitHub creates labels that the repository does not have.

    Raises:
        GithubException: The request failed for another reason than the labels.
    """
    from github import GithubException  # noqa: PLC0415 - 0.3 s, and only publishing needs it

    present = {label.name.casefold() for label in request.labels or ()}
    missing = [label for label in dict.fromkeys(labels) if label.casefold() not in present]
    try:
        if missing:
            request.add_to_labels(*missing)
    except GithubException as refusal:
        return [_note(f"it was not labelled {', '.join(missing)}", refusal)]
    return []


def request_reviews(request: "PullRequest", reviewers: Iterable[str], *, is_new: bool) -> list[str]:
    """Request reviews from users, and from teams as `organization/team`; return notes. Blocking.

    Reviewers with a pending request, or who have reviewed already, are skipped.

    Raises:
        GithubException: The request failed for another reason than the reviewers.
    """
    requested = {user.login.casefold() for user in request.requested_reviewers or ()}
    requested |= {team.slug.casefold() for team in request.requested_teams or ()}
    missing = [name for name in dict.fromkeys(reviewers) if _slug(name).casefold() not in requested]
    if missing and not is_new:
        reviewed = _past_reviewers(request)
        missing = [name for name in missing if name.casefold() not in reviewed]
    return _request_missing(request, missing) if missing else []


def _past_reviewers(request: "PullRequest") -> set[str]:
    from github import GithubException  # noqa: PLC0415 - as above

    try:
        return {review.user.login.casefold() for review in request.get_reviews() if review.user}
    except GithubException as refusal:
        if refusal.status == NOT_FOUND:
            return set()
        raise


def _request_missing(request: "PullRequest", reviewers: Sequence[str]) -> list[str]:
    """Request all reviews at once; GitHub rejects all if it rejects one, so then request each separately."""
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
            return [_note(f"{reviewers[0]} was not asked for a review", refusal)]
        if refusal.status not in REJECTED or is_rate_limit(refusal):
            raise
        return [note for name in reviewers for note in _request_missing(request, [name])]
    return []


def _slug(reviewer: str) -> str:
    return reviewer.rpartition("/")[2]


def _note(what: str, refusal: "GithubException") -> str:
    """Return a note about a rejected value; raise any other error again."""
    if refusal.status not in REJECTED or is_rate_limit(refusal):
        raise refusal
    return f"{what}: {'; '.join(error_messages(refusal)) or f'GitHub answered {refusal.status}'}"
