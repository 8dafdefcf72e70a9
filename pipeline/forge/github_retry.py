"""How long GitHub may keep a call waiting. Imports PyGithub: imported only where a client is made."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from github.GithubException import RateLimitExceededExceedsMaxWait
from github.GithubRetry import GithubRetry
from urllib3.connectionpool import ConnectionPool
from urllib3.response import HTTPResponse

STATUSES = (429, *range(500, 600))
TRIES = 6
CONNECT_TRIES = 2
WORTH_TELLING = 2.0
"""Seconds from which on a wait is told of."""


class BoundedGithubRetry(GithubRetry):
    """PyGithub's own retry, which obeys `Retry-After` and rate limits, with an end to it.

    Args:
        longest: The longest single wait in seconds; GitHub asks for up to an hour.
        on_wait: Is told of a wait, in seconds, before it begins.
        options: As of `urllib3.Retry`.

    Raises:
        RateLimitExceededExceedsMaxWait: From a request, when GitHub asks for more; `wait` has how much.
    """

    def __init__(self, *, longest: float, on_wait: Callable[[float], None], **options: Any) -> None:  # noqa: ANN401 - those of urllib3
        self._longest = longest
        self._on_wait = on_wait
        options.setdefault("total", TRIES)
        options.setdefault("connect", CONNECT_TRIES)
        options.setdefault("status_forcelist", list(STATUSES))
        super().__init__(**options)

    def new(self, **options: Any) -> Self:  # noqa: ANN401 - as above
        """Return a copy for the next try."""
        return super().new(longest=self._longest, on_wait=self._on_wait, **options)

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: HTTPResponse | None = None,  # type: ignore[override]  # as PyGithub has it
        error: Exception | None = None,
        _pool: ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        """Return the retry that the next try is made with, or raise when there is to be none."""
        try:
            return self._following(method, url, response, error, _pool, _stacktrace)
        except Exception:
            if response is not None:
                response.close()  # urllib3 lets go of it only where it gives up by itself
            raise

    def _following(  # noqa: PLR0913, PLR0917 - as above
        self,
        method: str | None,
        url: str | None,
        response: HTTPResponse | None,
        error: Exception | None,
        pool: ConnectionPool | None,
        stacktrace: TracebackType | None,
    ) -> Self:
        following: Self = super().increment(method, url, response, error, pool, stacktrace)  # type: ignore[assignment]  # made by `new`
        asked = self.get_retry_after(response) if response is not None else None
        wait = asked or following.get_backoff_time()
        if wait > self._longest and response is not None:
            raise RateLimitExceededExceedsMaxWait(response.status, None, dict(response.headers), wait=wait)
        if wait >= WORTH_TELLING:
            self._on_wait(wait)
        return following
