"""Claims runs, as many processes do at once: run as a script by a test.

usage: claim.py URL GATE OWNER RUN ...

It waits until the file GATE is there, and writes those runs that it got.
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
    print(*got)  # noqa: T201 - a script's answer


main()
