"""Measure the page of a run with many tasks: the time to show it, and the delay of an event.

Needs Chromium. Nearly all tasks of the run have ended when the page is opened; the rest start and end while
it is open. The delay of an event is the time from its timestamp until the page shows it.

Usage: python benchmarks/page.py [--tasks N] [--loads N] [--page docs/service.md]
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import time
import urllib.request
from datetime import datetime
from pathlib import Path
from typing import Any

from load import Server, percentile, put_into, serving
from playwright.sync_api import Page, sync_playwright

MARK = "page"
POOL = 8
LAST = 60
"""Tasks that start and end while the page is open."""
PATIENCE = 600.0
BOUND_SHOWN, BOUND_EVENT = 1.0, 0.1
"""Limits of the medians, in seconds."""
WATCH = """() => {
    window.seen = {};
    document.addEventListener("htmx:sseBeforeMessage", () => { window.since ??= Date.now() / 1000; });
    const look = (list) => {
        for (const change of list) {
            for (const node of change.addedNodes) {
                if (node.id?.startsWith("row-")) {
                    window.seen[`${node.id.slice(4)} ${node.dataset.state}`] ??= Date.now() / 1000;
                }
            }
        }
    };
    new MutationObserver(look).observe(document.getElementById("task-table"), {childList: true, subtree: true});
}"""
SHOWN = """() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
    done(performance.now() / 1000);
})))"""


def plan(directory: Path, tasks: int) -> Path:
    """Write a plan of many short tasks, and a few that take a while."""
    lines = ["# Many", "", "## Batch 1: Short", ""]
    for number in range(1, tasks - LAST + 1):
        lines += [f"### Task 1.{number}: short {number}", "**Run:**", "- `true`", ""]
    lines += ["## Batch 2: Watched", ""]
    for number in range(1, LAST + 1):
        lines += [f"### Task 2.{number}: watched {number}", "**Run:**", *["- `sleep 0.5`"] * 3, ""]
    path = directory / "many.md"
    path.write_text("\n".join(lines))
    return path


def events(server: Server, run: str) -> list[dict[str, Any]]:
    """Return the events of a finished run."""
    url = f"http://127.0.0.1:{server.port}/api/v1/autonomous/{run}/events"
    with urllib.request.urlopen(url, timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def wait(server: Server, run: str, ended: int) -> None:
    """Wait until a number of tasks of a run have ended."""
    end = time.monotonic() + PATIENCE
    while server.call(f"/{run}/status")["tasks_completed"] < ended:
        if time.monotonic() > end:
            sys.exit("the run does not come to its end")
        time.sleep(0.5)


def watch(page: Page, server: Server, run: str) -> list[float]:
    """Watch a run until it ends, and return the delays of its events in seconds."""
    page.evaluate(WATCH)
    page.wait_for_selector("#status [data-state='succeeded']", timeout=PATIENCE * 1000)
    seen: dict[str, float] = page.evaluate("window.seen")
    since = float(page.evaluate("window.since"))  # from then on the page is connected
    delays = []
    for record in events(server, run):
        state = {"task_started": "running", "task_finished": "unchanged"}.get(record["event"])
        moment = seen.get(f"{record.get('task')} {state}")
        happened = datetime.fromisoformat(record["time"]).timestamp()
        if state and moment is not None and happened > since:
            delays.append(moment - happened)
    return delays


def measure(server: Server, tasks: int, loads: int) -> tuple[list[float], list[float]]:
    """Return the seconds of each load of the page, and the delay of each event."""
    given = {"plan_path": str(plan(server.directory, tasks)), "pool_size": POOL}
    run = str(server.call("/start", given)["execution_id"])
    address = f"http://127.0.0.1:{server.port}/runs/{run}"
    browser_path = shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("there is no Chromium")
    with sync_playwright() as playwright:
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=browser_path, args=flags)
        page = browser.new_page()
        wait(server, run, tasks - LAST)
        page.goto(address)
        delays = watch(page, server, run)
        shown = []
        for _ in range(loads):
            page.goto(address)
            shown.append(float(page.evaluate(SHOWN)))
        browser.close()
    return shown, delays


def main() -> None:
    """Measure, print, and update the page."""
    parser = argparse.ArgumentParser(description="Measures the page of a run of many tasks.")
    parser.add_argument("--tasks", type=int, default=1000, help="tasks of the run")
    parser.add_argument("--loads", type=int, default=7, help="how often the page is opened")
    parser.add_argument("--page", type=Path, help="put the table into this page, too")
    given = parser.parse_args()
    with serving() as server:
        shown, delays = measure(server, given.tasks, given.loads)
    seen, late = percentile(delays, 0.5), percentile(delays, 0.95)
    text = (
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()}, Chromium.\n\n"
        "| tasks | shown after, median of "
        f"{len(shown)} | an event is seen after, median / 95 % of {len(delays)} |\n| --- | --- | --- |\n"
        f"| {given.tasks:,} | {statistics.median(shown):.2f} s "
        f"| {seen:.0f} / {late:.0f} ms |\n"
    )
    print(text)
    if given.page:
        put_into(given.page, text, MARK)
    if statistics.median(shown) > BOUND_SHOWN or seen > BOUND_EVENT * 1000:
        sys.exit("too slow")


if __name__ == "__main__":
    main()
