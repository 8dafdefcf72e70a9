"""The page of a run with thousands of tasks loads what is seen, and is usable."""

from collections.abc import Callable

import httpx
import pytest
from browsers import Picture
from many_tasks import POOL, keep_run
from playwright.sync_api import Page, Response, expect
from project import Project
from served import Serving

from pipeline.view.portions import MOST_BARS, PORTION

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(180)]
TASKS = 2000


def test_page_of_thousands_of_tasks_is_usable(
    server: Serving, project: Project, open_page: Callable[..., Page]
) -> None:
    run = keep_run(project, TASKS)
    page = open_page(f"{server.url}/runs/{run}")
    rows = page.locator("#task-table tr[data-state]")
    expect(rows).to_have_count(PORTION)
    seen = Picture.of(page)
    assert sorted(len(bars) for bars in seen.bars.values()) == [MOST_BARS // POOL] * POOL
    for bars in seen.bars.values():
        assert all(bar.left >= seen.track.left - 1 and bar.right <= seen.track.right + 1 for bar in bars)
        assert len({round(bar.left) for bar in bars}) == len(bars)
    loads: list[str] = []

    def note(response: Response) -> None:
        if "/rows" in response.url:
            loads.append(response.url.partition("/rows")[2])

    page.on("response", note)
    page.locator("#more-12-0").scroll_into_view_if_needed()
    expect(page.get_by_role("link", name="12.7", exact=True)).to_be_visible()
    assert "?stage=12&number=0" in loads
    assert len(loads) < TASKS / PORTION / 2
    assert "" not in loads
    page.locator("#lanes .bar[tabindex='0']").focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.locator("#panel-title")).to_contain_text("Do 20.")
    page.keyboard.press("Escape")
    expect(page.locator("#panel")).to_be_hidden()
    page.get_by_role("searchbox").fill("Do 7.3")
    expect(page.locator("#found")).to_have_text("22 found")  # those of batch 17, too
    expect(page.locator("#task-table tr[data-state]:visible")).to_have_count(22)
    page.get_by_role("searchbox").fill("")
    page.get_by_role("button", name=f"unchanged {TASKS}").click()
    expect(page.locator("#task-table tr[data-state]:visible")).to_have_count(TASKS)
    expect(page.locator("#task-table .more")).to_have_count(0)
    assert loads.count("") == 1


def test_the_page_grows_by_a_line_for_a_portion(server: Serving, project: Project) -> None:
    sizes = {}
    for tasks in (1200, TASKS):
        answer = httpx.get(f"{server.url}/runs/{keep_run(project, tasks)}", timeout=60).content
        sizes[tasks] = len(answer)
        assert answer.count(b'<tr id="row-') == PORTION
        assert answer.count(b'<a class="bar"') == MOST_BARS
        assert answer.count(b'class="more"') == tasks // PORTION - 1
    more = (TASKS - 1200) // PORTION
    assert sizes[TASKS] - sizes[1200] < 2500 * more


def test_rows_are_loaded_without_scripts_too(
    server: Serving, project: Project, open_page: Callable[..., Page]
) -> None:
    run = keep_run(project, 600)
    page = open_page(f"{server.url}/runs/{run}", java_script_enabled=False)
    expect(page.locator("#task-table tr[data-state]")).to_have_count(PORTION)
    page.get_by_role("link", name="100 more, from 3.1 to 3.100").click()
    expect(page.locator("#task-table tr[data-state]")).to_have_count(600)
