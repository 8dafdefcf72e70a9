"""The HTML report, opened from disk."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from browsers import check_structure, picture
from playwright.sync_api import Page, expect
from project import Project
from views import NASTY, at, nasty_run

from pipeline.report.html import html_report

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
Open = Callable[..., Page]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_report_opens_from_disk(
    project: Project, open_page: Open, tmp_path: Path, scheme: str, width: int
) -> None:
    scripts = {
        "1.1": "sleep 0.3; echo one > one.txt",
        "1.2": "sleep 0.2; exit 3",
        "2.1": "sleep 0.2; echo 2 > two",
    }
    project.run(project.tasks(scripts), "--keep-going", "--pool-size", "2").expect(1)
    path = tmp_path / "run.html"
    project.call("report", "--output", path).expect(0)
    page = open_page(f"file://{path}", color_scheme=scheme, viewport={"width": width, "height": 800})

    check_structure(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    expect(page.locator("#tasks tr[data-state]")).to_have_count(3)
    page.locator("#lanes .bar").first.focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"#task-"))
    page.get_by_role("button", name="failed 1").click()
    expect(page.locator("#tasks tr[data-state]:visible")).to_have_count(1)
    picture(page, f"report-{scheme}-{width}", tmp_path)


def test_text_of_a_plan_is_never_executed(open_page: Open, tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    path.write_text(html_report(*nasty_run(), at(10)), "utf-8")
    page = open_page(f"file://{path}")
    expect(page.get_by_role("heading", level=1)).to_contain_text(NASTY.partition("\x1b")[0].strip())
    assert page.locator("script").count() == 1
    assert page.locator(".request").first.get_attribute("href") == "#"
