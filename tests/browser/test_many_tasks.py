"""The page of a run with a thousand tasks is complete and usable."""

from collections.abc import Callable

import pytest
from browsers import Picture
from many_tasks import POOL, keep_run
from playwright.sync_api import Page, expect
from project import Project
from served import Serving

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(180)]
TASKS = 1000


def test_page_of_a_thousand_tasks_is_usable(
    server: Serving, project: Project, open_page: Callable[..., Page]
) -> None:
    run = keep_run(project, TASKS)
    page = open_page(f"{server.url}/runs/{run}")
    expect(page.locator("#task-table tr[data-state]")).to_have_count(TASKS)
    seen = Picture.of(page)
    assert sorted(len(bars) for bars in seen.bars.values()) == [TASKS // POOL] * POOL
    for bars in seen.bars.values():
        assert all(bar.left >= seen.track.left - 1 and bar.right <= seen.track.right + 1 for bar in bars)
        assert len({round(bar.left) for bar in bars}) == len(bars)
    page.get_by_role("button", name="unchanged 1000").click()
    expect(page.locator("#task-table tr[data-state]:visible")).to_have_count(TASKS)
    page.locator("#lanes .bar[tabindex='0']").focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.locator("#panel-title")).to_contain_text("Do 10.")
    page.keyboard.press("Escape")
    expect(page.locator("#panel")).to_be_hidden()
