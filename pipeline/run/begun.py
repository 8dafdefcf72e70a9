"""Runs that are under way, and not in the database yet: it is opened while the first steps run.

Until a run is in it, a file in the run's directory says what the database will. If the program is killed within
that time, whoever opens the database next adds the run to it.
"""

import fcntl
import json
from contextlib import suppress
from pathlib import Path

from containers.filesystem import write_atomically
from pipeline.store.records import Run, run_from, run_values
from pipeline.store.store import Store

FILE = "run.json"


def note_begun(run: Run) -> None:
    """Note a run that begins. Blocks.

    Raises:
        OSError: The file cannot be written.
    """
    path = Path(run.directory or "", FILE)
    write_atomically(path, json.dumps(run_values(run)).encode("ascii"))


def forget_begun(run: Run) -> None:
    """Forget the note: the run is in the database. Blocks."""
    with suppress(
        OSError
    ):  # what is left is added to the database by whoever opens it next, and is there already
        Path(run.directory or "", FILE).unlink()


def add_begun(store: Store, runs: Path) -> None:
    """Add the runs that were killed before they were in the database. Blocks.

    Args:
        store: The database.
        runs: The directory of the repository's runs.
    """
    for path in sorted(runs.glob(f"*/{FILE}")):
        if is_locked(path.parent):
            continue
        with suppress(OSError, ValueError, KeyError, TypeError):
            run = run_from(json.loads(path.read_bytes()))
            if all(known.id != run.id for known in store.runs()):
                store.open_run(run)
            path.unlink(missing_ok=True)


def is_locked(directory: Path) -> bool:
    """Whether a process holds the lock in a run's directory. Blocks."""
    try:
        with (directory / "lock").open("rb") as file:
            # Shared, so that those who look do not take each other for the holder.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # not there, or not ours to look at; whoever may write there knows
        return False
    return False
