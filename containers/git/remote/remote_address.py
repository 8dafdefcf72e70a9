"""Where a remote is and how git reaches it: read once, and the same for every later call. Blocking.

Git reads its configuration at each call. Whatever writes to it between two calls, such as a task, would decide
where the next push goes, and with it the credential.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import field
from pathlib import Path
from urllib.parse import urlsplit

from containers.git.command import Git, GitError
from tasks.lazy.dataclasses import dataclass
from tasks.text import without_credentials

Settings = tuple[tuple[str, str], ...]
"""Settings of git in the order in which it reads them: key and value."""

_READ = r"^(remote|url|http|credential|protocol|ssh)\.|^core\.(sshcommand|gitproxy|askpass)$"
_DECISIVE = frozenset(
    {"url", "pushurl", "proxy", "proxyauthmethod", "receivepack", "uploadpack", "vcs", "serveroption"}
)
"""Settings of a remote that decide where a push goes (https://git-scm.com/docs/git-config#_variables)."""
_REPLACED = frozenset({"url", "pushurl", "push", "mirror", "followremotehead"})
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY")
"""Variables that name a proxy; https://curl.se/docs/manpage.html#ENVIRONMENT"""
_NAMED = 3
"""Number of changed settings that a message names."""


@dataclass(frozen=True, slots=True)
class Address:
    """The URL of a remote to push to, after `insteadOf`, and the settings with which git reaches it.

    `decisive` are the settings that must not change. `own` are all of the remote, without the prefix
    `remote.NAME.`, and `http` those for requests to its URL. `is_unverified` is whether the user, outside of
    the repository, has switched off the verification of the host's certificate.
    """

    name: str
    url: str = field(repr=False)
    decisive: Settings = field(repr=False)
    own: Settings = field(repr=False)
    http: Settings = field(repr=False)
    is_unverified: bool = False

    def check(self, git: Git) -> None:
        """Check that git would still reach the remote in the same way.

        Raises:
            GitError: A setting has changed.
        """
        now, before = _read_decisive(git, self.name), self.decisive
        if now == before:
            return
        keys = dict.fromkeys(key for key, value in (*now, *before))
        changed = [key for key in keys if _values(now, key) != _values(before, key)] or list(keys)
        named = ", ".join(map(without_credentials, changed[:_NAMED])) + (" …" if changed[_NAMED:] else "")
        raise GitError(
            f"the configuration of git for the remote {without_credentials(self.name)} was changed after it "
            f"was checked ({named}), so nothing was sent there; look at it with `git config --show-origin "
            "--list`, and publish again when it is right"
        )

    def alias(self, *, authenticated: bool) -> tuple[str, Settings]:
        """Return a name for the remote that no configuration can name before, and the settings that define it.

        Where a credential is used (`authenticated`), no header of the configuration precedes it, such as the
        one that `actions/checkout` writes, and only the user's own configuration can switch off the
        verification of certificates.
        """
        alias = f"patchyard-{os.urandom(8).hex()}"
        # Git rewrites a URL once, by the longest prefix that a configuration has of it:
        # https://git-scm.com/docs/git-config#Documentation/git-config.txt-urlltbasegtinsteadOf
        settings = [
            *((f"remote.{alias}.{key}", value) for key, value in self.own if key not in _REPLACED),
            (f"remote.{alias}.followRemoteHEAD", "never"),
            (f"remote.{alias}.url", f"{alias}:there"),
            (f"remote.{alias}.pushurl", f"{alias}:there"),
            (f"url.{self.url}.insteadOf", f"{alias}:there"),
        ]
        if _is_web(self.url):
            settings += self._http_settings(authenticated=authenticated)
        return alias, tuple(settings)

    def _http_settings(self, *, authenticated: bool) -> Iterator[tuple[str, str]]:
        """Yield the settings for requests to the URL: the whole URL is more specific than any other."""
        prefix, values = f"http.{self.url}", dict(self.http)
        headers = [value for key, value in self.decisive if _is_header_for(key, self.url)]
        verifies = values.pop("sslverify", "true")
        values.pop("extraheader", None)
        if authenticated:
            verifies = "false" if self.is_unverified else "true"
            headers = [header for header in headers if not header.lower().startswith("authorization:")]
        for key, value in values.items():
            yield f"{prefix}.{key}", value
        yield f"{prefix}.sslVerify", verifies
        for header in ("", *headers):  # an empty one removes those before it
            yield f"{prefix}.extraHeader", header


def read_address(git: Git, name: str, url: str) -> Address:
    """Read how git reaches a remote now.

    Args:
        git: A git that runs where the user would run it.
        name: The remote's name.
        url: Its URL to push to, after `pushUrl`, `insteadOf` and `pushInsteadOf`.
    """
    prefix = f"remote.{name}."
    return Address(
        name,
        url,
        _read_decisive(git, name),
        tuple((key.removeprefix(prefix), value) for key, value in _read(git) if key.startswith(prefix)),
        _read_http(git, url),
        _is_unverified(git, url),
    )


def _read(git: Git, *options: str) -> Settings:
    fields = git.run("config", "-z", *options, "--get-regexp", _READ, ok=(0, 1)).fields
    return tuple((key, value) for key, _, value in (item.partition("\n") for item in fields))


def _read_decisive(git: Git, name: str) -> Settings:
    """Return the settings that decide where git goes for a remote, and what it sends there."""
    prefix = f"remote.{name}."
    return tuple(
        (key, value)
        for key, value in _read(git)
        if not key.startswith("remote.") or (key.startswith(prefix) and key.removeprefix(prefix) in _DECISIVE)
    )


def _read_http(git: Git, url: str) -> Settings:
    """Return the `http` settings that apply to a URL, without the prefix."""
    if not _is_web(url):
        return ()
    fields = git.run("config", "-z", "--get-urlmatch", "http", url, ok=(0, 1)).fields
    pairs = (item.partition("\n") for item in fields)
    found = {key.removeprefix("http."): value if equals else "true" for key, equals, value in pairs}
    if not any(git.environ.get(name) for name in _PROXIES):
        found.setdefault("proxy", "")
    return tuple(found.items())


def _is_unverified(git: Git, url: str) -> bool:
    """Whether `http.sslVerify` is off in the configuration of the user or of the system."""
    if not _is_web(url):
        return False
    query = ("config", "--type=bool", "--get-urlmatch", "http.sslVerify", url)
    return git.unbound().at(Path("/")).run(*query, ok=range(256)).text == "false"


def _is_web(url: str) -> bool:
    return urlsplit(url).scheme in {"http", "https"}


def _values(settings: Settings, key: str) -> Sequence[str]:
    return [value for name, value in settings if name == key]


def _is_header_for(key: str, url: str) -> bool:
    """Whether a setting is a header for requests to a URL: of `http`, or of `http.<url>` for a part of it."""
    if not key.startswith("http.") or not key.endswith("extraheader"):
        return False
    pattern = key[len("http.") : -len("extraheader")].rstrip(".")
    if not pattern:
        return True
    wanted, given = urlsplit(pattern), urlsplit(url)
    same = (wanted.scheme, wanted.hostname) == (given.scheme, given.hostname)
    return same and given.path.startswith(wanted.path)
