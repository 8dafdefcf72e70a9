"""The GitHub repository, API and token for the URL of a remote."""

import shutil
import subprocess
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from pipeline.forge.base import FileLimits
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.secrets import GITHUB_ENTERPRISE_TOKENS, GITHUB_TOKENS, without_own_secrets

GITHUB = "github.com"
GH_TIMEOUT = 10.0
"""Seconds."""
_SCHEMES = frozenset({"ssh", "git+ssh", "ssh+git", "git", "https", "http"})
_WEB_PORTS = {"https": 443, "http": 80}
_SCP = regex(r"(?:[^@/\s]+@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^:/\s@]{2,}):(?!//)(?P<path>.+)")
_NAME = regex(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class RemoteRepository:
    """A repository on a host that may be GitHub. `port` is that of a web URL, if it is not the default one."""

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
    """Return the URL of the REST API, without a trailing slash.

    GitHub Enterprise Server serves it at `/api/v3`:
    https://docs.github.com/en/enterprise-server@latest/rest/using-the-rest-api/getting-started-with-the-rest-api

    Args:
        environ: Environment; `GITHUB_API_URL` has precedence.
        repository: The repository whose host is used otherwise; `None` for github.com.
    """
    if url := environ.get("GITHUB_API_URL", "").strip():
        return url.rstrip("/")
    host = repository.host if repository else GITHUB
    if host == GITHUB or host.endswith(".ghe.com"):
        return f"https://api.{host}"
    port = f":{repository.port}" if repository and repository.port else ""
    return f"https://{host}{port}/api/v3"


def web_host(api: str) -> str:
    """Return the web host for the URL of an API: `github.com` for `https://api.github.com`."""
    parts = _split(api)
    host = (parts.hostname if parts else None) or GITHUB
    bare = host.removeprefix("api.")
    return bare if bare == GITHUB or bare.endswith(".ghe.com") else host


def file_limits(api: str) -> FileLimits:
    """Return how large the files of a push may be, by the URL of an API.

    The administrator of an Enterprise Server can set another limit:
    https://docs.github.com/en/repositories/working-with-files/managing-large-files/about-large-files-on-github
    """
    is_enterprise = urlsplit(api).path.rstrip("/").endswith("/api/v3")
    return FileLimits("GitHub", most=100 << 20, advised=50 << 20, is_fixed=not is_enterprise)


def token_names(environ: Mapping[str, str], host: str) -> tuple[str, ...]:
    """Return the environment variables that may contain a token for a host.

    `GITHUB_TOKEN` and `GH_TOKEN` are for github.com. They are sent to another host only if `GITHUB_API_URL`,
    `GITHUB_SERVER_URL` or `GH_HOST` names it, so that a remote's URL alone never decides where a token
    goes. The names are those of `gh` (https://cli.github.com/manual/gh_help_environment).
    """
    if host == GITHUB or host.endswith(".ghe.com"):
        return GITHUB_TOKENS
    return (*GITHUB_ENTERPRISE_TOKENS, *(GITHUB_TOKENS if _is_named(environ, host) else ()))


def find_token(environ: Mapping[str, str], host: str) -> str | None:
    """Return the token for a host, if any: from the environment, else from `gh auth token`. Blocking."""
    for name in token_names(environ, host):
        if token := environ.get(name, "").strip():
            return token
    return _gh_token(environ, host)


def is_secure_for(remote: str, api: str) -> bool:
    """Return whether a push to `remote` may use a token for `api`: only a web URL of the same host may.

    Without TLS, nothing shows which program of the host answers, so the port must be the same too.
    """
    parts, own = _split(remote), _split(api)
    if parts is None or own is None or parts.password is not None:
        return False
    same = parts.hostname is not None and parts.hostname == web_host(api)
    return same and (
        parts.scheme == "https" or (parts.scheme == "http" == own.scheme and parts.port == own.port)
    )


def _repository(host: str, path: str, port: int | None) -> RemoteRepository | None:
    names = path.strip("/").removesuffix(".git").split("/")
    if len(names) != 2 or not all(_NAME.fullmatch(name) and name.strip(".") for name in names):  # noqa: PLR2004 - owner, name
        return None
    host = host.lower().strip("[]")
    if host in {"ssh.github.com", "www.github.com"} or host.startswith("github.com-"):
        host = GITHUB  # ssh over port 443, and the usual alias in ~/.ssh/config
    return RemoteRepository(host, names[0], names[1], port)


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # urllib validates it on access
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
        result = subprocess.run(
            [program, "auth", "token", "--hostname", host],
            env=without_own_secrets(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GH_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    token = result.stdout.decode(errors="replace").strip()
    return token if result.returncode == 0 and token else None
