"""Objects of an engine's interface, with the fields that patchyard uses: https://docs.dagger.io/reference/api.

The classes have the names of the types in the schema. An optional argument that is left out has the engine's
default.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Self

from containers.dagger_engine.client.connection import Connection
from containers.dagger_engine.client.document import EnumValue
from containers.dagger_engine.client.values import EngineObject, Value, as_number, as_text, as_texts

ANY = EnumValue("ANY")
"""Accept any exit code from 0 to 127 and from 192 to 255."""


class Client(EngineObject):
    """The root of the schema."""

    __slots__ = ()

    @classmethod
    def connect(cls, port: int, token: str, headers: Callable[[], Mapping[str, str]] = dict) -> Self:
        """Return the client of a session at a port of this machine; nothing is sent yet.

        Args:
            port: The session's port.
            token: Its token.
            headers: Returns more headers of a request, when it is sent.
        """
        return cls(Connection(port, token, headers), None)

    async def aclose(self) -> None:
        """Close all connections; queries that run fail."""
        await self._connection.aclose()

    def version(self) -> Value[str]:
        """Return the engine's version, such as `v0.21.8`."""
        return self.value(as_text, "version")

    def default_platform(self) -> Value[str]:
        """Return the platform of containers, such as `linux/amd64`."""
        return self.value(as_text, "defaultPlatform")

    def container(self) -> "Container":
        """Return an empty container."""
        return self.select(Container, "container")

    def directory(self) -> "Directory":
        """Return an empty directory."""
        return self.select(Directory, "directory")

    def cache_volume(self, key: str) -> "CacheVolume":
        """Return the directory that is kept between execs under a key."""
        return self.select(CacheVolume, "cacheVolume", key=key)

    def set_secret(self, name: str, plaintext: str) -> "Secret":
        """Return a secret of this name and value; the last value of a name counts in the whole session."""
        return self.select(Secret, "setSecret", name=name, plaintext=plaintext)

    def secret(self, known_id: str) -> "Secret":
        """Return a secret that exists, by its id."""
        return Secret.by_id(self._connection, known_id)

    def host(self) -> "Host":
        """Return the machine of the session."""
        return self.select(Host, "host")

    def current_module(self) -> "CurrentModule":
        """Return the module that this program is the runtime of."""
        return self.select(CurrentModule, "currentModule")


class CacheVolume(EngineObject):
    """A directory that is kept between execs."""

    __slots__ = ()


class Secret(EngineObject):
    """A secret."""

    __slots__ = ()


class Service(EngineObject):
    """A service that containers reach."""

    __slots__ = ()


class Host(EngineObject):
    """The machine of the session."""

    __slots__ = ()

    def directory(
        self, path: str, *, include: Sequence[str] = (), exclude: Sequence[str] = (), no_cache: bool = False
    ) -> "Directory":
        """Return a directory of the machine; it is read once per session unless `no_cache` is set."""
        return self.select(
            Directory,
            "directory",
            path=path,
            include=include or None,
            exclude=exclude or None,
            noCache=no_cache or None,
        )

    def service(self, port: int, host: str) -> Service:
        """Return a port that the machine reaches at `host`, as a service at the same port."""
        forward = {"backend": port, "frontend": port}
        return self.select(Service, "service", ports=[forward], host=host)


class CurrentModule(EngineObject):
    """The module that this program is the runtime of."""

    __slots__ = ()

    def workdir(self, path: str, *, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> "Directory":
        """Return a directory below the runtime's working directory."""
        return self.select(Directory, "workdir", path=path, include=include or None, exclude=exclude or None)


class GitRepository(EngineObject):
    """A git repository."""

    __slots__ = ()

    def ref(self, name: str) -> "GitRef":
        """Return a commit, by its id or the name of a ref."""
        return self.select(GitRef, "ref", name=name)


class GitRef(EngineObject):
    """A commit of a git repository."""

    __slots__ = ()

    def tree(self, *, depth: int = 1) -> "Directory":
        """Return the commit's files, with a `.git` that has `depth` commits of history, 0 for all."""
        return self.select(Directory, "tree", depth=None if depth == 1 else depth)


class Directory(EngineObject):
    """A directory."""

    __slots__ = ()

    def sync(self) -> Value[Self]:
        """Return the directory by its id when it has been made."""
        return self.value(self._by_id, "sync")

    def as_git(self) -> GitRepository:
        """Return the git repository in the directory."""
        return self.select(GitRepository, "asGit")

    def changes(self, before: "Directory") -> "Changeset":
        """Return the changes from another directory to this one."""
        return self.select(Changeset, "changes", **{"from": before})

    def diff(self, other: "Directory") -> "Directory":
        """Return the directory with what another one has, or has changed."""
        return self.select(Directory, "diff", other=other)

    def filter(self, *, include: Sequence[str]) -> "Directory":
        """Return the files and directories that match a pattern."""
        return self.select(Directory, "filter", include=include)

    def with_directory(self, path: str, source: "Directory") -> "Directory":
        """Return the directory with the content of another one at `path`."""
        return self.select(Directory, "withDirectory", path=path, source=source)

    def with_new_directory(self, path: str) -> "Directory":
        """Return the directory with an empty one at `path`."""
        return self.select(Directory, "withNewDirectory", path=path)

    def with_new_file(self, path: str, contents: str) -> "Directory":
        """Return the directory with a file at `path`."""
        return self.select(Directory, "withNewFile", path=path, contents=contents)

    def without_directory(self, path: str) -> "Directory":
        """Return the directory without the one at `path`."""
        return self.select(Directory, "withoutDirectory", path=path)

    def without_files(self, paths: Sequence[str]) -> "Directory":
        """Return the directory without some paths."""
        return self.select(Directory, "withoutFiles", paths=paths)

    def export(self, path: str) -> Value[str]:
        """Write the content over a directory of the session's machine; return its path."""
        return self.value(as_text, "export", path=path)


class Changeset(EngineObject):
    """The changes between two directories; a path of a directory ends in a slash."""

    __slots__ = ()

    def layer(self) -> Directory:
        """Return the directory of what was added or changed."""
        return self.select(Directory, "layer")

    def added_paths(self) -> Value[list[str]]:
        """Return what was added."""
        return self.value(as_texts, "addedPaths")

    def modified_paths(self) -> Value[list[str]]:
        """Return what was changed."""
        return self.value(as_texts, "modifiedPaths")

    def removed_paths(self) -> Value[list[str]]:
        """Return what was removed; of a directory, only itself."""
        return self.value(as_texts, "removedPaths")


class Container(EngineObject):
    """A container."""

    __slots__ = ()

    def sync(self) -> Value[Self]:
        """Return the container by its id when all of its execs have ended."""
        return self.value(self._by_id, "sync")

    def from_(self, address: str) -> "Container":
        """Return a container of an image."""
        return self.select(Container, "from", address=address)

    def user(self) -> Value[str]:
        """Return the user of execs, "" by default."""
        return self.value(as_text, "user")

    def image_ref(self) -> Value[str]:
        """Return the image, with its digest."""
        return self.value(as_text, "imageRef")

    def directory(self, path: str) -> Directory:
        """Return a directory of the container."""
        return self.select(Directory, "directory", path=path)

    def with_env_variable(self, name: str, value: str) -> "Container":
        """Return the container with a variable in the environment of execs."""
        return self.select(Container, "withEnvVariable", name=name, value=value)

    def with_workdir(self, path: str) -> "Container":
        """Return the container with a working directory for execs."""
        return self.select(Container, "withWorkdir", path=path)

    def with_new_file(self, path: str, contents: str) -> "Container":
        """Return the container with a file at `path`."""
        return self.select(Container, "withNewFile", path=path, contents=contents)

    def with_mounted_directory(self, path: str, source: Directory, *, owner: str = "") -> "Container":
        """Return the container with a directory at `path`, which does not become part of the image."""
        return self.select(Container, "withMountedDirectory", path=path, source=source, owner=owner or None)

    def with_mounted_cache(self, path: str, cache: CacheVolume, *, owner: str = "") -> "Container":
        """Return the container with a directory at `path` that is kept between execs."""
        return self.select(Container, "withMountedCache", path=path, cache=cache, owner=owner or None)

    def with_mounted_secret(self, path: str, source: Secret, *, mode: int) -> "Container":
        """Return the container with the value of a secret in a file at `path` that has these permissions."""
        return self.select(Container, "withMountedSecret", path=path, source=source, mode=mode)

    def with_secret_variable(self, name: str, secret: Secret) -> "Container":
        """Return the container with the value of a secret in the environment of execs."""
        return self.select(Container, "withSecretVariable", name=name, secret=secret)

    def with_service_binding(self, alias: str, service: Service) -> "Container":
        """Return the container with a service that execs reach under a host name."""
        return self.select(Container, "withServiceBinding", alias=alias, service=service)

    def with_exec(self, args: Sequence[str], *, expect: EnumValue | None = None) -> "Container":
        """Return the container after a command, which by default has to end with exit code 0."""
        return self.select(Container, "withExec", args=args, expect=expect)

    def stdout(self) -> Value[str]:
        """Return what the last exec wrote to standard output."""
        return self.value(as_text, "stdout")

    def stderr(self) -> Value[str]:
        """Return what the last exec wrote to standard error."""
        return self.value(as_text, "stderr")

    def exit_code(self) -> Value[int]:
        """Return the exit code of the last exec."""
        return self.value(as_number, "exitCode")
