"""Where this process may make control groups: below which group, and with which controllers."""

import os
from collections.abc import Collection
from pathlib import Path

from containers.limits.limits import LimitsError

LEAF = "patchyard"
"""The group that processes are moved to from the one above: a group with processes passes no controllers on."""
TASKS = "patchyard-tasks"
"""Prefix of the group of a run's tasks."""
_MOVES = 5
"""How often processes are moved, as long as others start meanwhile."""


def own_group() -> Path:
    """Return the directory of this process's control group; of one that is named `LEAF`, that above. Blocking.

    Raises:
        LimitsError: It has none of version 2, or is itself part of a task.
    """
    try:
        mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        raise LimitsError("there are no control groups") from None
    own = next((line.removeprefix("0::/") for line in groups if line.startswith("0::/")), None)
    mount = next((words[4] for words in mounts if words[words.index("-") + 1] == "cgroup2"), None)
    path = Path(mount, own) if mount and own is not None else None
    if path is None or not (path / "cgroup.procs").exists():
        raise LimitsError("control groups of version 2 are not mounted")
    if any(part.startswith(TASKS) for part in path.parts):
        raise LimitsError("this is itself a task of patchyard")
    return path.parent if path.name == LEAF else path


def is_delegated(group: Path) -> bool:
    """Whether a group is left to the processes in it, or is the highest one here. Blocking.

    systemd marks those that it leaves to others: https://systemd.io/CGROUP_DELEGATION.
    """
    for name in ("user.delegate", "trusted.delegate"):
        try:
            if os.getxattr(group, name) == b"1":
                return True
        except OSError:
            continue
    return not (group.parent / "cgroup.procs").exists()


def group_of_tasks(base: Path, controllers: Collection[str]) -> tuple[Path, frozenset[str]]:
    """Make a group below which the groups of tasks can be made; return it, and its controllers. Blocking.

    Args:
        base: A group that this process may change. The processes in it are moved to the group `LEAF` in it.
        controllers: The names of the controllers to enable; those that are missing are left out.

    Raises:
        LimitsError: It cannot be made, or no controller is there.
    """
    try:
        found = [name for name in (base / "cgroup.controllers").read_text().split() if name in controllers]
        if not found:
            raise LimitsError(f"the control group {base} has none of the controllers {', '.join(controllers)}")
        _enable(base, found)
        path = base / f"{TASKS}-{os.getpid()}-{os.urandom(4).hex()}"
        path.mkdir()
        _enable(path, found)
    except OSError as error:
        raise LimitsError(f"the control group {base} cannot be changed: {error.strerror}") from None
    return path, frozenset(found)


def _enable(group: Path, controllers: Collection[str]) -> None:
    """Let the groups in a group have controllers.

    It must have no processes: with them, the kernel refuses some controllers, and takes the others as those of
    a group of threads, below which no group of processes can be made.

    Raises:
        LimitsError: Processes start in it again and again.
    """
    control = group / "cgroup.subtree_control"
    missing = [name for name in controllers if name not in control.read_text().split()]
    if not missing:
        return
    for left in range(_MOVES, -1, -1):
        _empty(group)
        try:
            control.write_text(" ".join(f"+{name}" for name in missing))
            if not _processes(group):
                return
            control.write_text(" ".join(f"-{name}" for name in missing))
        except OSError:
            if not left:
                raise
    raise LimitsError(f"the control group {group} cannot be changed: processes start in it again and again")


def _empty(group: Path) -> None:
    """Move the processes of a group into the group `LEAF` in it."""
    processes = _processes(group)
    if not processes:
        return
    leaf = group / LEAF
    leaf.mkdir(exist_ok=True)
    for pid in processes:
        try:
            (leaf / "cgroup.procs").write_text(pid)
        except ProcessLookupError:  # it has exited
            continue


def _processes(group: Path) -> list[str]:
    """Return the processes that a group must not have: in the highest of the machine they may be."""
    return (group / "cgroup.procs").read_text().split() if (group / "cgroup.type").exists() else []
