"""Find bubblewrap, and find out by one try whether it works here."""

import errno
import os
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from containers.process_marks import ProcessMark
from containers.processes import find_program
from containers.sandbox.mounter import Mounter, SandboxError
from containers.sandbox.mounts import Mounts
from containers.sandbox.policy import Policy
from containers.sandbox.room import Room
from tasks.lazy.dataclasses import dataclass
from tasks.text import first_line

INSTALL = "install bubblewrap (Debian, Ubuntu, Fedora: the package `bubblewrap`)"
_APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
"""https://ubuntu.com/blog/ubuntu-23-10-restricted-unprivileged-user-namespaces"""
_WITHOUT_RIGHTS = ("setting up uid map: Permission denied", "Failed RTM_NEWADDR: Operation not permitted")
_REFUSED = "No permissions to create new namespace"
_LIMITS = (
    (Path("/proc/sys/kernel/unprivileged_userns_clone"), "kernel.unprivileged_userns_clone = 1"),
    (Path("/proc/sys/user/max_user_namespaces"), "user.max_user_namespaces = 10000"),
)
_TRIAL = 10.0
"""Seconds for the try."""


@dataclass(frozen=True, slots=True)
class Availability:
    """The path of bubblewrap, or why there is no sandbox here: a clause, and what to do."""

    program: str | None
    reason: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        """Return it for people."""
        return f"bubblewrap at {self.program}" if self.program else f"{self.reason}; {self.remedy}"


def find_sandbox(
    environ: Mapping[str, str], system: str = os.uname().sysname, mounter: Mounter | None = None
) -> Availability:
    """Return whether tasks of this machine can run in a sandbox. Blocking.

    Args:
        environ: The user's environment, whose PATH has bubblewrap.
        system: The name of the operating system.
        mounter: Makes the file system of the try; by default one that ends with it.
    """
    if system != "Linux":
        return Availability(None, f"there is no sandbox for {system} yet", "run tasks with --mode dagger")
    program = find_program("bwrap", environ.get("PATH", os.defpath))
    if program is None:
        return Availability(None, "bubblewrap (`bwrap`) is not on PATH", INSTALL)
    with ExitStack() as stack:
        used = mounter or stack.enter_context(closing(Mounter()))
        return _try_sandbox(program, used)


def _try_sandbox(program: str, mounter: Mounter) -> Availability:
    try:
        with Room(program, Policy(), Mounts(), ProcessMark({}), mounter) as room:
            command = room.command(["true"])
            inherited = room.descriptors
            done = subprocess.run(command, pass_fds=inherited, capture_output=True, timeout=_TRIAL, check=False)
        if done.returncode == 0:
            return Availability(program)
        reason = done.stderr.decode(errors="replace").strip()
    except SandboxError as error:
        reason = str(error)
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = f"bubblewrap cannot be tried: {error}"
    return Availability(None, first_line(reason) or "bubblewrap does not work here", _remedy(reason))


def _remedy(reason: str) -> str:
    """Return what to do where the system refuses user namespaces.

    Args:
        reason: What bubblewrap says. AppArmor lets it make a user namespace, but without any right in it.
    """
    if os.strerror(errno.ENOSYS) in reason:
        return "update the kernel: the sandbox needs Linux 5.12"
    is_refused = _REFUSED in reason
    if any(text in reason for text in _WITHOUT_RIGHTS) or (_value(_APPARMOR) == "1" and not is_refused):
        return (
            "AppArmor restricts user namespaces here: allow them for bubblewrap with a profile in "
            "/etc/apparmor.d, or set the sysctl kernel.apparmor_restrict_unprivileged_userns = 0"
        )
    for path, setting in _LIMITS:
        if _value(path) == "0":
            return f"the system refuses user namespaces: set the sysctl {setting}"
    return (
        "user namespaces may be refused, as in a container without privileges: start it with "
        "--security-opt seccomp=unconfined and --security-opt systempaths=unconfined, or use --mode dagger"
    )


def _value(path: Path) -> str | None:
    with suppress(OSError):
        return path.read_text().strip()
    return None
