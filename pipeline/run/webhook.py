"""Notify a webhook of the end of a run, with a JSON body whose `text` Slack and compatible services show.

Anyone who has such a URL can post there, so it is a secret: messages, logs and the store contain only its host.
The payload follows https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # not in typeshed

from pipeline.events import RunFinished
from pipeline.verdict.model import Verdict
from pipeline.verdict.words import as_fields, figure, figures, headline
from tasks.errors import PatchyardError
from tasks.lazy.dataclasses import dataclass
from tasks.text import plural

if TYPE_CHECKING:
    from urllib3 import PoolManager

PAUSES = (1.0, 2.0, 4.0)
"""Seconds between two attempts; there is one attempt more than there are pauses."""
LONGEST_PAUSE = 15.0
"""Longest `Retry-After` that is honored, in seconds."""
ATTEMPT_TIMEOUT = 10.0
"""Timeout of one attempt, in seconds."""
TOO_MANY, FIRST_SERVER_ERROR, REDIRECTS = 429, 500, range(300, 400)
MAX_LISTED = 10
"""Number of tasks, and of pull requests, that the text lists; the rest are counted."""
_SLACK_ESCAPES = str.maketrans({"<": "\u2039", ">": "\u203a"})
"""In Slack, angle brackets mention users and channels, which the title of a task must not do.

https://docs.slack.dev/messaging/formatting-message-text
"""


class NotifyError(PatchyardError):
    """The notification could not be sent; the message does not hold the URL."""


@dataclass(frozen=True, slots=True)
class Notification:
    """What is sent about a finished run. `unpublished` counts the tasks that could not be published."""

    finished: RunFinished
    title: str
    plan: str
    unpublished: int = 0

    @property
    def body(self) -> dict[str, object]:
        """The JSON body."""
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
            **as_fields(self._verdict),
            "failed": [
                {"task": one.task, "title": one.title, "kind": str(one.kind), "error": one.why}
                for one in self._verdict.troubles
            ],
            "unpublished": self.unpublished,
            "pull_requests": [
                {"task": request.task, "number": request.number, "url": request.url, "action": request.action}
                for request in self.finished.requests
            ],
        }

    @property
    def text(self) -> str:
        """The text: the verdict, then a line per failed task and per pull request, and the figure."""
        name, verdict = " ".join((self.title or self.plan).split()), self._verdict
        lines = [f"{name}: {headline(verdict)}"]
        lines += _limited([f"{one.task} {one.title}: {one.why}" for one in verdict.troubles], "task")
        requests = self.finished.requests
        lines += _limited([f"{one.task} #{one.number} {one.url}" for one in requests], "pull request")
        if self.unpublished:
            lines.append(f"{plural(self.unpublished, 'task')} could not be published")
        lines.append("; ".join(filter(None, (figure(verdict), figures(verdict)))))
        lines.append(f"run {self.finished.run}")
        return "\n".join(lines).translate(_SLACK_ESCAPES)

    @property
    def _verdict(self) -> Verdict:
        return self.finished.verdict


def _limited(lines: Sequence[str], noun: str) -> list[str]:
    more = len(lines) - MAX_LISTED
    listed = [f"- {line}" for line in lines[:MAX_LISTED]]
    return [*listed, f"- and {plural(more, f'more {noun}')}"] if more > 0 else listed


def notify(
    url: str,
    notification: Notification,
    environ: Mapping[str, str],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Send a notification, with up to four attempts. Blocking.

    The retries are not left to `urllib3.Retry`: it logs the path of the URL at level WARNING, which Python
    writes to standard error by default, and older versions wait for any `Retry-After`.

    Args:
        url: The webhook's URL; http or https.
        notification: What to send.
        environ: Environment; `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` are used.
        sleep: Waits for some seconds.

    Raises:
        NotifyError: It could not be sent.
    """
    host = urlsplit(url).hostname or ""
    data = json.dumps(notification.body).encode("ascii")
    reason: str | None = None
    with _client(url, environ) as client:
        for pause in (*PAUSES, None):
            reason, retry_after = _post(client, url, data)
            if reason is None:
                return
            if pause is not None:
                sleep(min(LONGEST_PAUSE, max(pause, retry_after)))
    attempts = len(PAUSES) + 1
    raise NotifyError(f"the notification to {host} could not be sent, tried {attempts} times: {reason}")


def _post(client: "PoolManager", url: str, data: bytes) -> tuple[str | None, float]:
    """Send the data once. Return why it failed (`None` if it was accepted) and the seconds of `Retry-After`.

    Raises:
        NotifyError: The server rejected it, so that another attempt is useless.
    """
    import urllib3  # noqa: PLC0415 - start-up stays quick

    headers = {"Content-Type": "application/json", "User-Agent": "patchyard"}
    try:
        answer = client.request(
            "POST", url, body=data, headers=headers, redirect=False, retries=False, timeout=ATTEMPT_TIMEOUT
        )
    except urllib3.exceptions.HTTPError as error:
        return _reason(error), 0.0
    if answer.status < REDIRECTS.start:
        return None, 0.0
    reason = f"it answered {answer.status}"
    if answer.status != TOO_MANY and answer.status < FIRST_SERVER_ERROR:
        hint = "; set the URL that it redirects to" if answer.status in REDIRECTS else ""
        raise NotifyError(f"the notification to {urlsplit(url).hostname} was rejected: {reason}{hint}")
    return reason, _seconds(answer.headers.get("Retry-After", "0"))


def _client(url: str, environ: Mapping[str, str]) -> "PoolManager":
    """Return a client that uses the proxy of the environment, if there is one for the URL."""
    import urllib3  # noqa: PLC0415 - start-up stays quick

    def variable(name: str) -> str:
        return environ.get(name) or environ.get(name.upper()) or ""

    parts = urlsplit(url)
    proxy = variable(f"{parts.scheme}_proxy") or variable("all_proxy")
    if proxy and not _bypasses_proxy(parts.netloc.rpartition("@")[2], variable("no_proxy")):
        return urllib3.ProxyManager(proxy)
    return urllib3.PoolManager()


def _bypasses_proxy(host: str, no_proxy: str) -> bool:
    """Return whether `NO_PROXY` names a host, with or without its port, one of its domains, or all hosts."""
    if "*" in {name.strip() for name in no_proxy.split(",")}:
        return True
    return bool(proxy_bypass_environment(host, {"no": no_proxy}))


def _reason(error: Exception) -> str:
    """Return a short description of an error; the messages of urllib3 may contain the URL."""
    import urllib3  # noqa: PLC0415 - start-up stays quick

    known: Sequence[tuple[Any, str]] = (
        (urllib3.exceptions.NameResolutionError, "its host name cannot be resolved"),
        (urllib3.exceptions.NewConnectionError, "no connection"),  # a subclass of TimeoutError
        (urllib3.exceptions.TimeoutError, f"it did not answer within {ATTEMPT_TIMEOUT:.0f} s"),
        (urllib3.exceptions.SSLError, "its certificate is not trusted"),
        (urllib3.exceptions.ProxyError, "the proxy refused the connection"),
        (urllib3.exceptions.ProtocolError, "the connection was closed"),
    )
    return next((words for kind, words in known if isinstance(error, kind)), type(error).__name__)


def _seconds(retry_after: str) -> float:
    """Return the seconds of a `Retry-After` header; 0 for a date (RFC 9110, 10.2.3)."""
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        return 0.0
