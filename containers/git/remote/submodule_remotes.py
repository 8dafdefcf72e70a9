"""Remotes of submodules: where a commit that a branch names has to be, so that others can get it. Blocking."""

from containers.git.changes import GITLINK, read_changes
from containers.git.command import Git, GitError
from containers.git.remote.remotes import Credential, Remote, RemoteError
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.text import without_credentials, without_unprintable

_UP = regex(r"(\.\.?)/")


@dataclass(frozen=True, slots=True)
class SubmoduleRemotes:
    """The remotes of the submodules of a repository.

    Args:
        git: A git that runs where the URL of a remote may be relative to.
        url: The URL of the repository's remote, which the URLs of submodules may be relative to.
        credential: Credential for the host of that URL.
    """

    git: Git
    url: str
    credential: Credential | None = None

    def check(self, base: str, commit: str) -> None:
        """Check that the commits of the submodules that `commit` changes are on the submodules' remotes.

        The base says where these are, so that what a task writes into `.gitmodules` does not: only for a
        submodule that the base does not have, the commit says it.

        Raises:
            GitError: One is not there, or its remote cannot be read; the message names it.
        """
        for change in read_changes(self.git, base, commit):
            if change.new_mode == GITLINK:
                self._check_link(change.path, change.new, (base, commit))

    def _check_link(self, path: str, link: str, sources: tuple[str, ...]) -> None:
        what = f"the commit {link[:10]} of the submodule {without_unprintable(path)}"
        url = next((url for source in sources if (url := self._url(source, path))), None)
        if url is None:
            raise GitError(f"{what} cannot be found by others, because .gitmodules has no URL for it")
        # Git does not ask a host in a way that only the user may name, such as `ext::`:
        # https://git-scm.com/docs/git-config#Documentation/git-config.txt-protocolallow
        git = self.git.at(environ={"GIT_PROTOCOL_FROM_USER": "0"})
        try:
            Remote(git, url).contains(link, link, self.credential if self._is_own_host(url) else None)
        except RemoteError as error:
            reason = without_unprintable(without_credentials(str(error)))
            raise GitError(f"{what} is not on the submodule's remote; push it there first ({reason})") from None

    def _url(self, source: str, path: str) -> str | None:
        """Return the URL of the submodule at a path, by the `.gitmodules` of a commit."""
        arguments = ("config", "-z", f"--blob={source}:.gitmodules", "--get-regexp")
        try:
            entries = self.git.run(*arguments, r"^submodule\..*\.(path|url)$", ok=(0, 1)).fields
        except GitError:
            return None  # the commit has no such file, or it is not valid
        values = dict(entry.split("\n", 1) for entry in entries if "\n" in entry)
        names = [key.removesuffix(".path") for key, value in values.items() if value == path]
        url = next((values[f"{name}.url"] for name in names if f"{name}.url" in values), None)
        # A URL that begins with a dash would be an option: https://nvd.nist.gov/vuln/detail/CVE-2018-17456
        return _absolute(url, self.url) if url and not url.startswith("-") else None

    def _is_own_host(self, url: str) -> bool:
        return _host(url) == _host(self.url)


def _host(url: str) -> tuple[str, str]:
    scheme, _, rest = url.partition("://")
    return scheme, rest.partition("/")[0].rpartition("@")[2]


def _absolute(url: str, base: str) -> str:
    """Return a URL that may be relative to another (https://git-scm.com/docs/gitmodules#_description)."""
    if not _UP.match(url):
        return url
    base = base.rstrip("/")
    while found := _UP.match(url):
        url = url[found.end() :]
        if found[1] == ".." and (cut := max(base.rfind("/"), base.rfind(":"))) >= 0:
            base = base[: cut + (base[cut] == ":")]
    return f"{base}{'' if base.endswith(':') else '/'}{url}"
