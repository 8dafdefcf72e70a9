"""Lock files of git that outlived a loss of power. Blocking."""

import re
from pathlib import Path

from tasks.lazy.patterns import regex

_LOCK = regex(r"Unable to create '(.+\.lock)': File exists")
_BOOTED = regex(r"^btime (\d+)$", re.MULTILINE)
_STAT = Path("/proc/stat")
"""Has the time at which the system was started (https://man7.org/linux/man-pages/man5/proc_stat.5.html)."""


def remove_stale_lock(message: str) -> bool:
    """Remove the lock file that an error of git names, if it is from before the system was started.

    No living process holds it then. A newer one may be held, since git does not say by whom: it stays.
    """
    found = _LOCK.search(message)
    try:
        booted = _BOOTED.search(_STAT.read_text("utf-8"))
        if found is None or booted is None:
            return False
        lock = Path(found[1])
        if lock.lstat().st_mtime >= int(booted[1]):
            return False
        lock.unlink()
    except OSError:
        return False
    return True
