"""Real git repositories for tests, with a user that is isolated from the real one."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

Content = str | bytes


@dataclass(frozen=True)
class User:
    """A user with a home directory and git configuration of their own, isolated from this machine."""

    home: Path
    environ: Mapping[str, str]

    @classmethod
    def at(cls, home: Path) -> "User":
        """Create a user with a new home directory."""
        home.mkdir(parents=True)
        config = home / ".gitconfig"
        config.write_text(
            "[user]\n\tname = Uma User\n\temail = uma@example.com\n"
            '[init]\n\tdefaultBranch = main\n[protocol "file"]\n\tallow = always\n'
            "[maintenance]\n\tauto = false\n"  # newer versions of git do it in the background, after a commit
        )
        return cls(
            home,
            {
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "LANG": "C.UTF-8",
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_CONFIG_GLOBAL": str(config),
                "GIT_TERMINAL_PROMPT": "0",
                "PATCHYARD_SANDBOX": "off",  # its own tests switch it on
            },
        )

    def git(self, *arguments: str | os.PathLike[str], cwd: Path, check: bool = True, stdin: bytes = b"") -> str:
        """Run git as the user, and return its output without trailing white space."""
        done = subprocess.run(
            ["git", *arguments], cwd=cwd, env=self.environ, input=stdin, capture_output=True, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"git {arguments} in {cwd}: {os.fsdecode(done.stderr)}")
        return os.fsdecode(done.stdout).rstrip()

    def configure(self, **settings: str) -> None:
        """Set global configuration; `_` in a name means a dot."""
        for key, value in settings.items():
            self.git("config", "--global", key.replace("_", "."), value, cwd=self.home)


@dataclass(frozen=True)
class Clone:
    """A user's repository with a checkout."""

    user: User
    path: Path

    def git(self, *arguments: str | os.PathLike[str], check: bool = True, stdin: bytes = b"") -> str:
        """Run git in the checkout as the user."""
        return self.user.git(*arguments, cwd=self.path, check=check, stdin=stdin)

    def write(self, files: Mapping[str, Content]) -> None:
        """Write files into the checkout."""
        write(self.path, files)

    def commit(self, files: Mapping[str, Content] | None = None, message: str = "change") -> str:
        """Write files, commit everything, and return the commit id."""
        self.write(files or {})
        self.git("add", "-A")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.head

    @property
    def head(self) -> str:
        """The id of the current commit."""
        return self.git("rev-parse", "HEAD")


def write(root: Path, files: Mapping[str, Content]) -> None:
    """Write files below a directory, and create their directories."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def make_repository(user: User, path: Path, files: Mapping[str, Content] | None = None) -> Clone:
    """Create a repository on branch `main`, with one commit of `files`, or none without `files`."""
    path.mkdir(parents=True)
    clone = Clone(user, path)
    clone.git("init", "--quiet")
    if files is not None:
        clone.commit(files, "first")
    return clone


def contents(root: Path) -> dict[str, bytes]:
    """Return every file and empty directory below a directory, except `.git`, with its content or target."""
    found: dict[str, bytes] = {}
    for parent, directories, names in os.walk(root):
        here = Path(parent)
        links = [name for name in directories if (here / name).is_symlink()]
        directories[:] = [name for name in directories if name != ".git"]
        if not directories and not names and here != root:
            found[str(here.relative_to(root))] = b"(empty directory)"
        for path in (here / name for name in [*names, *links] if name != ".git"):
            found[str(path.relative_to(root))] = _content(path)
    return found


def _content(path: Path) -> bytes:
    if path.is_symlink():
        return b"-> " + os.fsencode(path.readlink())
    return (b"x " if path.stat().st_mode & 0o100 else b"- ") + path.read_bytes()


@dataclass(frozen=True)
class CountedGit:
    """A git on PATH that logs every call."""

    environ: Mapping[str, str]
    log: Path

    @classmethod
    def at(cls, directory: Path, user: User) -> "CountedGit":
        """Install it in a new directory."""
        directory.mkdir()
        git, log = directory / "git", directory / "calls"
        real = shutil.which("git", path=user.environ["PATH"])
        git.write_text(
            f'#!/bin/sh\n[ "$1" != -C ] || {{ cd "$2"; shift 2; }}\necho "$*" >> {log}\nexec {real} "$@"\n'
        )
        git.chmod(0o755)
        path = f"{directory}{os.pathsep}{user.environ['PATH']}"
        return cls({**user.environ, "PATH": path}, log)

    def calls(self) -> list[str]:
        """Return the arguments of the calls since the last time, one string per call, without `-C`."""
        calls = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return calls
