"""Tells someone that a run has ended: a JSON body to a URL, with a `text` that Slack and the like show.

Such a URL lets whoever has it post there, so it is treated as a secret: no message, log or store has more of it
than its host.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline.console import figure
from pipeline.events import RunFinished
from tasks.errors import PatchyardError
from tasks.model import Outcome, PullRequest, Status
from tasks.text import plural

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

PAUSES = (1.0, 2.0, 4.0)
"""Seconds between two tries; there is one try more than there are pauses."""
LONGEST_PAUSE = 15.0
"""Seconds that a `Retry-After` is heeded for at most."""
TRY_TIMEOUT = 10.0
TOO_MANY, FIRST_SERVER_ERROR, REDIRECTS = 429, 500, range(300, 400)
MOST_TOLD = 10
"""Tasks and pull requests that the text names; the rest are counted."""
LONGEST_ERROR = 200
BAD = frozenset({Status.FAILED, Status.TIMED_OUT})
_HARMLESS = str.maketrans({"<": "\u2039", ">": "\u203a"})
"""Angle brackets address people and channels in Slack: a task's title may not."""


class NotifyError(PatchyardError):
    """The notification could not be sent; the message does not hold the URL."""


@dataclass(frozen=True, slots=True)
class End:
    """A run that has ended, as a notification tells it."""

    finished: RunFinished
    title: str
    plan: str
    requests: Sequence[PullRequest] = ()
    unpublished: int = 0  # tasks that could not be published, where that was asked for

    @property
    def body(self) -> dict[str, object]:
        """What is sent."""
        finished = self.finished
        return {
            "text": self.text,
            "run": finished.run,
            "status": str(finished.status),
            "plan": self.plan,
            "title": self.title,
            "seconds": round(finished.seconds, 3),
            "speedup": round(finished.speedup, 4),
            "efficiency": round(finished.efficiency, 4),
            "counts": {str(status): number for status, number in self._counts.items()},
            "failed": [
                {"task": one.task, "title": one.title, "error": _first_line(one)} for one in self._failed
            ],
            "unpublished": self.unpublished,
            "pull_requests": [
                {"task": one.task, "number": one.number, "url": one.url, "action": one.action}
                for one in self.requests
            ],
        }

    @property
    def text(self) -> str:
        """What people read: a line for the run, then one each for what failed and what was published."""
        counts = ", ".join(f"{number} {_words(status)}" for status, number in self._counts.items())
        name = " ".join((self.title or self.plan).split())
        lines = [f"{name}: {self.finished.status}. {figure(self.finished)} ({counts or 'no task'})"]
        lines += _listed([f"{one.task} {one.title}: {_first_line(one)}" for one in self._failed], "task")
        lines += _listed([f"{one.task} #{one.number} {one.url}" for one in self.requests], "pull request")
        if self.unpublished:
            lines.append(f"{plural(self.unpublished, 'task')} could not be published")
        lines.append(f"run {self.finished.run}")
        return "\n".join(lines).translate(_HARMLESS)

    @property
    def _failed(self) -> list[Outcome]:
        return [outcome for outcome in self.finished.outcomes if outcome.status in BAD]

    @property
    def _counts(self) -> dict[Status, int]:
        found = [outcome.status for outcome in self.finished.outcomes]
        return {status: found.count(status) for status in Status if status in found}


def _listed(lines: Sequence[str], noun: str) -> list[str]:
    more = len(lines) - MOST_TOLD
    told = [f"- {line}" for line in lines[:MOST_TOLD]]
    return [*told, f"- and {plural(more, f'more {noun}')}"] if more > 0 else told


def _first_line(outcome: Outcome) -> str:
    first = (outcome.error or _words(outcome.status)).partition("\n")[0]
    return first if len(first) <= LONGEST_ERROR else f"{first[:LONGEST_ERROR]}…"


def _words(status: Status) -> str:
    return str(status).replace("_", " ")


def notify(
    url: str, end: End, environ: Mapping[str, str], *, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Send the notification; tries again when the other side cannot take it now. Blocks.

    Args:
        url: Where it goes; http or https.
        end: The run that has ended.
        environ: The environment: `HTTPS_PROXY` and its like are heeded.
        sleep: Waits for some seconds.

    Raises:
        NotifyError: It could not be sent in the end.
    """
    import urllib3  # noqa: PLC0415 - start-up stays quick

    host = urlsplit(url).hostname or ""
    data = json.dumps(end.body).encode("ascii")
    why = ""
    with _client(url, host, environ) as client:
        for pause in (*PAUSES, None):
            asked = 0.0
            try:
                answer = _post(client, url, data)
            except urllib3.exceptions.HTTPError as error:
                why = _reason(error)
            else:
                why = f"it answered {answer.status}"
                if answer.status < REDIRECTS.start:
                    return
                if answer.status != TOO_MANY and answer.status < FIRST_SERVER_ERROR:
                    hint = "; name the address that it leads to" if answer.status in REDIRECTS else ""
                    raise NotifyError(f"the notification to {host} was not taken: {why}{hint}")
                asked = _retry_after(answer)
            if pause is not None:
                sleep(min(LONGEST_PAUSE, max(pause, asked)))
    tries = plural(len(PAUSES) + 1, "time").replace("1 time", "once")
    raise NotifyError(f"the notification to {host} could not be sent, tried {tries}: {why}")


def _post(client: "PoolManager", url: str, data: bytes) -> "BaseHTTPResponse":
    headers = {"Content-Type": "application/json", "User-Agent": "patchyard"}
    return client.request(
        "POST", url, body=data, headers=headers, redirect=False, retries=False, timeout=TRY_TIMEOUT
    )


def _client(url: str, host: str, environ: Mapping[str, str]) -> "PoolManager":
    """Return a client that goes through the proxy that the environment names, if it names one."""
    import urllib3  # noqa: PLC0415 - start-up stays quick

    def named(name: str) -> str:
        return environ.get(name) or environ.get(name.upper()) or ""

    proxy = named(f"{urlsplit(url).scheme}_proxy") or named("all_proxy")
    if proxy and not _goes_past(host, named("no_proxy")):
        return urllib3.ProxyManager(proxy)
    return urllib3.PoolManager()


def _goes_past(host: str, no_proxy: str) -> bool:
    """Whether a host is one that `NO_PROXY` names: itself, by a domain that it is in, or with all others."""
    names = [name.strip().lower().lstrip(".") for name in no_proxy.split(",") if name.strip()]
    return any(name in {"*", host} or host.endswith(f".{name}") for name in names)


def _reason(error: Exception) -> str:
    """Return what went wrong in a few words; urllib3's own messages may hold the URL."""
    import urllib3  # noqa: PLC0415 - start-up stays quick

    known: Sequence[tuple[Any, str]] = (
        (urllib3.exceptions.NameResolutionError, "its name is not known"),
        (urllib3.exceptions.NewConnectionError, "no connection"),  # a kind of timeout to urllib3
        (urllib3.exceptions.TimeoutError, f"it did not answer within {TRY_TIMEOUT:.0f} s"),
        (urllib3.exceptions.SSLError, "its certificate is not trusted"),
        (urllib3.exceptions.ProxyError, "the proxy does not let it through"),
        (urllib3.exceptions.ProtocolError, "the connection broke"),
    )
    return next((words for kind, words in known if isinstance(error, kind)), type(error).__name__)


def _retry_after(answer: "BaseHTTPResponse") -> float:
    """Return the seconds that the other side asks to wait; 0 where it names none, or a date."""
    try:
        return max(0.0, float(answer.headers.get("Retry-After", "0")))
    except ValueError:
        return 0.0
