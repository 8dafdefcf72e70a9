"""The repository that a task's git works on: one of its own in each worktree, with the user's objects.

Worktrees of one repository share its configuration, refs, stash and hooks
(https://git-scm.com/docs/git-worktree#_refs). A task's `git stash`, `git config` or `git branch` would reach
those of the user and of other tasks. So the `.git` of a pool's worktree is a repository of its own: it borrows
objects, and has copies of the user's branches, tags, remotes and identity.
"""

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from containers.filesystem import is_directory, read_regular, remove, write_file
from containers.git.command import Git
from containers.git.loose_objects import OBJECT_ID
from containers.git.signatures import PATCHYARD_IDENTITY
from containers.git.user_config import absolute_url
from containers.git.working_tree.sparse import PATTERNS, SparseCheckout
from containers.temporary import temporary_directory
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.text import without_credentials

COPIED = regex(
    r"(alias|author|branch|committer|diff|filter|lfs|merge|pull|rebase|user)\..+"
    r"|core\.(ignorecase|precomposeunicode)"
    r"|remote\..+\.(url|fetch|tagopt|promisor|partialclonefilter)"
    r"|submodule\..+\.(url|active|branch)",
    re.IGNORECASE,
)
"""Settings of the user's repository that a task's git needs; none says how to authenticate or runs a hook."""
_FROM_REMOTE = regex(rb"clone: |fetch|pull.*: Fast-forward|branch: Created from refs/remotes/")
"""Messages of reflogs where a ref was set to what a remote has."""
_URL = regex(r"remote\..+\.url", re.IGNORECASE)
FIXED = {
    # The task's git stores the bytes of a file as the program's git does, which takes the patch.
    "core.attributesFile": "/dev/null",
    "core.autocrlf": "false",
    "core.eol": "lf",
    "core.safecrlf": "false",
    "core.symlinks": "true",
    "gc.auto": "0",
    "maintenance.auto": "false",
}
_UNKNOWN_USER = {"name": PATCHYARD_IDENTITY.name, "email": PATCHYARD_IDENTITY.email}
"""Who commits in a task if the user has not said it: git would refuse."""
_DIRECTORIES = (
    "objects",
    "objects/info",
    "objects/pack",
    "refs",
    "refs/heads",
    "refs/tags",
    "info",
    "hooks",
)
"""The directories of a new repository, parents first."""
_INDEX = "index"
_OWN = "command"
"""The scope of the settings that the program's own calls have."""
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH
_CONFIG = ("config", "--show-scope", "--includes", "-z", "--list")
_REFS = (
    "for-each-ref",
    "--format=%(objectname) %(refname) %(symref)",
    "refs/heads",
    "refs/remotes",
    "refs/tags",
)


@dataclass(frozen=True, slots=True)
class TaskRepositoryTemplate:
    """What every task's repository of a run begins with: the content of its files."""

    objects: Path
    config: bytes
    packed_refs: bytes
    exclude: bytes
    shallow: bytes | None
    sparse: SparseCheckout | None = None
    """Which files the user's own checkout has."""
    CALLS: ClassVar[tuple[tuple[str, ...], ...]] = (_CONFIG, _REFS)
    """The calls of git that `of` makes."""

    @classmethod
    def of(cls, git: Git, common: Path, git_dir: Path) -> "TaskRepositoryTemplate":
        """Read the template from the user's repository. Blocking.

        Args:
            git: A git of the repository that reads its configuration.
            common: The common git directory.
            git_dir: The git directory of the user's checkout.

        Raises:
            GitError: The configuration or the refs cannot be read.
        """
        listed = git.run(*_CONFIG, ok=(0, 1)).stdout
        scopes, entries = (os.fsdecode(listed).split("\0")[first::2] for first in (0, 1))
        found = [entry.partition("\n")[::2] for entry in entries]
        settings = [
            (key, _url_for_tasks(value, git.cwd, common) if _URL.fullmatch(key) else value)
            for scope, (key, value) in zip(scopes, found, strict=False)
            if scope == "local"
        ]
        of_files = {key: value for scope, (key, value) in zip(scopes, found, strict=False) if scope != _OWN}
        if not dict(found).get("user.email"):
            settings += [(f"user.{key}", value) for key, value in _UNKNOWN_USER.items()]
        return cls(
            objects=common / "objects",
            config=_config(settings),
            packed_refs=_packed_refs(git.run(*_REFS).text.split("\n")),
            exclude=read_regular(common / "info" / "exclude", limit=1 << 20) or b"",
            shallow=read_regular(common / "shallow", limit=1 << 24),
            sparse=SparseCheckout.of(of_files, git_dir),
        )

    def create(
        self,
        directory: Path,
        commit: str,
        index: Path,
        *,
        keeps_modes: bool,
        sparse: SparseCheckout | None = None,
    ) -> None:
        """Create a repository, with a commit as its detached HEAD. Blocking.

        Args:
            directory: The git directory. Whatever is there is removed, unless it is such a repository; of one
                with other content in some of the same files, only these are written.
            commit: Id of the commit.
            index: The index file to copy, with its time: git compares the content of files that are not older
                than the index (https://git-scm.com/docs/racy-git).
            keeps_modes: Whether the file system stores the executable bit.
            sparse: Which files the worktree has, by the index; all by default.

        Raises:
            OSError: It cannot be written.
        """
        settings = (("core.fileMode", "true" if keeps_modes else "false"), *(sparse.settings if sparse else ()))
        files = {
            "config": self.config + "".join(_lines(*setting) for setting in settings).encode("ascii"),
            "packed-refs": self.packed_refs,
            "objects/info/alternates": os.fsencode(self.objects) + b"\n",
            "info/exclude": self.exclude,
            "HEAD": f"{commit}\n".encode("ascii"),
        }
        if self.shallow is not None:
            files["shallow"] = self.shallow
        if sparse:
            files[PATTERNS] = sparse.patterns
        changed = _changed_files(directory, files, index)
        if changed is None:
            remove(directory)
            directory.mkdir(parents=True)
            for name in _DIRECTORIES:
                (directory / name).mkdir()
            changed = {*files, _INDEX}
        for name in changed:
            (directory / name).unlink(missing_ok=True)
            if name == _INDEX:
                shutil.copy2(index, directory / name)
            else:
                write_file(directory / name, files[name])


def _changed_files(directory: Path, files: Mapping[str, bytes], index: Path) -> set[str] | None:
    """Return the files of a git directory that are not as they would be created. Blocking.

    `None` if it has something else too, since a git has used it, or has not got all of it. Contents are
    compared, not times: a quick task may change a file within what the system takes for a moment.
    """
    left: dict[str, bytes | None] = {**files, **dict.fromkeys(_DIRECTORIES)}
    changed: set[str] = set()
    pending = [""]
    if not is_directory(directory):
        return None
    try:
        original = index.stat()
        left[_INDEX] = index.read_bytes()
        root = f"{directory}/"  # text is quicker than a Path
        if os.lstat(root + _INDEX).st_mtime_ns != original.st_mtime_ns:
            changed.add(_INDEX)
        while pending:
            above = pending.pop()
            with os.scandir(root + above) as entries:
                for entry in entries:
                    name, status = f"{above}{entry.name}", entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        pending.append(f"{name}/")
                    opened = status.st_mode & ~original.st_mode & _WRITABLE
                    if opened or name not in left:
                        return None
                    content, found = left.pop(name), _content(entry.path, status)
                    if (content is None) != (found is None):
                        return None
                    if content != found:
                        changed.add(name)
    except OSError:
        return None
    return None if left else changed


def _content(path: str, status: os.stat_result) -> bytes | None:
    """Return the content of a file that has no other name; `None` for a directory.

    Raises:
        OSError: It is something else, or cannot be read.
    """
    if stat.S_ISDIR(status.st_mode):
        return None
    content = read_regular(path, limit=status.st_size)
    if content is None or status.st_nlink > 1:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    return content


def _config(settings: Iterable[tuple[str, str]]) -> bytes:
    """Return a configuration file with the settings that a task's repository has."""
    found = list(settings)
    sha256 = dict(found).get("extensions.objectformat") == "sha256"
    partial = dict(found).get("extensions.partialclone")
    own: list[tuple[str, str]] = [("core.repositoryFormatVersion", "1"), ("core.bare", "false")]
    own += [("extensions.objectFormat", "sha256")] if sha256 else []
    own += [("extensions.partialClone", partial)] if partial else []
    own += [(key, _without_password(value)) for key, value in found if COPIED.fullmatch(key)]
    return "".join(_lines(*setting) for setting in (*own, *FIXED.items())).encode("utf-8", "surrogateescape")


def _url_for_tasks(url: str, root: Path, common: Path) -> str:
    """Return the URL of a remote for a task: "." instead of the user's repository itself. Blocking.

    Args:
        url: The URL.
        root: The user's checkout, where relative URLs start from.
        common: The common git directory.
    """
    absolute = absolute_url(url, root)
    path = Path(absolute.removeprefix("file://"))
    return "." if path.is_absolute() and path.resolve() in {root.resolve(), common.resolve()} else absolute


def _without_password(value: str) -> str:
    """Return a setting without the credentials of an HTTP URL; the user name of an SSH URL is none."""
    return without_credentials(value) if re.match(r"https?://", value, re.IGNORECASE) else value


def _lines(key: str, value: str) -> str:
    """Return a setting in the syntax of https://git-scm.com/docs/git-config#_syntax."""
    section, _, rest = key.partition(".")
    subsection, _, name = rest.rpartition(".")
    head = f'[{section} "{_escaped(subsection)}"]' if subsection else f"[{section}]"
    text = _escaped(value).replace("\n", "\\n").replace("\t", "\\t").replace("\b", "\\b")
    return f'{head}\n\t{name} = "{text}"\n'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _packed_refs(lines: Iterable[str]) -> bytes:
    """Return refs in git's packed format; without a header, git reads it in any order and peels tags itself."""
    refs = (line.split(" ") for line in lines if line)
    return b"".join(os.fsencode(f"{commit} {name}\n") for commit, name, target in refs if not target)


@dataclass(frozen=True, slots=True)
class GitDirectory:
    """A git directory that belongs to a task, read as plain files: no git runs in it. Blocking."""

    path: Path

    @property
    def objects(self) -> Path:
        """Its object directory."""
        return self.path / "objects"

    @property
    def is_sha256(self) -> bool:
        """Whether its object ids are those of SHA-256."""
        config = read_regular(self.path / "config", limit=1 << 20) or b""
        return bool(re.search(rb"^\s*objectformat\s*=\s*\"?sha256", config, re.IGNORECASE | re.MULTILINE))

    def tables(self) -> Mapping[str, bytes]:
        """Return the files of its refs in the format reftable (https://git-scm.com/docs/reftable) by name."""
        directory = self.path / "reftable"
        if not is_directory(directory):
            return {}
        contents = ((path.name, read_regular(path, limit=1 << 26)) for path in directory.iterdir())
        return {name: content for name, content in contents if content is not None}

    def head(self) -> str | None:
        """Return the commit of its HEAD; `None` if that cannot be read, or is in a table."""
        content = read_regular(self.path / "HEAD")
        if content is None:
            return None
        target = content.decode("utf-8", "replace").strip()
        name = target.removeprefix("ref: ")
        found = target if name == target else self.refs().get(name)
        return found if found and OBJECT_ID.fullmatch(found) else None

    def refs(self) -> Mapping[str, str]:
        """Return its refs with their object ids, except symbolic ones and those in tables."""
        found = dict(self._packed())
        pending = [self.path / "refs"]
        while pending:
            directory = pending.pop()
            if directory.is_symlink() or not directory.is_dir():
                continue
            for child in directory.iterdir():
                if content := read_regular(child):
                    name = child.relative_to(self.path).as_posix()
                    found[name] = content.decode("ascii", "replace").strip()
                else:
                    pending.append(child)
        return {name: target for name, target in found.items() if OBJECT_ID.fullmatch(target)}

    def has_work_on(self, ref: str) -> bool:
        """Whether a ref may have commits that no remote gave it: the last line of its reflog says."""
        content = read_regular(self.path / "logs" / ref, limit=1 << 26) or b""
        message = content.rstrip(b"\n").rpartition(b"\n")[2].partition(b"\t")[2]
        return not _FROM_REMOTE.match(message)

    def _packed(self) -> Iterator[tuple[str, str]]:
        content = read_regular(self.path / "packed-refs", limit=1 << 26) or b""
        for line in os.fsdecode(content).split("\n"):
            commit, _, name = line.partition(" ")
            if name and not line.startswith(("#", "^")):
                yield name, commit


def keeps_modes(directory: Path) -> bool:
    """Whether the file system stores the executable bit, which `core.fileMode` is for. Blocking."""
    with suppress(OSError), temporary_directory(directory, "modes") as temporary:
        probe = temporary / "probe"
        probe.touch(0o600)
        probe.chmod(0o700)
        executable = probe.stat().st_mode & 0o100
        probe.chmod(0o600)
        return bool(executable) and not probe.stat().st_mode & 0o100
    return True
