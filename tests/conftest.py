"""Fixtures for every test."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx
from engine_access import NONE
from repositories import Clone, Content, User
from repositories import make_repository as make


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


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Say in one line, the last one, that the tests on an engine did not run, and why."""
    yield
    reasons = [
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and NONE in report.longrepr[2]
    ]
    if reasons:
        terminalreporter.write_line(f"engine tests: {len(reasons)} left out, {reasons[0]}")
