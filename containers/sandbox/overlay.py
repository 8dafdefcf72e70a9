"""A layer over a directory: what a task writes there is kept apart, and removed with it.

The kernel mounts it (https://docs.kernel.org/filesystems/overlayfs.html) in a mount namespace of the task's
own, which user namespaces may do since Linux 5.11. Where it cannot, because the disk of the layer or the system
does not support it, the layer is not used.
"""

import os
import stat
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from itertools import groupby
from pathlib import Path

from containers.filesystem import is_directory
from tasks.lazy.dataclasses import dataclass

_OPAQUE = "user.overlay.opaque"
_MOUNT = (
    "mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work,userxattr merged"
    ' && cd merged && mkdir -p -- "$@" && echo ready && read -r _'
)
"""Mounts it, makes directories in it, and keeps its namespace until this process has opened that.

Paths may have commas and colons.
"""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer over a directory.

    Args:
        lower: The directory, whose files are not changed.
        room: A directory of the task's, for the files of the layer.
    """

    lower: Path
    room: Path

    @property
    def upper(self) -> Path:
        """The directory with what the task wrote."""
        return self.room / "upper"

    @property
    def merged(self) -> Path:
        """Where both are seen as one directory, in the mount namespace of the task."""
        return self.room / "merged"

    def create(self) -> None:
        """Make its directories. Blocking.

        Raises:
            OSError: They cannot be made.
        """
        for path in (self.upper, self.merged, self.room / "work"):
            path.mkdir(mode=0o700, parents=True)
        self.upper.chmod(stat.S_IMODE(self.lower.stat().st_mode))
        (self.room / "lower").symlink_to(self.lower)

    def own(self, name: str) -> Path | None:
        """Return the place of a file of the layer, whose parents are made; `None` if they are links or files.

        Args:
            name: Its path, relative to the directory.

        Raises:
            OSError: They cannot be made.
        """
        *parents, last = Path(name).parts
        lower, upper = self.lower, self.upper
        for part in parents:
            lower, upper = lower / part, upper / part
            if os.path.lexists(lower) and not is_directory(lower):
                return None
            if not is_directory(upper):
                upper.mkdir()
                if is_directory(lower):
                    upper.chmod(stat.S_IMODE(lower.stat().st_mode) | stat.S_IRWXU)
        return upper / last

    def replace(self, name: str) -> None:
        """Let nothing be seen of a directory but what the layer has of it.

        Raises:
            OSError: The disk of the layer does not support it.
        """
        os.setxattr(self.upper / name, _OPAQUE, b"y")

    def hide(self, names: Iterable[str]) -> None:
        """Let nothing be seen at some paths, also not what is made there later.

        Raises:
            OSError: The disk of the layer does not support it.
        """
        for parent, found in groupby(sorted(names, key=os.path.dirname), os.path.dirname):
            if not is_directory(self.lower / parent) or (place := self.own(f"{parent}/-".lstrip("/"))) is None:
                continue
            directory = str(place.parent)
            for name in found:
                with suppress(FileExistsError):  # device 0: the kernel takes it for a file that was removed
                    os.mknod(f"{directory}/{name.rpartition('/')[2]}", stat.S_IFCHR)

    def reveal(self, name: str) -> None:
        """Take back `hide`."""
        path = self.upper / name
        with suppress(OSError):
            if stat.S_ISCHR(path.lstat().st_mode):
                path.unlink()

    def mount(
        self, stack: ExitStack, entering: Sequence[str], descriptors: Sequence[int], directories: Iterable[str]
    ) -> int | None:
        """Mount it, and return the descriptor of the mount namespace; `None` if that is not possible. Blocking.

        Args:
            stack: Closes the descriptor.
            entering: The beginning of a command that runs in the user namespace of the task.
            descriptors: The descriptors that such a command inherits.
            directories: Directories that are made in it, as paths relative to it.
        """
        command = (
            *entering,
            "unshare",
            "--mount",
            "--propagation",
            "slave",
            "--",
            "sh",
            "-c",
            _MOUNT,
            "sh",
            ".",
            *sorted(directories),
        )
        try:
            process = subprocess.Popen(
                command,
                cwd=self.room,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=descriptors,
            )
        except OSError:
            return None
        with process:
            if process.stdout is None or not process.stdout.readline():
                return None
            descriptor = os.open(f"/proc/{process.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(self._remove_work)
            stack.callback(os.close, descriptor)
            process.communicate()
        return descriptor

    def _remove_work(self) -> None:
        """Remove the kernel's directory, which its owner may not read."""
        with suppress(OSError):
            (self.room / "work" / "work").rmdir()
