"""Fixtures for every test."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import browsers
import engine_access
import postgres as postgres_server
import pytest
from blockbuster import blockbuster_ctx
from repositories import Clone, Content, User
from repositories import make_repository as make

NEEDS = {"engine": engine_access.NONE, "PostgreSQL": postgres_server.NONE, "browser": browsers.NONE}
"""What some tests need, with what begins the reason of those that were left out for want of it."""


def pytest_configure() -> None:
    """Let tests interrupt what they start: a shell's background job ignores SIGINT, and so do its children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio, as the program does."""
    return "asyncio"


@pytest.fixture
def blockbuster() -> Iterator[None]:
    """Fail a test in which the program's own code blocks the event loop."""
    with blockbuster_ctx(["tasks", "containers", "pipeline"]):
        yield


@pytest.fixture
def user(tmp_path: Path) -> User:
    """A user with git, a home and an identity of their own."""
    return User.at(tmp_path / "user")


@pytest.fixture
def environ(user: User) -> Mapping[str, str]:
    """That user's environment."""
    return user.environ


@pytest.fixture
def make_repository(user: User, tmp_path: Path) -> Callable[..., Clone]:
    """Make a repository: `make_repository("name", {"file": "content"})`; without files it has no commit."""

    def build(name: str = "repo", files: Mapping[str, Content] | None = None) -> Clone:
        return make(user, tmp_path / name, files)

    return build


@pytest.fixture
def clone(user: User, tmp_path: Path) -> Clone:
    """A small repository of the user's, with one commit on `main`."""
    files = {
        "README.md": "# Sample\n",
        "src/app.py": "print('app')\n",
        "src/lib/util.py": "x = 1\n",
        ".gitignore": "*.log\nbuild/\n",
    }
    return make(user, tmp_path / "repo", files)


@pytest.fixture(scope="session")
def cluster() -> Iterator[postgres_server.Cluster]:
    """A PostgreSQL server, one for each process of the tests; without one installed, the test is left out."""
    programs = postgres_server.programs()
    if programs is None and os.environ.get(postgres_server.REQUIRED):
        pytest.fail(postgres_server.NONE, pytrace=False)
    if programs is None:
        pytest.skip(postgres_server.NONE)
    with postgres_server.serving(programs) as cluster:
        yield cluster


@pytest.fixture
def postgres(cluster: postgres_server.Cluster) -> Iterator[str]:
    """The URL of a fresh PostgreSQL database."""
    with cluster.database() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh database of either kind."""
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
