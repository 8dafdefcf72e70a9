"""Fixtures for all tests."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import agent_cases
import browsers
import control_groups
import engine_access
import postgres as postgres_server
import pytest
import sandboxes
import tools
from blockbuster import blockbuster_ctx
from repositories import Clone, Content, User
from repositories import make_repository as make

NEEDS = {
    "engine": engine_access.NONE,
    "PostgreSQL": postgres_server.NONE,
    "browser": browsers.NONE,
    "Git LFS": "git-lfs is not installed",
    "agent": agent_cases.NONE,
    "sandbox": sandboxes.NONE,
    "tool": tools.NONE,
    "control group": control_groups.NONE,
}
"""Programs that some tests need, with the prefix of the reasons of the tests that were skipped."""


def pytest_configure() -> None:
    """Restore SIGINT for child processes: a background job of a shell ignores it, and so do its children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """Run two test processes per core: most tests wait for the processes that they start."""
    return 2 * len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the slow tests first, spread over the processes, so that no process ends with one alone."""
    workers = max(1, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    slow = [item for item in items if item.get_closest_marker("slow")]
    others = [item for item in items if not item.get_closest_marker("slow")]
    share = -(-len(items) // workers)  # with `worksteal`, each process begins with a share of consecutive tests
    for number, item in enumerate(slow):
        others.insert(number % workers * share, item)
    items[:] = others


@pytest.fixture
def anyio_backend() -> str:
    """Run asynchronous tests on asyncio, like the program."""
    return "asyncio"


@pytest.fixture
def blockbuster() -> Iterator[None]:
    """Fail a test in which the program's code blocks the event loop."""
    with blockbuster_ctx(["tasks", "containers", "pipeline"]):
        yield


@pytest.fixture
def user(tmp_path: Path) -> User:
    """A user with an isolated home directory and git configuration."""
    return User.at(tmp_path / "user")


@pytest.fixture
def environ(user: User) -> Mapping[str, str]:
    """The environment of that user."""
    return user.environ


@pytest.fixture
def make_repository(user: User, tmp_path: Path) -> Callable[..., Clone]:
    """Create repositories: `make_repository("name", {"file": "content"})`; without files there is no commit."""

    def build(name: str = "repo", files: Mapping[str, Content] | None = None) -> Clone:
        return make(user, tmp_path / name, files)

    return build


@pytest.fixture
def clone(user: User, tmp_path: Path) -> Clone:
    """A small repository of the user, with one commit on `main`."""
    files = {
        "README.md": "# Sample\n",
        "src/app.py": "print('app')\n",
        "src/lib/util.py": "x = 1\n",
        ".gitignore": "*.log\nbuild/\n",
    }
    return make(user, tmp_path / "repo", files)


@pytest.fixture(scope="session")
def cluster() -> Iterator[postgres_server.Cluster]:
    """A PostgreSQL server, one per test process; if none is installed, the test is skipped."""
    programs = postgres_server.programs()
    if programs is None and os.environ.get(postgres_server.REQUIRED):
        pytest.fail(postgres_server.NONE, pytrace=False)
    if programs is None:
        pytest.skip(postgres_server.NONE)
    with postgres_server.serving(programs) as cluster:
        yield cluster


@pytest.fixture
def postgres(cluster: postgres_server.Cluster) -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    with cluster.database() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'patchyard.db'}"
    return str(request.getfixturevalue("postgres"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Report in one line, before the closing one, which tests were skipped for a missing program, and why."""
    yield
    reasons = [
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    ]
    lines = []
    for name, none in NEEDS.items():
        if skipped := [reason for reason in reasons if none in reason]:
            lines.append(f"{name} tests: {len(skipped)} left out, {skipped[0]}")
    if lines:
        terminalreporter.write_line("; ".join(lines))
