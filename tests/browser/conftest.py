"""Fixtures of the tests in a real browser, which are skipped without one, or fail if it is required."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import browsers
import pytest
from github_server import GitHubServer
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, expect, sync_playwright
from project import PATIENCE, Project
from repositories import Clone
from served import Serving

Open = Callable[..., Page]


@pytest.fixture(scope="module")  # its event loop would disturb other tests of the process
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    path = browsers.executable()
    if path is None and os.environ.get(browsers.REQUIRED):
        pytest.fail(browsers.NONE, pytrace=False)
    if path is None:
        pytest.skip(browsers.NONE)
    with sync_playwright() as playwright:
        expect.set_options(timeout=PATIENCE * 1000)
        chromium = playwright.chromium.launch(executable_path=path, args=list(browsers.arguments()))
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Open pages in a new browser context; errors, warnings and requests to other hosts fail the test."""
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def open_it(url: str, **options: Any) -> Page:  # noqa: ANN401 - Playwright's options
        settings = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **options}
        context = browser.new_context(**settings)
        context.set_default_timeout(PATIENCE * 1000)
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console",
            lambda message: problems.append(message.text) if message.type in {"error", "warning"} else None,
        )
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", Dialog.accept)
        origin = url.partition("://")[0] + "://" + url.partition("://")[2].partition("/")[0]
        page.on(
            "request",
            lambda request: problems.append(request.url) if not _is_local(request.url, origin) else None,
        )
        page.goto(url)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert problems == []


def _is_local(url: str, origin: str) -> bool:
    return url.startswith((origin, "data:"))


@pytest.fixture
def project(clone: Clone) -> Project:
    """A user's project: a repository and its parent directory."""
    return Project(clone)


@pytest.fixture
def server(project: Project) -> Iterator[Serving]:
    """A server for that project and for the directory of its plans."""
    with Serving(project, ["--root", project.root, "--root", project.plans]) as serving:
        yield serving


@pytest.fixture
def github(tmp_path: Path) -> Iterator[GitHubServer]:
    """A GitHub without repositories."""
    with GitHubServer(tmp_path / "hub") as hub:
        yield hub
