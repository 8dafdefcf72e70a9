"""The limits of a run's tasks, and by what they hold."""

from collections.abc import Mapping

from containers.limits.limits import Limits
from containers.limits.resource_limits import require_programs
from pipeline.config.settings import Settings
from tasks.text import by_kind


def settings_limits(settings: Settings) -> Limits:
    """Return the limits of the tasks of a run."""
    return Limits(settings.cpus, settings.memory, settings.processes, settings.files)


def limits_found(settings: Settings, environ: Mapping[str, str]) -> str:
    """Return by what the limits of tasks of this machine hold; "" without limits. Blocking.

    Raises:
        LimitsError: A program is missing that sets the limits that no group holds.
    """
    limits = settings_limits(settings)
    if not limits:
        return ""
    from containers.limits.trial import find_groups  # noqa: PLC0415 - needed only with limits

    names, reason = find_groups(limits, environ)
    require_programs(limits.without(names), environ.get("PATH", ""))
    return f"{by_kind(limits.kinds(names))}{f' ({without_groups(reason)})' if reason else ''}"


def without_groups(reason: str) -> str:
    """Return that there are no control groups, and why, as a clause."""
    return f"limits hold for each process, not for a task as a whole, without control groups: {reason}"
