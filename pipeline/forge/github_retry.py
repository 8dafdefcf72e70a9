"""Retries with a bounded wait. Imports PyGithub, so import it only where a client is created."""

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
MIN_REPORTED_WAIT = 2.0
"""Shortest wait, in seconds, that is reported."""


class BoundedGithubRetry(GithubRetry):
    """PyGithub's retry, which honors `Retry-After` and rate limits, with a bounded wait.

    PyGithub alone would wait for up to an hour, until the primary limit is reset:
    https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api

    Args:
        longest: Longest single wait, in seconds.
        on_wait: Called with the seconds of a wait before it starts.
        options: Those of `urllib3.Retry`.

    Raises:
        RateLimitExceededExceedsMaxWait: From a request, if GitHub asks for a longer wait: `wait`, in seconds.
    """

    def __init__(self, *, longest: float, on_wait: Callable[[float], None], **options: Any) -> None:  # noqa: ANN401 - the types are urllib3's
        self._longest = longest
        self._on_wait = on_wait
        options.setdefault("total", TRIES)
        options.setdefault("connect", CONNECT_TRIES)
        options.setdefault("status_forcelist", list(STATUSES))
        super().__init__(**options)

    def new(self, **options: Any) -> Self:  # noqa: ANN401 - as above
        """Return a copy for the next attempt."""
        return super().new(longest=self._longest, on_wait=self._on_wait, **options)

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: HTTPResponse | None = None,  # type: ignore[override]  # as in PyGithub
        error: Exception | None = None,
        _pool: ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        """Return the retry for the next attempt, or raise if there is none."""
        try:
            return self._next(method, url, response, error, _pool, _stacktrace)
        except Exception:
            if response is not None:
                response.close()  # urllib3 releases it only if its own limit is reached
            raise

    def _next(  # noqa: PLR0913, PLR0917 - as above
        self,
        method: str | None,
        url: str | None,
        response: HTTPResponse | None,
        error: Exception | None,
        pool: ConnectionPool | None,
        stacktrace: TracebackType | None,
    ) -> Self:
        next_retry: Self = super().increment(method, url, response, error, pool, stacktrace)  # type: ignore[assignment]  # created by `new`
        asked = self.get_retry_after(response) if response is not None else None
        wait = asked or next_retry.get_backoff_time()
        if wait > self._longest and response is not None:
            raise RateLimitExceededExceedsMaxWait(response.status, None, dict(response.headers), wait=wait)
        if wait >= MIN_REPORTED_WAIT:
            self._on_wait(wait)
        return next_retry
