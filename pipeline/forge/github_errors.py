"""What GitHub and the network answer, said in sentences that help."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from tasks.errors import PatchyardError
from tasks.secrets import Secrets

if TYPE_CHECKING:
    from github import GithubException

_ODD = (ValueError, TypeError, LookupError, AttributeError, AssertionError, RuntimeError)
"""What PyGithub raises when an answer is not GitHub's, such as the page of a proxy."""
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, UNPROCESSABLE, TOO_MANY = 401, 403, 404, 422, 429
LATER = "`patchyard publish` does later what is left to do"


class ForgeError(PatchyardError):
    """GitHub did not do what it was asked; the message names the repository and says what to do."""

    exit_code: ClassVar[int] = 3


class UnreachableError(ForgeError):
    """Nothing else will get through now: no connection, a refused token, a rate limit that is used up."""


@dataclass(frozen=True, slots=True)
class GitHubRepositoryRef:
    """Who is asked: `name` is `owner/repo`, `api` the address of the API; no message holds `secrets`."""

    name: str
    host: str
    api: str
    secrets: Secrets = field(default_factory=Secrets, repr=False)

    def __str__(self) -> str:
        """The repository and its host."""
        return f"{self.name} on {self.host}"


@contextmanager
def translate_errors(place: GitHubRepositoryRef, doing: str) -> Iterator[None]:
    """Turn whatever PyGithub raises into a `ForgeError`.

    Args:
        place: Who is asked.
        doing: What for, such as `open a pull request`.
    """
    from github import BadAttributeException, GithubException  # noqa: PLC0415 - 0.3 s, and only publishing needs it
    from requests import RequestException  # noqa: PLC0415 - comes with it

    try:
        yield
    except GithubException as error:
        raise _masked(place, _refusal(place, doing, error)) from error
    except RequestException as error:
        raise _masked(place, _network(place, doing, error)) from error
    except (*_ODD, BadAttributeException) as error:
        raise ForgeError(
            f"what {place.api} answers is not what the API of GitHub does; check GITHUB_API_URL"
        ) from error


def problems(error: "GithubException") -> list[str]:
    """Return what GitHub says is wrong, each in its own words."""
    data = error.data if isinstance(error.data, dict) else {}
    found = [text for item in data.get("errors") or () if (text := _problem(item))]
    message = data.get("message") or error.message
    return found or ([str(message)] if message else [])


def is_validation(error: "GithubException", *parts: str) -> bool:
    """Say whether GitHub refused a value, and any of its words hold any of `parts`."""
    told = " ".join(problems(error)).lower()
    return error.status == UNPROCESSABLE and any(part in told for part in parts)


def _problem(item: object) -> str:
    if isinstance(item, dict):
        words = (item.get("field"), str(item.get("code", "")).replace("_", " "))
        return str(item.get("message") or " is ".join(str(word) for word in words if word))
    return str(item)


def _masked(place: GitHubRepositoryRef, error: ForgeError) -> ForgeError:
    return type(error)(place.secrets.mask_text(str(error)))


def _refusal(place: GitHubRepositoryRef, doing: str, error: "GithubException") -> ForgeError:
    told = "; ".join(problems(error)) or "no reason given"
    if is_rate_limit(error):
        return UnreachableError(f"the rate limit of GitHub for {place} is used up{_until(error)}; {LATER}")
    if error.status == UNAUTHORIZED:
        return UnreachableError(
            f"{place.host} does not accept the token for {place.name} (401: {told}): it is wrong, expired or "
            "revoked; set GITHUB_TOKEN to a valid one"
        )
    hint = "try again later"
    if error.status == FORBIDDEN:
        hint = "the token needs write access to contents and pull requests there"
        if url := _header(error, "x-github-sso").partition("url=")[2]:
            hint = f"the token must be authorized for single sign-on first: open {url}"
    elif error.status == NOT_FOUND:
        hint = (
            "it does not exist, or the token may not see it; check the name (--github owner/repo) and what "
            "the token may read"
        )
    elif error.status == UNPROCESSABLE:
        hint = "GitHub does not take what was sent"
    return ForgeError(f"cannot {doing} in {place} ({error.status}: {told}): {hint}")


def is_rate_limit(error: "GithubException") -> bool:
    """Say whether GitHub refused because of how much was asked, and not of what."""
    from github import RateLimitExceededException  # noqa: PLC0415 - see `explained`

    used_up = error.status == FORBIDDEN and _header(error, "x-ratelimit-remaining") == "0"
    return isinstance(error, RateLimitExceededException) or error.status == TOO_MANY or used_up


def _until(error: "GithubException") -> str:
    wait = getattr(error, "wait", None) or 0.0
    reset = _header(error, "x-ratelimit-reset")
    moment = time.time() + wait if wait else float(reset) if reset.isdigit() else 0.0
    return f" until {datetime.fromtimestamp(moment, UTC):%H:%M:%S} UTC" if moment else ""


def _header(error: "GithubException", name: str) -> str:
    return next((str(value) for key, value in (error.headers or {}).items() if key.lower() == name), "")


def _network(place: GitHubRepositoryRef, doing: str, error: Exception) -> ForgeError:
    import requests  # noqa: PLC0415 - see `explained`

    reason = _innermost(error)
    if isinstance(error, requests.exceptions.RetryError):
        status = re.search(r"too many (\d+) error responses", str(error))
        if status and int(status[1]) in {FORBIDDEN, TOO_MANY}:  # 403 is tried again only for a rate limit
            return UnreachableError(f"the rate limit of GitHub for {place} is used up; {LATER}")
        answer = status[1] if status else "no answer"
        return ForgeError(
            f"cannot {doing} in {place}: GitHub failed again and again ({answer}); try again later"
        )
    if isinstance(error, requests.exceptions.SSLError):
        hint = "check GITHUB_API_URL; REQUESTS_CA_BUNDLE names a file of authorities to trust besides"
        return UnreachableError(f"no secure connection to {place.api} ({reason}); {hint}")
    if isinstance(error, requests.exceptions.Timeout):
        return UnreachableError(
            f"cannot {doing} in {place}: {place.api} does not answer in time; try again later"
        )
    if isinstance(error, requests.exceptions.InvalidHeader):
        return UnreachableError(f"the token for {place} holds characters that no token has; set it anew")
    hint = "check the network, and GITHUB_API_URL where it is set"
    return UnreachableError(f"cannot {doing} in {place}: {place.api} cannot be reached ({reason}); {hint}")


def _innermost(error: BaseException) -> str:
    """Return the plainest reason in a chain of exceptions."""
    seen: list[Any] = [error]
    for item in seen:
        inner = [getattr(item, "reason", None), getattr(item, "__cause__", None), *getattr(item, "args", ())]
        seen += [one for one in inner if isinstance(one, BaseException) and one not in seen]
    for item in reversed(seen):
        if isinstance(item, OSError) and item.strerror:
            return str(item.strerror).lower()
    return str(seen[-1]).partition(": ")[2] or str(seen[-1]) or type(seen[-1]).__name__
