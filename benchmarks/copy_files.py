"""Measure how long `[worktree] copy` takes with many small files, against `cp`, and print a table.

The same tree is copied in turn, round by round, each time to where nothing is and after everything has been
written to the disk; the result is the median of the rounds. What is compared is checked to be the same tree.

Usage: python benchmarks/copy_files.py [--rounds N] [--files N] [--megabytes N] [--page PAGE] [DIRECTORY ...]

Each DIRECTORY is on a file system to measure, by default that of temporary files.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from run import Table, about, each, environment, put_into

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from containers.git.repository import Repository  # noqa: E402 - the program of this checkout is measured
from containers.worktrees.copies import Copies  # noqa: E402 - likewise

COMMANDS = (["cp", "-a"], ["cp", "-a", "--reflink=auto"], ["cp", "-a", "--reflink=never"])
TREE = "node_modules"
FOLDER = 50
"""Files in each folder."""


@contextmanager
def repository(directory: Path, files: int, size: int) -> Iterator[Path]:
    """Yield a repository with dependencies that are not in git: so many files, with so many bytes together."""
    with tempfile.TemporaryDirectory(prefix="patchyard-bench-", dir=directory) as name:
        root = Path(name, "repository")
        for number in range(files):
            file = root / TREE / f"package-{number // FOLDER}" / "lib" / f"module-{number}.js"
            if not number % FOLDER:
                file.parent.mkdir(parents=True)
            file.write_bytes(os.urandom(size // files))
        git = ["git", "-C", str(root)]
        subprocess.run([*git, "init", "--quiet"], check=True)
        commit = [*git, "commit", "--quiet", "--allow-empty", "--message", "base"]
        subprocess.run(commit, check=True, env=environment(root))
        yield root


def measure(target: Path, copy: Callable[[], object]) -> float:
    """Return how many seconds it takes to copy the tree into a new directory."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    os.sync()
    began = time.perf_counter()
    copy()
    return time.perf_counter() - began


def check(target: Path, files: int, size: int) -> None:
    """End the program unless the tree is complete."""
    sizes = [path.stat().st_size for path in target.rglob("*") if path.is_file()]
    if len(sizes) != files or sum(sizes) != size // files * files:
        sys.exit(f"{target} has {len(sizes)} files with {sum(sizes)} bytes")


def row(directory: Path, rounds: int, files: int, size: int) -> tuple[str, ...]:
    """Compare the program with `cp` on one file system."""
    with repository(directory, files, size) as root:
        target, notices = root.parent / "pool", list[str]()
        copies = Copies(Repository.open(root, environment(root)), target, [TREE], notices.append)
        ways: list[Callable[[], object]] = [partial(copies.copy_into, target)]
        ways += [partial(subprocess.run, [*cp, root / TREE, target], check=True) for cp in COMMANDS]
        for way in ways:
            measure(target, way)
            check(target, files, size)
        ours, *theirs = each(rounds, *(partial(measure, target, way) for way in ways))
    df = ["df", "--output=fstype", str(directory)]
    kind = subprocess.run(df, check=True, capture_output=True, text=True).stdout.split()[-1]
    how = "copied" if notices else "cloned"
    return f"{kind}, {how}", *(f"{ours / other:.2f} times" for other in theirs), f"{ours:.2f} s"


def main() -> None:
    """Measure, print, and update a page."""
    parser = argparse.ArgumentParser(description="Measures how long dependencies take into a worktree.")
    parser.add_argument("directories", nargs="*", type=Path, default=[Path(tempfile.gettempdir())])
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each measure; the median counts")
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--page", type=Path, help="put the table into this page, too")
    given = parser.parse_args()
    rows = [row(place, given.rounds, given.files, given.megabytes * 1_000_000) for place in given.directories]
    shown = Table(
        f"{given.megabytes} MB in {given.files:,} files, into a worktree: `copy` takes, of the time of",
        ("file system", *(f"`{' '.join(command)}`" for command in COMMANDS), "`copy`"),
        rows,
    )
    text = f"{about()} Median of {given.rounds} rounds.\n\n{shown}\n"
    print(text)
    if given.page:
        put_into(given.page, text)


if __name__ == "__main__":
    main()
