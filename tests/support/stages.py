"""A worktree in which a test acts as a task."""

import os
import shutil
import subprocess
from pathlib import Path

from repositories import Clone, User

from containers.git.repository import Repository
from tasks.outcome import Patch

FILES = {
    "README.md": "# Sample\n\nA line.\n",
    "run.sh": "#!/bin/sh\n",
    "src/app.py": "print('app')\n",
    "src/lib/util.py": "x = 1\n",
    "docs/a b\nü.txt": "odd\n",
    "crlf.txt": "one\r\ntwo\r\n",
    "blob.bin": bytes(range(256)),
    "empty": "",
    ".gitignore": "*.log\nbuild/\n",
}


class Stage:
    """A worktree in which a test acts as a task, and creates the patch."""

    def __init__(self, clone: Clone, directory: Path) -> None:
        self.clone = clone
        self.directory = directory
        self.repository = Repository.open(clone.path, clone.user.environ)
        self.start = clone.head
        self.checkout = self.repository.add_worktree(directory / "wt-1", self.start)
        self.checkout.reset(self.start)
        self.path = self.checkout.path

    def sh(self, script: str) -> None:
        subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=self.path,
            env=self.clone.user.environ,
            check=True,
            capture_output=True,
        )

    def patch(self, **options: object) -> Patch:
        """Create the patch, and check that applying it to a fresh clone gives the same tree."""
        patch = self.checkout.patch(self.start, **options)  # type: ignore[arg-type]  # each test names the right ones
        assert self.applied(patch) == patch.tree
        assert list(patch.files) == sorted(patch.files)
        assert self.clone.git("diff", "--name-only", "--no-renames", "-z", self.start, patch.tree) == "".join(
            f"{name}\0" for name in patch.files
        )
        return patch

    def applied(self, patch: Patch) -> str:
        """Apply a patch in a fresh clone at its start point, and return the resulting tree."""
        user, fresh = self.clone.user, self.directory / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        plain = User(user.home, {**user.environ, "GIT_CONFIG_GLOBAL": os.devnull})
        plain.git("clone", "-q", "--no-checkout", self.clone.path, fresh, cwd=self.directory)
        plain.git("checkout", "-q", "--detach", patch.start, cwd=fresh)
        if patch.diff:
            plain.git("apply", "--index", "--whitespace=nowarn", "-", cwd=fresh, stdin=patch.diff.read())
        return plain.git("write-tree", cwd=fresh)

    def content(self, patch: Patch, path: str) -> str:
        return self.clone.git("cat-file", "blob", f"{patch.tree}:{path}")

    def tree(self, patch: Patch) -> set[str]:
        return set(self.clone.git("ls-tree", "-r", "-z", "--name-only", patch.tree).split("\0")) - {""}
