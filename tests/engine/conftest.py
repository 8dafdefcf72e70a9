"""Fixtures of the tests on a real Dagger engine, which are skipped without one, or fail if it is required."""

import os
from collections.abc import AsyncIterator, Mapping

import engine_access
import pytest
from repositories import Clone

from containers.dagger_engine.config import ContainerConfig
from containers.dagger_engine.runner import EngineRunner
from containers.dagger_engine.session import Session
from containers.git.repository import Repository


@pytest.fixture(scope="module")  # for all modules, their event loop would be that of other tests, too
def anyio_backend() -> str:
    """One event loop for the tests of a module, because they share a session with the engine."""
    return "asyncio"


@pytest.fixture(scope="session")
def engine_obstacle(tmp_path_factory: pytest.TempPathFactory) -> str | None:
    """Why no engine can be used; checked once."""
    return engine_access.obstacle(os.environ, tmp_path_factory.mktemp("engine"))


@pytest.fixture(autouse=True)
def engine(engine_obstacle: str | None) -> None:
    """Skip the test if no engine answers."""
    if engine_obstacle and os.environ.get(engine_access.REQUIRED):
        pytest.fail(engine_obstacle, pytrace=False)
    if engine_obstacle:
        pytest.skip(engine_obstacle)


@pytest.fixture(scope="session")
def test_image() -> str:
    """An image with git."""
    return os.environ.get("PATCHYARD_TEST_IMAGE", "python:3.13")


@pytest.fixture(scope="session")
def bare_image() -> str:
    """An image without git."""
    return os.environ.get("PATCHYARD_TEST_BARE_IMAGE", "debian:bookworm-slim")


@pytest.fixture
def engine_environ(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The user's environment, with the variables that locate the engine."""
    return engine_access.environment(environ)


@pytest.fixture(scope="module")
async def session(
    engine_obstacle: str | None, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Session | None]:
    """A session with the engine, for the tests of a module."""
    if engine_obstacle:
        yield None
        return
    session = await Session.open(None, os.environ, tmp_path_factory.mktemp("session") / "log")
    yield session
    await session.aclose()


@pytest.fixture
def repository(clone: Clone) -> Repository:
    """The small repository, opened by the program."""
    return Repository.open(clone.path, clone.user.environ)


@pytest.fixture
def runner(session: Session, repository: Repository) -> EngineRunner:
    """A runner for the small repository."""
    return EngineRunner(session.client, ContainerConfig(repository.common, repository.identity()))
