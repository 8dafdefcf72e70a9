"""Run a command as an ordinary user of this machine, where the tests are those of root.

The user has an id without an account, and a home directory of its own. What only root can reach, such as an
interpreter below `/root`, it reaches at the same path in a mount namespace of its own.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
NUMBER = "54321"
"""The id of the user and of its group."""


@dataclass(frozen=True)
class OrdinaryUser:
    """A user whose files are in `directory`, which no other user needs."""

    directory: Path

    def run(self, *command: str | Path, **environ: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in the root of the repository, and return its output and exit code."""
        needed = {Path(sys.base_prefix).resolve(), Path(sys.prefix), ROOT}
        shown = _shown(needed, self.directory.parent / "hold")
        script = "\n".join(["set -e", *shown, f"cd {shlex.quote(str(ROOT))}", 'exec "$@"'])
        dropped = ["setpriv", "--reuid", NUMBER, "--regid", NUMBER, "--clear-groups", "--inh-caps=-all", "--"]
        own = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *dropped]
        return subprocess.run(
            [*own, *map(str, command)],
            cwd=ROOT,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def environ(self) -> Mapping[str, str]:
        """Its environment."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        known = {"PATH": path, "HOME": str(self.directory), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
        return known | {"TMPDIR": str(self.directory)}


def _shown(needed: set[Path], hold: Path) -> Iterator[str]:
    """Yield the commands that let every user reach some directories, at their paths."""
    by_closed: dict[Path, list[Path]] = {}
    for path in sorted(needed):
        for parent in reversed(path.parents):
            if not parent.stat().st_mode & 0o001:
                by_closed.setdefault(parent, []).append(path)
                break
    for number, (closed, paths) in enumerate(by_closed.items()):
        place = hold / str(number)
        place.mkdir(parents=True, exist_ok=True)
        yield shlex.join(["mount", "--rbind", str(closed), str(place)])
        yield shlex.join(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(closed)])
        for path in paths:
            yield shlex.join(["mkdir", "-p", str(path)])
            yield shlex.join(["mount", "--rbind", str(place / path.relative_to(closed)), str(path)])


@contextmanager
def ordinary_user() -> Iterator[OrdinaryUser]:
    """Give a user, whose files are removed at the end."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="patchyard-user-") as name:
        Path(name).chmod(0o711)
        directory = Path(name, "user")
        directory.mkdir()
        shutil.chown(directory, int(NUMBER), int(NUMBER))
        yield OrdinaryUser(directory)
