"""Where a remote's URL leads on GitHub, and which token is for there."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from tasks.secrets import GITHUB_ENTERPRISE_TOKENS, GITHUB_TOKENS

GITHUB = "github.com"
GH_SECONDS = 10.0
_SCHEMES = frozenset({"ssh", "git+ssh", "ssh+git", "git", "https", "http"})
_WEB_PORTS = {"https": 443, "http": 80}
_SCP = re.compile(r"(?:[^@/\s]+@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^:/\s@]{2,}):(?!//)(?P<path>.+)")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class RemoteRepository:
    """A repository on a host that may be GitHub. `port` is a web URL's, where it is not the usual one."""

    host: str
    owner: str
    name: str
    port: int | None = None

    @property
    def full_name(self) -> str:
        """The name as GitHub writes it: `owner/name`."""
        return f"{self.owner}/{self.name}"


def parse_remote(url: str) -> RemoteRepository | None:
    """Return the repository that a remote's URL names; `None` for a path, a file URL, or any other form."""
    url = url.strip()
    if "://" not in url:
        found = _SCP.fullmatch(url)
        return _repository(found["host"], found["path"], None) if found else None
    parts = _split(url)
    if parts is None or parts.scheme not in _SCHEMES or not parts.hostname:
        return None
    port = parts.port if parts.port != _WEB_PORTS.get(parts.scheme, parts.port) else None
    return _repository(parts.hostname, parts.path, port)


def parse_name(name: str, host: str = GITHUB) -> RemoteRepository | None:
    """Return the repository that `owner/repo` or `host/owner/repo` names; `None` when it is neither."""
    parts = name.strip().split("/")
    if len(parts) == 3:  # noqa: PLR2004 - host, owner, name
        host = parts.pop(0)
    return _repository(host, "/".join(parts), None) if len(parts) == 2 and host else None  # noqa: PLR2004 - owner, name


def api_url(environ: Mapping[str, str], repository: RemoteRepository | None) -> str:
    """Return the address of the REST API, without a slash at its end.

    Args:
        environ: `GITHUB_API_URL` goes before everything else.
        repository: Whose host it is otherwise; `None` for github.com.
    """
    if url := environ.get("GITHUB_API_URL", "").strip():
        return url.rstrip("/")
    host = repository.host if repository else GITHUB
    if host == GITHUB or host.endswith(".ghe.com"):
        return f"https://api.{host}"
    port = f":{repository.port}" if repository and repository.port else ""
    return f"https://{host}{port}/api/v3"


def web_host(api: str) -> str:
    """Return the host that people know, for the address of an API: `github.com` for `https://api.github.com`."""
    parts = _split(api)
    host = (parts.hostname if parts else None) or GITHUB
    bare = host.removeprefix("api.")
    return bare if bare == GITHUB or bare.endswith(".ghe.com") else host


def token_names(environ: Mapping[str, str], host: str) -> tuple[str, ...]:
    """Return the variables that a token for a host may stand in.

    `GITHUB_TOKEN` and `GH_TOKEN` are for github.com. Another host gets them only where `GITHUB_API_URL`,
    `GITHUB_SERVER_URL` or `GH_HOST` names it, so that a remote's URL alone never decides where a token goes.
    """
    if host == GITHUB or host.endswith(".ghe.com"):
        return GITHUB_TOKENS
    return (*GITHUB_ENTERPRISE_TOKENS, *(GITHUB_TOKENS if _is_named(environ, host) else ()))


def find_token(environ: Mapping[str, str], host: str) -> str | None:
    """Return the token for a host: from the environment, else what `gh auth token` gives."""
    for name in token_names(environ, host):
        if token := environ.get(name, "").strip():
            return token
    return _gh_token(environ, host)


def is_secure_for(remote: str, api: str) -> bool:
    """Say whether a token for `api` may be given to a push to `remote`: a web URL of the same host."""
    parts, own = _split(remote), _split(api)
    if parts is None or own is None or parts.password is not None:
        return False
    same = parts.hostname is not None and parts.hostname == web_host(api)
    return same and (parts.scheme == "https" or (parts.scheme == "http" and own.scheme == "http"))


def _repository(host: str, path: str, port: int | None) -> RemoteRepository | None:
    names = path.strip("/").removesuffix(".git").split("/")
    if len(names) != 2 or not all(_NAME.fullmatch(name) and name.strip(".") for name in names):  # noqa: PLR2004 - owner, name
        return None
    host = host.lower().strip("[]")
    if host in {"ssh.github.com", "www.github.com"} or host.startswith("github.com-"):
        host = GITHUB  # its other doors, and the usual form of an alias in ~/.ssh/config
    return RemoteRepository(host, names[0], names[1], port)


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # is checked only when it is read
    except ValueError:
        return None
    return parts


def _is_named(environ: Mapping[str, str], host: str) -> bool:
    urls = (environ.get("GITHUB_API_URL", ""), environ.get("GITHUB_SERVER_URL", ""))
    named = {web_host(url) for url in urls if "://" in url} | {environ.get("GH_HOST", "").strip().lower()}
    return host in named


def _gh_token(environ: Mapping[str, str], host: str) -> str | None:
    program = shutil.which("gh", path=environ.get("PATH", ""))
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "auth", "token", "--hostname", host],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GH_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    token = done.stdout.decode(errors="replace").strip()
    return token if done.returncode == 0 and token else None
