"""Translate errors of GitHub and of the network to `ForgeError`.

Status codes: https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipeline.forge.base import ForgeError, UnreachableError
from tasks.lazy.dataclasses import dataclass
from tasks.secrets import Secrets

if TYPE_CHECKING:
    from github import GithubException

_UNEXPECTED = (ValueError, TypeError, LookupError, AttributeError, AssertionError, RuntimeError)
"""What PyGithub raises for an answer that is not GitHub's, such as a proxy's page."""
BAD_REQUEST = 400
"""Besides GitHub's own use, the status with which PyGithub raises errors of GraphQL (`graphql_query`)."""
UNAUTHORIZED = 401
"""The token is wrong, expired or revoked."""
FORBIDDEN = 403
"""The token has no permission or no SSO authorization, or a rate limit is exhausted.

Primary and secondary limits: https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
"""
NOT_FOUND = 404
"""The object does not exist, or is private and the token may not read it."""
METHOD_NOT_ALLOWED = 405
"""The pull request cannot be merged (https://docs.github.com/en/rest/pulls/pulls#merge-a-pull-request)."""
CONFLICT = 409
"""The head of the pull request is not the given commit (same page)."""
UNPROCESSABLE = 422
"""Validation failed."""
TOO_MANY = 429
"""A primary or secondary rate limit is exceeded; GitHub uses 403 or 429."""
LATER = "run `patchyard publish` later for the rest"


@dataclass(frozen=True, slots=True)
class GitHubRepositoryRef:
    """A repository on GitHub: `name` is `owner/repo`, `api` the API's URL; messages are masked by `secrets`."""

    name: str
    host: str
    api: str
    secrets: Secrets = field(default_factory=Secrets, repr=False)

    def __str__(self) -> str:
        """The repository and its host."""
        return f"{self.name} on {self.host}"


@contextmanager
def translate_errors(ref: GitHubRepositoryRef, doing: str) -> Iterator[None]:
    """Translate what PyGithub raises to a `ForgeError`.

    Args:
        ref: The repository.
        doing: The intended action as a verb phrase, such as `open a pull request`.

    Raises:
        UnreachableError: No further request will succeed now.
        ForgeError: The request was rejected.
    """
    from github import BadAttributeException, GithubException  # noqa: PLC0415 - 0.3 s, and only publishing needs it
    from requests import RequestException  # noqa: PLC0415 - as above

    try:
        yield
    except GithubException as error:
        raise _masked(ref, _refusal(ref, doing, error)) from error
    except RequestException as error:
        raise _masked(ref, _network(ref, doing, error)) from error
    except (*_UNEXPECTED, BadAttributeException) as error:
        raise ForgeError(
            f"the answer of {ref.api} is not one of the GitHub API; check GITHUB_API_URL"
        ) from error


def error_messages(error: "GithubException") -> list[str]:
    """Return the messages of a GitHub error, as GitHub wrote them."""
    data = error.data if isinstance(error.data, dict) else {}
    found = [text for item in data.get("errors") or () if (text := _message(item))]
    message = data.get("message") or error.message
    return found or ([str(message)] if message else [])


def is_validation_error(error: "GithubException", *parts: str) -> bool:
    """Return whether GitHub rejected a value with a message that contains one of `parts` (lower case)."""
    message = " ".join(error_messages(error)).lower()
    return error.status == UNPROCESSABLE and any(part in message for part in parts)


def _message(item: object) -> str:
    if isinstance(item, dict):
        words = (item.get("field"), str(item.get("code", "")).replace("_", " "))
        return str(item.get("message") or " is ".join(str(word) for word in words if word))
    return str(item)


def _masked(ref: GitHubRepositoryRef, error: ForgeError) -> ForgeError:
    return type(error)(ref.secrets.mask_text(str(error)))


def _refusal(ref: GitHubRepositoryRef, doing: str, error: "GithubException") -> ForgeError:
    reason = "; ".join(error_messages(error)) or "no reason given"
    if is_rate_limit(error):
        return UnreachableError(f"the GitHub rate limit for {ref} is exhausted{_until(error)}; {LATER}")
    if error.status == UNAUTHORIZED:
        return UnreachableError(
            f"{ref.host} does not accept the token for {ref.name} (401: {reason}): it is wrong, expired or "
            "revoked; set GITHUB_TOKEN to a valid one"
        )
    hint = "try again later"
    if error.status == FORBIDDEN:
        hint = "the token needs write access to contents and pull requests there"
        if url := _header(error, "x-github-sso").partition("url=")[2]:
            hint = f"the token must be authorized for single sign-on first: open {url}"
    elif error.status == NOT_FOUND:
        hint = (
            "it does not exist, or the token has no access; check the name (--github owner/repo) and the "
            "token's repositories"
        )
    elif error.status == UNPROCESSABLE:
        hint = "GitHub rejected the content of the request"
    return ForgeError(f"cannot {doing} in {ref} ({error.status}: {reason}): {hint}")


def is_rate_limit(error: "GithubException") -> bool:
    """Return whether GitHub refused a request because of a primary or secondary rate limit."""
    from github import RateLimitExceededException  # noqa: PLC0415 - see `translate_errors`

    used_up = error.status == FORBIDDEN and _header(error, "x-ratelimit-remaining") == "0"
    return isinstance(error, RateLimitExceededException) or error.status == TOO_MANY or used_up


def _until(error: "GithubException") -> str:
    wait = getattr(error, "wait", None) or 0.0
    reset = _header(error, "x-ratelimit-reset")
    moment = time.time() + wait if wait else float(reset) if reset.isdigit() else 0.0
    return f" until {datetime.fromtimestamp(moment, UTC):%H:%M:%S} UTC" if moment else ""


def _header(error: "GithubException", name: str) -> str:
    return next((str(value) for key, value in (error.headers or {}).items() if key.lower() == name), "")


def _network(ref: GitHubRepositoryRef, doing: str, error: Exception) -> ForgeError:
    import requests  # noqa: PLC0415 - see `translate_errors`

    reason = _innermost(error)
    if isinstance(error, requests.exceptions.RetryError):
        status = re.search(r"too many (\d+) error responses", str(error))
        if status and int(status[1]) in {FORBIDDEN, TOO_MANY}:  # a 403 is retried only for a rate limit
            return UnreachableError(f"the GitHub rate limit for {ref} is exhausted; {LATER}")
        answer = status[1] if status else "no answer"
        return ForgeError(f"cannot {doing} in {ref}: GitHub failed repeatedly ({answer}); try again later")
    if isinstance(error, requests.exceptions.SSLError):
        hint = "check GITHUB_API_URL; set REQUESTS_CA_BUNDLE to a file with your own certificate authorities"
        return UnreachableError(f"no secure connection to {ref.api} ({reason}); {hint}")
    if isinstance(error, requests.exceptions.Timeout):
        return UnreachableError(f"cannot {doing} in {ref}: {ref.api} did not answer in time; try again later")
    if isinstance(error, requests.exceptions.InvalidHeader):
        return UnreachableError(f"the token for {ref} contains invalid characters; set it again")
    hint = "check the network, and GITHUB_API_URL if it is set"
    return UnreachableError(f"cannot {doing} in {ref}: {ref.api} cannot be reached ({reason}); {hint}")


def _innermost(error: BaseException) -> str:
    """Return the innermost reason in a chain of exceptions, without the wrappers of requests and urllib3."""
    seen: list[Any] = [error]
    for item in seen:
        inner = [getattr(item, "reason", None), getattr(item, "__cause__", None), *getattr(item, "args", ())]
        seen += [one for one in inner if isinstance(one, BaseException) and one not in seen]
    for item in reversed(seen):
        if isinstance(item, OSError) and item.strerror:
            return str(item.strerror).lower()
    return str(seen[-1]).partition(": ")[2] or str(seen[-1]) or type(seen[-1]).__name__
