"""Which hosts the sandbox refused to a task, and how often."""

from collections import Counter
from collections.abc import Iterable, Sequence

from tasks.outcome import Refusal
from tasks.text import plural

MOST_HOSTS = 100
"""How many hosts are counted one by one; a task may ask for any number."""
OTHERS = "others"
"""The name for all further hosts."""
MOST_NAMED = 5
"""How many hosts a line names."""


def add_up(refusals: Iterable[Refusal]) -> tuple[Refusal, ...]:
    """Return one refusal for each host, the most frequent first."""
    found: Counter[str] = Counter()
    for one in refusals:
        count_refusal(found, one.host, one.requests)
    return tuple(Refusal(host, requests) for host, requests in found.most_common())


def count_refusal(counts: Counter[str], host: str, requests: int = 1) -> None:
    """Count requests to a host; those to too many hosts are counted together."""
    known = len(counts) - (OTHERS in counts)
    counts[host if host in counts or known < MOST_HOSTS else OTHERS] += requests


def refusals_words(refusals: Sequence[Refusal]) -> str:
    """Return them for people, such as `3 requests to 2 hosts refused: pypi.org, a.test`; empty if none."""
    if not refusals:
        return ""
    named = [one.host for one in refusals[:MOST_NAMED]]
    named += [f"{len(refusals) - MOST_NAMED} more"] if len(refusals) > MOST_NAMED else []
    requests = plural(sum(one.requests for one in refusals), "request")
    return f"{requests} to {plural(len(refusals), 'host')} refused: {', '.join(named)}"
