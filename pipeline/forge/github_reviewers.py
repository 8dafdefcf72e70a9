"""Labels and reviewers of a pull request on GitHub: what cannot be set is said, and fails nothing."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pipeline.forge.github_errors import FORBIDDEN, NOT_FOUND, UNPROCESSABLE, is_rate_limit, problems

if TYPE_CHECKING:
    from github import GithubException
    from github.PullRequest import PullRequest

NOT_TAKEN = frozenset({FORBIDDEN, NOT_FOUND, UNPROCESSABLE})


def add_labels(request: "PullRequest", labels: Iterable[str]) -> list[str]:
    """Add the labels that are missing; GitHub makes those that it does not know. Returns notes."""
    from github import GithubException  # noqa: PLC0415 - 0.3 s, and only publishing needs it

    there = {label.name.casefold() for label in request.labels or ()}
    missing = [label for label in dict.fromkeys(labels) if label.casefold() not in there]
    try:
        if missing:
            request.add_to_labels(*missing)
    except GithubException as refusal:
        return [_note(f"it was not labelled {', '.join(missing)}", refusal)]
    return []


def ask_for_reviews(request: "PullRequest", reviewers: Iterable[str], *, is_new: bool) -> list[str]:
    """Ask for the reviews of users, and of teams as `organization/team`. Returns notes.

    Nobody is asked twice: neither who is asked already, nor who has answered.
    """
    asked = {user.login.casefold() for user in request.requested_reviewers or ()}
    asked |= {team.slug.casefold() for team in request.requested_teams or ()}
    missing = [one for one in dict.fromkeys(reviewers) if _slug(one).casefold() not in asked]
    if missing and not is_new:
        answered = _answered(request)
        missing = [one for one in missing if one.casefold() not in answered]
    return _ask(request, missing) if missing else []


def _answered(request: "PullRequest") -> set[str]:
    from github import GithubException  # noqa: PLC0415 - as above

    try:
        return {review.user.login.casefold() for review in request.get_reviews() if review.user}
    except GithubException as refusal:
        if refusal.status == NOT_FOUND:
            return set()
        raise


def _ask(request: "PullRequest", reviewers: Sequence[str]) -> list[str]:
    """Ask all at once; GitHub takes none where it does not take one, so then each by itself."""
    from github import GithubException  # noqa: PLC0415 - as above

    users = [one for one in reviewers if "/" not in one]
    teams = [_slug(one) for one in reviewers if "/" in one]
    try:
        if teams:
            request.create_review_request(reviewers=users, team_reviewers=teams)
        else:
            request.create_review_request(reviewers=users)
    except GithubException as refusal:
        if len(reviewers) == 1:
            return [_note(f"{reviewers[0]} was not asked for a review", refusal)]
        if refusal.status not in NOT_TAKEN or is_rate_limit(refusal):
            raise
        return [note for one in reviewers for note in _ask(request, [one])]
    return []


def _slug(reviewer: str) -> str:
    return reviewer.rpartition("/")[2]


def _note(what: str, refusal: "GithubException") -> str:
    """Return the sentence about what was not taken; any other trouble goes on being raised."""
    if refusal.status not in NOT_TAKEN or is_rate_limit(refusal):
        raise refusal
    return f"{what}: {'; '.join(problems(refusal)) or f'GitHub answered {refusal.status}'}"
