"""Claim runs in competition with other processes; a test runs this as a script.

usage: claim.py URL GATE OWNER RUN ...

It waits until the file GATE exists, and prints the runs that it claimed.
"""

import sys
import time
from pathlib import Path

from pipeline.store.store import Store


def main() -> None:
    """Claim each run once."""
    url, gate, owner, *runs = sys.argv[1:]
    with Store(url) as store:
        Path(f"{gate}.{owner}").touch()
        while not Path(gate).exists():
            time.sleep(0.001)
        got = [run for run in runs if store.claim(run, owner, owner, 60)]
    print(*got)  # noqa: T201 - the output of the script


main()
