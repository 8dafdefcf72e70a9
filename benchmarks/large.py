"""Measure worktrees of large repositories against plain git, and print tables.

Adding a worktree, the patch of a task and the reset after it are measured in turn with the git commands that do
the same, round by round; the result is the median of the rounds. So is the same in a sparse checkout, and so
are settings of git and copies of a worktree, which would be other ways. What is compared is checked to be the
same files.

Usage: python benchmarks/large.py [--rounds N] [--files N,N] [--only git|sparse|settings|copies] [--page PAGE]
       [--json FILE] [DIRECTORY ...]

Each DIRECTORY is on a file system to measure, by default that of temporary files.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

from run import Scratch, Table, about

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from containers.git.repository import Repository  # noqa: E402 - this checkout's is measured
from containers.git.working_tree.checkout import Checkout  # noqa: E402 - likewise

FOLDER = 20
"""Files in each directory."""
LIMIT = 100_000_000
"""Bytes that a patch may have, as in a run."""
SECOND = 1.1
"""Seconds after which no file is of the second in which git wrote the index: it would read the content."""
ADD = ("git worktree add -q --detach {tree} {base}",)
RESET = ("git clean -ffdxq", "git reset -q --hard {base}")
PATCH = (
    "git add -A",
    "tree=$(git write-tree)",
    "git diff-tree -r -p --binary --full-index {base} $tree > {patch}",
)
SETTINGS: Mapping[str, Mapping[str, str]] = {
    "`core.untrackedCache`": {"core.untrackedCache": "true"},
    "`index.threads` 1": {"index.threads": "1"},
    "`index.version` 4": {"index.version": "4"},
    "`core.preloadIndex` off": {"core.preloadIndex": "false"},
    "`checkout.workers` 0": {"checkout.workers": "0"},
    "`feature.manyFiles`": {"feature.manyFiles": "true"},
}
TASKS: Mapping[str, Callable[[Path, int], object]] = {
    "adds a file": lambda tree, turn: (tree / "new.txt").write_text(f"new {turn}\n"),
    "changes a file": lambda tree, turn: (tree / "d0" / "e0" / "f0.txt").write_text(f"changed {turn}\n"),
}


@dataclass
class Place(Scratch):
    """A scratch repository, and its commit."""

    base: str = ""

    def sh(self, lines: Sequence[str], cwd: Path, settings: Mapping[str, str], **names: str | Path) -> float:
        """Run a script of git commands with settings, and return its wall time in seconds."""
        pairs = {f"GIT_CONFIG_KEY_{n}": key for n, key in enumerate(settings)}
        pairs |= {f"GIT_CONFIG_VALUE_{n}": value for n, value in enumerate(settings.values())}
        environ = {**self.environ, **pairs, "GIT_CONFIG_COUNT": str(len(settings))}
        text = "\n".join(["set -e", *lines]).format(base=self.base, **names)
        began = perf_counter()
        subprocess.run(["sh", "-c", text], cwd=cwd, env=environ, check=True)
        return perf_counter() - began

    def path(self, name: str) -> Path:
        """Return a new path, for a worktree or a patch."""
        return self.directory / f"{name}-{next(self.numbers)}"


@contextmanager
def place(directory: Path, files: int) -> Iterator[Place]:
    """Yield a repository with a number of small files, and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="patchyard-bench-", dir=directory) as name:
        found = Place(Path(name).resolve())
        found.repository.mkdir()
        found.sh(("git init -q --initial-branch main", "git config gc.auto 0"), found.repository, {})
        # Much quicker than `git add`; the repository's own checkout stays empty.
        git = ["git", "fast-import", "--quiet"]
        stream = b"".join(_commit(files))
        subprocess.run(git, cwd=found.repository, input=stream, check=True)
        head = ["git", "rev-parse", "HEAD"]
        done = subprocess.run(head, cwd=found.repository, check=True, capture_output=True, text=True)
        found.base = done.stdout.strip()
        yield found


def _commit(files: int) -> Iterator[bytes]:
    """Yield the input of `git fast-import` for a commit of small files."""
    yield b"commit refs/heads/main\ncommitter bench <bench> 1700000000 +0000\ndata 4\nbase\n"
    for number in range(files):
        content = f"file {number}\n" * 20
        yield f"M 100644 inline {_folder(number)}/f{number}.txt\ndata {len(content)}\n{content}\n".encode()


def _folder(number: int) -> str:
    """Return the directory of a file."""
    return f"d{number // FOLDER % 97}/e{number // FOLDER // 97}"


class Git:
    """The commands of git, with settings, in a worktree that is made with them."""

    def __init__(self, at: Place, settings: Mapping[str, str] | None = None) -> None:
        self._at = at
        self._settings = settings or {}
        self.tree = at.repository

    def add(self) -> float:
        """Add a worktree, and return the seconds. Others stay: ext4 is slow where inodes were just freed."""
        self.tree = self._at.path("git")
        os.sync()
        return self._at.sh(ADD, self._at.repository, self._settings, tree=self.tree)

    def patch(self) -> float:
        """Take a patch, and return the seconds."""
        path = self._at.path("patch")
        seconds = self._at.sh(PATCH, self.tree, self._settings, patch=path)
        _check(path.stat().st_size > 0, "git made no patch")
        return seconds

    def reset(self) -> float:
        """Reset the worktree, and return the seconds."""
        return self._at.sh(RESET, self.tree, self._settings)


class Program:
    """The program's own, in a worktree of its pool."""

    def __init__(self, at: Place) -> None:
        self._at = at
        self._repository = Repository.open(at.repository, at.environ)
        self.tree = at.repository
        self._checkout: Checkout | None = None

    def add(self) -> float:
        """Add a worktree, and return the seconds."""
        self.tree = self._at.directory / "pool" / f"wt-{next(self._at.numbers) + 1}"
        os.sync()
        began = perf_counter()
        self._checkout = self._repository.add_worktree(self.tree, self._at.base)
        self.reset()
        return perf_counter() - began

    def patch(self) -> float:
        """Take a patch, and return the seconds."""
        began = perf_counter()
        patch = self._taken().patch(self._at.base, limit=LIMIT)
        seconds = perf_counter() - began
        _check(len(patch.files) == 1, "the program made no patch")
        return seconds

    def reset(self) -> float:
        """Reset the worktree, and return the seconds."""
        began = perf_counter()
        self._taken().reset(self._at.base, (), self._repository.sparse_checkout())
        return perf_counter() - began

    def _taken(self) -> Checkout:
        _check(self._checkout is not None, "there is no worktree")
        assert self._checkout is not None  # noqa: S101 - for the type
        return self._checkout


def _check(is_so: bool, message: str) -> None:  # noqa: FBT001 - what is checked
    if not is_so:
        sys.exit(message)


def _files(tree: Path) -> int:
    """Return the number of files of a worktree, without those of git."""
    below = (len(names) for path, _, names in os.walk(tree) if ".git" not in Path(path).parts)
    return sum(below) - (tree / ".git").is_file()


def against_git(at: Place, files: int, rounds: int, tracked: int | None = None) -> list[tuple[str, ...]]:
    """Compare the program with plain git.

    Args:
        at: The repository.
        files: Files of a worktree.
        rounds: How often each is measured.
        tracked: Files of the commit, if there are more.
    """
    ways: list[Program | Git] = [Program(at), Git(at)]
    seconds: dict[str, list[list[float]]] = {}

    def note(name: str, each: Callable[[Program | Git], float]) -> None:
        seconds.setdefault(name, []).append([each(way) for way in ways])

    for turn in range(rounds):
        note("first worktree", lambda way: way.add())
        os.sync()
        sleep(SECOND)
        for way in ways:
            _check(_files(way.tree) == files, f"{way.tree} does not have all files")
            way.reset()
        for task, do in TASKS.items():
            for way in ways:
                do(way.tree, turn)
            note(f"patch of a task that {task}", lambda way: way.patch())
            note(f"reset after one that {task}", lambda way: way.reset())
            for way in ways:
                _check(_files(way.tree) == files, f"{way.tree} was not reset")
    rows: list[tuple[str, ...]] = []
    for name, taken in seconds.items():
        own, bare = (median(column) for column in zip(*taken, strict=True))
        rows.append((f"{tracked or files:,}", name, f"{own / bare:.2f} times", _shown(own), _shown(bare)))
    return rows


def sparse_against_git(at: Place, files: int, rounds: int) -> list[tuple[str, ...]]:
    """Compare the program with plain git where the user's checkout has a tenth of the files."""
    folders = sorted({_folder(number).partition("/")[0] for number in range(files)})
    given = folders[: max(1, len(folders) // 10)]
    at.sh((f"git sparse-checkout set --cone {' '.join(given)}",), at.repository, {})
    present = sum(_folder(number).partition("/")[0] in given for number in range(files))
    return [(f"{present:,} of {name}", *row) for name, *row in against_git(at, present, rounds, files)]


def by_settings(at: Place, files: int, rounds: int) -> list[tuple[str, ...]]:
    """Compare plain git with settings with plain git as it is."""
    ways = {"": Git(at), **{name: Git(at, settings) for name, settings in SETTINGS.items()}}
    seconds: dict[str, list[tuple[float, ...]]] = {name: [] for name in ways}
    for turn in range(rounds):
        for name, way in ways.items():
            added = way.add()
            sleep(SECOND)
            way.reset()
            TASKS["adds a file"](way.tree, turn)
            seconds[name].append((added, way.patch(), way.reset()))
    medians = {name: [median(column) for column in zip(*taken, strict=True)] for name, taken in seconds.items()}
    return [
        (
            f"{files:,}",
            name,
            *(f"{own / bare:.2f} times" for own, bare in zip(own_each, medians[""], strict=True)),
        )
        for name, own_each in medians.items()
        if name
    ]


def by_copying(at: Place, files: int, rounds: int) -> list[tuple[str, ...]]:
    """Compare adding a worktree with a copy of one, by reference where the file system can."""
    program, git = Program(at), Git(at)
    own, bare, copied = list[float](), list[float](), list[float]()
    for _ in range(rounds):
        own.append(program.add())
        bare.append(git.add())
        copy = at.path("copy")
        os.sync()
        began = perf_counter()
        subprocess.run(["cp", "-a", "--reflink=auto", git.tree, copy], check=True)
        # The files have other times than those in the index, so git reads each of them once.
        shutil.copy2(
            next((at.repository / ".git" / "worktrees").glob(f"{git.tree.name}/index")), at.directory / "index"
        )
        names = {
            "GIT_DIR": at.repository / ".git",
            "GIT_WORK_TREE": copy,
            "GIT_INDEX_FILE": at.directory / "index",
        }
        environ = {**at.environ, **{name: str(path) for name, path in names.items()}}
        subprocess.run(["git", "update-index", "-q", "--refresh"], cwd=copy, env=environ, check=True)
        copied.append(perf_counter() - began)
        _check(_files(copy) == files, f"{copy} does not have all files")
    kind = subprocess.run(
        ["df", "--output=fstype", str(at.directory)], check=True, capture_output=True, text=True
    ).stdout.split()[-1]
    ratios = (f"{median(own) / median(other):.2f} times" for other in (bare, copied))
    return [(f"{files:,}", kind, *ratios, *(_shown(median(each)) for each in (own, bare, copied)))]


def _shown(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


MEASURES: Mapping[str, Callable[[Place, int, int], list[tuple[str, ...]]]] = {
    "git": against_git,
    "sparse": sparse_against_git,
    "settings": by_settings,
    "copies": by_copying,
}
HEADS = {
    "git": (
        "What patchyard takes, of the time of the git commands that do the same",
        ("files", "what", "ratio", "patchyard", "git"),
    ),
    "sparse": (
        "The same where the user's checkout is a sparse one",
        ("files", "what", "ratio", "patchyard", "git"),
    ),
    "settings": (
        "What git takes with a setting, of its time without",
        ("files", "setting", "`worktree add`", "patch", "reset"),
    ),
    "copies": (
        "The first worktree: what patchyard takes, of the time of `git worktree add`, and of copying one",
        ("files", "file system", "of git", "of a copy", "patchyard", "git", "copy"),
    ),
}


def tables(given: argparse.Namespace) -> Iterator[tuple[str, Table]]:
    """Yield the selected tables by their names."""
    rows: dict[str, list[tuple[str, ...]]] = {name: [] for name in MEASURES if given.only in {None, name}}
    for directory in given.directories:
        names = [name for name in rows if directory == given.directories[0] or name == "copies"]
        for files in given.files if names else ():
            with place(directory, files) as at:
                for name in sorted(names, key=lambda name: name == "sparse"):  # it changes the repository
                    rows[name] += MEASURES[name](at, files, given.rounds)
    for name, found in rows.items():
        yield name, Table(*HEADS[name], found)


def _put(page: Path, name: str, text: str) -> None:
    """Insert a table between its marks of a page."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(f"<!-- benchmark {name} -->\n")
    _, end, after = rest.partition(f"<!-- /benchmark {name} -->")
    page.write_text(f"{before}{begin}{text}{end}{after}", encoding="utf-8")


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Measure, print, and update a page."""
    parser = argparse.ArgumentParser(description="Measures worktrees of large repositories against plain git.")
    parser.add_argument("directories", nargs="*", type=Path, default=[Path(tempfile.gettempdir())])
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each measure; the median counts")
    parser.add_argument("--files", type=_numbers, default=[20_000, 100_000], help="as in 20000,100000")
    parser.add_argument("--only", choices=list(MEASURES), help="one of the tables")
    parser.add_argument("--page", type=Path, help="put the tables into this page, too")
    parser.add_argument("--json", type=Path, help="write the figures into this file, too")
    given = parser.parse_args()
    head = f"{about()} Median of {given.rounds} rounds."
    found = dict(tables(given))
    for name, table in found.items():
        text = f"{head}\n\n{table}\n"
        print(text)
        if given.page:
            _put(given.page, name, text)
    if given.json:
        figures = {"about": head, "tables": [part.as_json() for part in found.values()]}
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
