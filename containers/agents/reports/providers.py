"""What providers of models answer when they do not serve: limits, faults and refused keys."""

import re
from datetime import datetime, tzinfo

from containers.agents.reports.times import find_time
from containers.terminal_text import plain_text
from tasks.agent_report import Limit, LimitKind
from tasks.lazy.patterns import regex

MAX_SENTENCE = 400
"""Characters of an agent's own sentence that are kept."""
_REFUSED = regex(
    r"not logged in|please run /login|log ?in again"
    r"|(?:invalid|incorrect|bad|missing|no|expired) (?:x-)?api[- _]?key"
    r"|api[- _]?key (?:is )?(?:not |in)valid|api[- _]?key (?:not found|not set|is required|is missing)"
    r"|API_KEY_INVALID|invalid_api_key|authentication_?error|authentication failed|failed to authenticate"
    r"|invalid auth method|set an auth method|no authentication|missing bearer|unauthori[sz]ed"
    r"|token (?:has )?(?:been )?(?:expired|revoked)|refresh token|api_key client option must be set"
    r"|missing credentials|disabled organization|missing environment variable",
    re.IGNORECASE,
)
_USAGE = regex(
    r"usage[ _]limit|(?:hit|reached) your [^.]{0,40}limit|(?:hour|weekly|daily|session|opus|sonnet) limit"
    r"|quota|credit balance|out of (?:\w+ )?credits|spend(?:ing)? (?:cap|limit)|billing|exhausted your"
    r"|credits required|payment required",
    re.IGNORECASE,
)
_RATE = regex(r"rate[ _-]?limit|too many requests|resource_exhausted|\b429\b", re.IGNORECASE)
_OVERLOADED = regex(
    r"overloaded|at capacity|high demand|internal ?server ?error|service ?unavailable|bad gateway"
    r"|gateway timeout|server_error|\bUNAVAILABLE\b|\b(?:500|502|503|504|529)\b",
    re.IGNORECASE,
)
_UNREACHABLE = regex(
    r"ECONNREFUSED|ECONNRESET|ENOTFOUND|ETIMEDOUT|EAI_AGAIN|(?:un|not )able to connect|cannot connect"
    r"|connection ?(?:error|refused|reset|failed|timed out)|connect(?:ion)? ?timeout|network error|fetch failed"
    r"|getaddrinfo|name or service not known|error sending request|stream disconnected|request timed out"
    r"|failed to connect|socket (?:connection )?(?:was )?closed|network is unreachable|APIConnectionError",
    re.IGNORECASE,
)
_UNAUTHORIZED = frozenset({401, 403})
_TOO_MANY = 429
_PAYMENT = 402
_SERVER_ERROR = range(500, 600)


def kind_of(message: str, status: int | None = None) -> LimitKind | None:
    """Return what kind of limit an error is; `None` if it is none.

    Args:
        message: What the agent says of it.
        status: The status of HTTP, where it is known.
    """
    if status in {_TOO_MANY, _PAYMENT}:
        return LimitKind.USAGE if status == _PAYMENT or _USAGE.search(message) else LimitKind.RATE
    if status in _SERVER_ERROR:
        return LimitKind.OVERLOADED
    patterns = (
        (_USAGE, LimitKind.USAGE),
        (_RATE, LimitKind.RATE),
        (_OVERLOADED, LimitKind.OVERLOADED),
        (_UNREACHABLE, LimitKind.UNREACHABLE),
    )
    return next((kind for pattern, kind in patterns if pattern.search(message)), None)


def is_refusal(message: str, status: int | None = None) -> bool:
    """Whether an error says that the agent is not logged in, has no key, or that its key is refused."""
    return status in _UNAUTHORIZED or (status != _TOO_MANY and _REFUSED.search(message) is not None)


def limit_of(
    message: str, now: datetime, zone: tzinfo | None = None, *, status: int | None = None, said: str = ""
) -> Limit | None:
    """Return the limit that an error describes; `None` if it is another error.

    Args:
        message: What the agent says of it.
        now: When, with a zone.
        zone: Zone of the machine that it runs on; `None` for this one.
        status: The status of HTTP, where it is known.
        said: More that it says, such as headers of the answer, which may have the time.
    """
    kind = kind_of(message, status)
    if kind is None:
        return None
    until = find_time(message, now, zone) or (find_time(said, now, zone) if said else None)
    return Limit(kind, until, sentence(message))


def sentence(message: str) -> str:
    """Return a message as one line, cut."""
    line = " ".join(plain_text(message[: 2 * MAX_SENTENCE]).split())
    return line if len(line) <= MAX_SENTENCE else line[: MAX_SENTENCE - 1].rstrip() + "…"
