"""Fixtures for every test."""

from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio, as the program does."""
    return "asyncio"


@pytest.fixture
def blockbuster() -> Iterator[None]:
    """Fail a test in which the program's own code blocks the event loop."""
    with blockbuster_ctx(["tasks", "containers", "pipeline"]):
        yield
