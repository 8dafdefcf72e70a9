"""The control groups of a run: one for each task, below one of the run."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from containers.limits.cleanup import cleanup_process
from containers.limits.delegation import group_of_tasks, is_delegated, own_group
from containers.limits.group import CONTROLLERS, ControlGroup, remove_group
from containers.limits.limits import Limits, LimitsError
from containers.limits.systemd import enter_scope


class RunGroups:
    """Makes the control groups of a run's tasks.

    Args:
        path: The group that they are made in.
        limits: What each of them limits.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self._limits = limits
        self._numbers = count(1)

    @property
    def limits(self) -> Limits:
        """What each group limits."""
        return self._limits

    @contextmanager
    def task(self) -> Iterator[ControlGroup]:
        """Make the group of a task; its processes are killed at the end, and it is removed. Blocking.

        Raises:
            LimitsError: It cannot be made.
        """
        path = self.path / f"task-{next(self._numbers)}"
        try:
            group = ControlGroup(path, self._limits)
        except OSError as error:
            remove_group(path)
            raise LimitsError(f"the control group {path} cannot be made: {error.strerror}") from None
        try:
            yield group
        finally:
            group.remove()


@contextmanager
def open_groups(limits: Limits, environ: Mapping[str, str]) -> Iterator[RunGroups | str]:
    """Give the groups of a run, or why there are none. Blocking.

    They are made in this process's own group, if that is delegated to it, else in a new scope of systemd. They
    are removed with their processes when this process ends, also if it is killed.

    Args:
        limits: The limits of a task.
        environ: The user's environment, by which systemd is reached.
    """
    wanted = {controller: name for name, controller in CONTROLLERS.items() if name in limits.names}
    if not wanted:
        yield ""
        return
    with ExitStack() as stack:
        try:
            own = own_group()
            name_group = stack.enter_context(cleanup_process())
            path, controllers = _make(own, list(wanted), environ)
        except LimitsError as error:
            stack.close()
            yield str(error)
            return
        name_group(path)
        stack.callback(remove_group, path)
        yield RunGroups(path, limits.only([wanted[controller] for controller in controllers]))


def _make(own: Path, controllers: list[str], environ: Mapping[str, str]) -> tuple[Path, frozenset[str]]:
    """Make the group of a run's tasks where it is possible.

    Raises:
        LimitsError: It is not possible; the message says why.
    """
    if is_delegated(own):
        try:
            return group_of_tasks(own, controllers)
        except LimitsError as error:
            reason = str(error)
    else:
        reason = ""
    try:
        return group_of_tasks(enter_scope(environ), controllers)
    except LimitsError as error:
        raise LimitsError("; ".join(filter(None, (reason, str(error))))) from None
