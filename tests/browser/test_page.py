"""The page in a real browser: start, timeline, logs, cancel, retry and publish."""

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from browsers import Picture, boxes, check_structure, picture
from github_server import TOKEN, GitHubServer
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from project import Project, plan_text, wait_for
from served import Serving, gate

Open = Callable[..., Page]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
NAME = "octo/demo"


def start_run(page: Page, plan: Path) -> str:
    """Start a run with the form of the first page, and return its id."""
    page.get_by_role("link", name="Run a plan").first.click()
    name_plan(page, str(plan))
    page.get_by_role("button", name=re.compile("Run [0-9]+ tasks?")).click()
    page.wait_for_url(re.compile(r"/runs/[^/]+$"))
    return page.url.rsplit("/", 1)[1]


def name_plan(page: Page, path: str) -> None:
    """Fill in the path of a plan, which is then checked."""
    field = page.get_by_label(re.compile("path", re.IGNORECASE))
    field.fill(path)
    field.press("Tab")


def state(page: Page, task: str) -> str | None:
    """Return the state of a task in the table."""
    return page.locator(f"[id='row-{task}']").get_attribute("data-state")


def open_gate(project: Project, name: str = "go") -> None:
    """Create the file that tasks with `gate` wait for."""
    (project.shared / name).touch()


def test_started_run_shows_growing_bars_and_live_logs(
    server: Serving, project: Project, open_page: Open
) -> None:
    scripts = {
        "1.1": "sleep 0.3; echo one > one.txt",
        "1.2": f"echo half way\n{gate()}echo all the way; echo '<b>bold</b>' > two.txt",
        "2.1": "cat one.txt two.txt > three.txt",
    }
    page = open_page(server.url)
    run = start_run(page, project.tasks(scripts, title="Grow <i>"))

    expect(page.get_by_role("heading", level=1)).to_have_text("Grow <i>")
    expect(page.locator("[id='row-1.1']")).to_have_attribute("data-state", "changed")
    expect(page.locator("[id='bar-1.2-1']")).to_have_attribute("data-state", "running")
    assert state(page, "2.1") == "pending"

    def share() -> float:
        own = {bar.name: bar for bars in Picture.of(page).bars.values() for bar in bars}
        return own["bar-1.2-1"].width / own["bar-1.1-1"].width

    before = share()
    wait_for(lambda: share() > before * 1.2, "the running bar to grow relative to the finished one")
    check_structure(page)

    page.get_by_role("link", name="1.2", exact=True).click()
    log = page.get_by_label("Output of task 1.2")
    expect(log).to_contain_text("half way")
    expect(log).not_to_contain_text("[exit code")
    assert page.url.endswith(f"/runs/{run}/tasks/1.2")
    expect(page.locator("#panel .steps")).to_contain_text("half way")

    open_gate(project)
    expect(log).to_contain_text("all the way\n[exit code 0")
    added = page.locator("#panel .diff .add td:nth-child(3)")
    expect(added).to_have_text(["added <b>bold</b>"])
    expect(page.locator("#panel .pill")).to_have_text("changed")

    page.keyboard.press("Escape")
    expect(page.locator("#panel")).to_be_hidden()
    assert page.url.endswith(f"/runs/{run}")
    expect(page.locator("#status")).to_have_text("succeeded")
    expect(page.locator("#figures")).to_contain_text("3 of 3")
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    check_structure(page)
    assert server.status(run)["status"] == "complete"


def test_run_is_paused_resumed_and_cancelled(server: Serving, project: Project, open_page: Open) -> None:
    plan = project.tasks({"1.1": gate("first"), "1.2": "true", "1.3": gate("never")}, front="pool_size: 1")
    page = open_page(server.url)
    run = start_run(page, plan)
    wait_for((project.shared / "1.1.in").exists, "the first task")

    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    expect(page.locator("#status")).to_have_text("paused")  # the process of the run has handled the request
    open_gate(project, "first")
    expect(page.locator("[id='row-1.1']")).to_have_attribute("data-state", "unchanged")
    assert state(page, "1.2") == "pending"

    page.get_by_role("button", name="Resume").click()
    wait_for((project.shared / "1.3.in").exists, "the last task")
    expect(page.locator("[id='row-1.2']")).to_have_attribute("data-state", "unchanged")

    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#status")).to_have_text("cancelled")
    expect(page.locator("[id='row-1.3']")).to_have_attribute("data-state", "cancelled")
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    assert server.status(run)["run_status"] == "cancelled"


def test_failed_task_is_retried_and_each_attempt_has_its_log(
    server: Serving, project: Project, open_page: Open
) -> None:
    script = 'if [ ! -e "$SHARED/again" ]; then echo no luck; exit 3; fi; echo luck > luck.txt; echo worked'
    page = open_page(server.url)
    start_run(page, project.tasks({"1.1": script, "1.2": "true"}))
    expect(page.locator("#status")).to_have_text("failed")
    expect(page.locator("[id='row-1.1'] .why")).to_have_text("no luck")
    expect(page.locator("#attention")).to_contain_text("1.1 Do 1.1 no luck")
    expect(page.locator("#verdict")).to_contain_text("failed: 1 unchanged, 1 failed (1.1), in ")
    expect(page.locator("[id='bar-1.1-1'] .mark")).to_have_attribute("data-state", "failed")

    open_gate(project, "again")
    page.get_by_role("button", name="Retry failed").click()

    expect(page.locator("#status")).to_have_text("succeeded")
    expect(page.locator("[id='bar-1.1-2']")).to_have_attribute("data-state", "changed")
    expect(page.locator("#attention")).to_have_count(0)
    check_structure(page)
    page.get_by_role("link", name="1.1", exact=True).click()
    expect(page.get_by_label("Output of task 1.1")).to_contain_text("worked")
    page.get_by_role("link", name="Attempt 1").click()
    expect(page.get_by_label("Output of task 1.1")).to_contain_text("no luck")
    expect(page.locator("#panel .trouble")).to_contain_text("exit code 3")
    page.go_back()
    expect(page.get_by_label("Output of task 1.1")).to_contain_text("worked")


def test_published_run_shows_its_pull_requests(project: Project, github: GitHubServer, open_page: Open) -> None:
    github.add_repository(NAME)
    project.clone.git("push", "--quiet", github.repository(NAME).path, "main")
    project.clone.git("remote", "add", "origin", github.clone_url(NAME))
    project.environ |= {"GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": github.url}
    with Serving(project, ["--root", project.root, "--root", project.plans]) as server:
        page = open_page(server.url)
        start_run(page, project.tasks({"1.1": "echo 1 > a", "1.2": "echo 2 > b"}))
        expect(page.locator("#status")).to_have_text("succeeded")
        assert github.pull_requests(NAME) == []

        page.get_by_role("link", name="Publish").click()
        expect(page.locator("#panel")).to_contain_text("would open 2 pull requests and push 2 branches")
        expect(page.get_by_role("checkbox", name="Publish Do 1.1")).to_be_checked()
        assert github.pull_requests(NAME) == [], "the preview changes nothing"
        page.get_by_role("button", name="Push and open").click()

        expect(page.locator("#tasks .request")).to_have_count(2)
        expect(page.locator("#figures")).to_contain_text("Pull requests2")
        links = [page.locator(f"[id='row-{task}'] .request").get_attribute("href") for task in ("1.1", "1.2")]
        numbers = [str(link).rsplit("/pull/", 1)[1] for link in links]
        assert sorted(numbers) == sorted(str(pull.number) for pull in github.pull_requests(NAME))
        expect(page.get_by_role("link", name="Publish again")).to_be_visible()
        page.context.close()


def test_errors_of_a_plan_are_shown_in_the_form(server: Serving, project: Project, open_page: Open) -> None:
    page = open_page(f"{server.url}/new")
    name_plan(page, str(project.plan("# Nothing\n", "bad.md")))
    expect(page.locator("#planned").get_by_role("alert")).to_contain_text("bad.md:")
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_disabled()

    name_plan(page, "../nowhere.md")
    expect(page.locator("#form-errors")).to_contain_text("nowhere.md")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("#form-errors")).to_contain_text("nowhere.md")
    assert server.get("").json()["total"] == 0


def test_plan_is_chosen_and_its_tasks_are_ticked(server: Serving, project: Project, open_page: Open) -> None:
    scripts = {"1.1": "true", "1.2": "true", "2.1": "true"}
    project.clone.commit({"plans/one.md": plan_text(scripts, title="One"), "plans/two.md": "- [ ] a box\n"})
    page = open_page(f"{server.url}/new", viewport={"width": 390, "height": 800})
    page.get_by_role("combobox", name="Plan").select_option("plans/one.md")
    expect(page.get_by_role("heading", name="One")).to_be_visible()
    run = page.get_by_role("button", name="Run 3 tasks")
    expect(run).to_be_enabled()
    page.get_by_role("checkbox", name="2.1 Do 2.1").uncheck()
    expect(page.get_by_role("button", name="Run 2 tasks")).to_be_visible()
    page.get_by_role("button", name="None").click()
    expect(page.get_by_role("button", name="Run 0 tasks")).to_be_visible()
    page.get_by_role("checkbox", name="1.2 Do 1.2").press("Space")
    page.get_by_role("button", name="Run 1 task").click()
    page.wait_for_url(re.compile(r"/runs/[^/]+$"))
    server.wait(page.url.rsplit("/", 1)[1])
    expect(page.locator("#task-table tr[data-state]")).to_have_count(1)


def test_run_that_does_not_exist_is_a_page(server: Serving, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"{server.url}/runs/nope")
    expect(page.get_by_role("heading", level=1)).to_have_text("This page does not exist")
    page.get_by_role("link", name="All runs").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")
    page.close()


def test_list_of_runs_is_filtered_and_live(server: Serving, project: Project, open_page: Open) -> None:
    plans = [project.tasks({"1.1": script}, f"{name}.md", title=name) for name, script in RUNS.items()]
    for plan in plans[:2]:
        server.wait(server.start(plan, repo=str(project.root)))
    server.start(plans[2], repo=str(project.root))
    page = open_page(server.url)
    names = page.locator("#runs .name")
    expect(names).to_have_text(["Waits", "Fails", "Works"])
    expect(page.get_by_role("link", name=re.compile("Waits.*running"))).to_be_visible()
    open_gate(project)
    expect(page.get_by_role("link", name=re.compile("Waits.*succeeded.*just now", re.DOTALL))).to_be_visible()
    page.get_by_label("Status").select_option("failed")
    expect(names).to_have_text(["Fails"])
    assert "status=failed" in page.url


RUNS = {"Works": "true", "Fails": "exit 3", "Waits": gate()}


THEMES = {
    "1.1": ("Palette as data", "", "sleep 0.7; echo 'INK = 0x161b26' > palette.py", "sleep 0.3"),
    "1.2": ("Read themes from TOML", "Read the themes.", "", "sleep 0.2; grep -q '^# Try' prompt.txt"),
    "1.3": ("Contrast of every pair", "", "sleep 0.6; echo 'pairs = 21' > contrast.py", ""),
    "1.4": ("Icons without colour", "", "sleep 0.5; echo 'outline' > icons.txt", "sleep 0.2"),
    "2.1": ("A switch in the toolbar", "", f"echo 'switch' > switch.py; {gate()}", "true"),
    "2.2": ("Remember what was chosen", "", "sleep 0.4; echo 'storage: quota exceeded'; exit 3", ""),
    "2.3": ("A key for the switch", "Write the key's handler.", "", "test -s prompt.txt"),
    "2.4": ("Describe it in the handbook", "", f"sleep 0.2; {gate()}", "true"),
    "3.1": ("Note the change", "", "echo 'themes' >> CHANGES.md", ""),
}
"""Title, prompt, script and verification, by task. The verification of 1.2 needs the prompt of a repair."""


BATCHES = {"1": "Groundwork", "2": "The switch", "3": "Last words"}


def themes() -> str:
    """Return a plan with tasks of every kind."""
    lines = ["# Colour themes for the editor", ""]
    batch = ""
    for task, (title, prompt, script, verify) in THEMES.items():
        if batch != (batch := task[0]):
            lines += [f"## Batch {batch}: {BATCHES[batch]}", ""]
        lines += [f"### Task {task}: {title}", ""]
        lines += [f"**Implementation:** {prompt}", ""] if prompt else ["**Run:**", "```sh", script, "```", ""]
        lines += ["**Verification:**", f"- `{verify}`", ""] if verify else []
    return "\n".join(lines)


def test_run_with_tasks_of_every_kind(
    server: Serving, project: Project, open_page: Open, tmp_path: Path
) -> None:
    """Its screenshots are used in the documentation; `PATCHYARD_PICTURES=docs` writes them there."""
    project.configure(
        'agent = "writer"\nkeep_going = true\n[agents.writer]\n'
        "command = 'sleep 1 && cat > prompt.txt && echo cost: 0.21'\ncost = 'cost: (?P<cost>[0-9.]+)'\n"
        '[worktree]\nsetup = ["sleep 0.15"]\n'
    )
    project.call("trust").expect(0)  # the server is running already
    page = open_page(server.url, viewport={"width": 1200, "height": 1000}, device_scale_factor=2)
    start_run(page, project.plan(themes()))
    expect(page.locator("[id='row-2.3']")).to_have_attribute("data-state", "changed")
    expect(page.locator("[id='row-2.4']")).to_have_attribute("data-state", "running")

    kinds = page.locator(".bar .mark").evaluate_all("marks => marks.map((one) => one.dataset.kind)")
    assert set(kinds) == {"setup", "agent", "run", "verify"}
    states = page.locator(".bar").evaluate_all("bars => bars.map((one) => one.dataset.state)")
    assert {state: states.count(state) for state in states} == {"changed": 5, "failed": 1, "running": 2}
    check_structure(page)
    expect(
        page.get_by_role("button", name="Zoom in")
    ).to_be_visible()  # also after the timeline was drawn again
    for number, path in ((1, "/srv/editor/plan.md"), (2, "/srv/editor")):  # hide the paths of this machine
        page.locator(".meta code").nth(number).evaluate("(one, path) => { one.textContent = path; }", path)
    picture(page, "page", tmp_path, documented=True)
    page.locator("[id='bar-1.2-1']").click()
    panel = page.locator("#panel")
    expect(panel.locator(".round")).to_have_text(["Try 2"])
    expect(panel.locator(".history li li").nth(1)).to_contain_text("try 2 (repair after verify")
    expect(panel).to_contain_text("$0.42")
    expect(page.locator("[id='bar-1.2-1'] .mark[data-state='failed']")).to_have_count(1)
    picture(page, "page-repair", tmp_path, documented=True)
    page.keyboard.press("Escape")
    open_gate(project)
    expect(page.locator("#status")).to_have_text("failed")
    card = page.locator("#attention")
    expect(card).to_contain_text("2.2 Remember what was chosen storage: quota exceeded")
    expect(card.get_by_role("button", name="Retry failed")).to_be_visible()
    page.mouse.move(0, 0)
    picture(page, "page-failed", tmp_path, documented=True)


@pytest.fixture
def ended(server: Serving, project: Project) -> str:
    """The id of a finished run with tasks of several kinds."""
    scripts = {
        "1.1": "sleep 0.3; echo one > one.txt",
        "1.2": "sleep 0.2; printf '\\033[31mred\\033[0m\\n'; exit 7",
        "1.3": "sleep 0.1",
        "1.4": "sleep 0.2; echo four > four.txt",
        "2.1": "sleep 0.2; echo five > five.txt",
    }
    run = server.start(project.tasks(scripts, title="Several kinds"), repo=str(project.root), pool_size=2)
    server.wait(run)
    return run


@pytest.fixture
def watched(server: Serving, ended: str) -> tuple[str, str]:
    """The server's address, and the id of that run."""
    return server.url, ended


def test_page_is_usable_with_the_keyboard(server: Serving, ended: str, open_page: Open) -> None:
    page = open_page(f"{server.url}/runs/{ended}")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the task table")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#tasks")).to_be_focused()

    page.locator("#lanes .bar[tabindex='0']").focus()
    seen = []
    for key in ("Home", "ArrowRight", "ArrowDown", "ArrowUp", "ArrowLeft", "End"):
        page.keyboard.press(key)
        seen.append(page.evaluate("document.activeElement.id"))
    lanes = [[bar.name for bar in bars] for bars in Picture.of(page).bars.values()]
    first, second = lanes
    assert seen[:2] == [first[0], first[min(1, len(first) - 1)]]  # a lane may have one bar only
    assert seen[2] in second
    assert seen[3] in first
    assert seen[5] == second[-1]
    assert page.locator("#lanes .bar[tabindex='0']").count() == 1

    page.keyboard.press("Home")
    opener = page.evaluate("document.activeElement.id")
    page.keyboard.press("Enter")
    expect(page.locator("#panel")).to_be_focused()
    expect(page.locator("#panel")).to_have_accessible_name(re.compile(r"^1\.\d Do 1\.\d$"))
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Close task")).to_be_focused()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == opener


def test_screen_reader_reads_the_table_and_every_bar(server: Serving, ended: str, open_page: Open) -> None:
    page = open_page(f"{server.url}/runs/{ended}")
    expect(page.locator("#figures")).to_match_aria_snapshot(
        """
        - term: Tasks
        - definition: 3 of 5 done
        """
    )
    expect(page.get_by_role("table")).to_match_aria_snapshot(
        """
        - table:
          - rowgroup:
            - row "Task Title Status Time Lines Worktree Pull request or branch":
              - columnheader "Task"
          - rowgroup:
            - row /Batch 1/
            - row /1.1 Do 1.1 changed/
            - row /1.2 Do 1.2 red failed/
            - row /1.3 Do 1.3 unchanged/
            - row /1.4/
        """
    )
    names = [bar.get_attribute("aria-label") for bar in page.get_by_role("listitem").locator("css=.bar").all()]
    labels = page.locator("#lanes .bar").evaluate_all(
        "bars => bars.map((one) => one.getAttribute('aria-label'))"
    )
    assert names in ([], labels)
    assert sorted(label[:21] for label in labels)[:2] == ["Task 1.1: Do 1.1: cha", "Task 1.2: Do 1.2: fai"]
    hidden = page.locator("svg:not([aria-hidden='true'])")
    expect(hidden).to_have_count(0)


def test_tasks_are_filtered_by_state(server: Serving, ended: str, open_page: Open) -> None:
    page = open_page(f"{server.url}/runs/{ended}")
    page.get_by_role("button", name="failed 1").click()
    shown = page.locator("#task-table tr[data-state]:visible")
    expect(shown).to_have_count(1)
    expect(shown).to_have_attribute("id", "row-1.2")
    page.get_by_role("button", name="all 5").click()
    expect(shown).to_have_count(5)


def test_tasks_are_searched_and_batches_folded(server: Serving, ended: str, open_page: Open) -> None:
    page = open_page(f"{server.url}/runs/{ended}")
    shown = page.locator("#task-table tr[data-state]:visible")
    fold = page.get_by_role("button", name="Batch 1: Batch 1")
    fold.press("Enter")
    expect(fold).to_have_attribute("aria-expanded", "false")
    expect(shown).to_have_count(1)
    page.get_by_role("searchbox", name="Search tasks").fill("do 1.4")
    expect(shown).to_have_attribute("id", "row-1.4")
    expect(page.locator("#found")).to_have_text("1 found")
    page.get_by_role("searchbox", name="Search tasks").fill("")
    expect(shown).to_have_count(1)
    fold.click()
    expect(shown).to_have_count(5)


def test_header_of_the_table_stays_in_view_and_branches_keep_their_ends(
    server: Serving, ended: str, open_page: Open
) -> None:
    page = open_page(f"{server.url}/runs/{ended}", viewport={"width": 800, "height": 400})
    page.locator("[id='row-1.4']").scroll_into_view_if_needed()
    page.mouse.wheel(0, 4000)
    header = page.get_by_role("columnheader", name="Title")
    expect(header).to_be_in_viewport()
    assert (
        page.locator("[id='row-1.4'] .elide-start").evaluate("one => getComputedStyle(one).direction") == "rtl"
    )


def test_what_a_task_waits_for_is_drawn_while_its_bar_is_focused(
    server: Serving, project: Project, open_page: Open
) -> None:
    fields = {"1.2": "**Dependencies:** Task 1.1"}
    plan = project.tasks(dict.fromkeys(("1.1", "1.2", "2.1"), "true"), fields=fields)
    run = server.start(plan, repo=str(project.root))
    server.wait(run)
    page = open_page(f"{server.url}/runs/{run}")
    expect(page.locator("[id='row-1.2']")).to_contain_text("after 1.1")
    expect(page.locator("#stage-2")).to_contain_text("after batch 1")
    page.locator("[id='bar-1.2-1']").focus()
    expect(page.locator(".links path")).to_have_count(2)  # from 1.1, and to the next batch
    linked = page.locator(".bar[data-linked]").evaluate_all("bars => bars.map((one) => one.dataset.task)")
    assert sorted(linked) == ["1.1", "2.1"]
    page.locator("[id='bar-2.1-1']").hover()
    expect(page.locator(".links path")).to_have_count(2)
    page.get_by_role("searchbox").focus()
    expect(page.locator(".links")).to_have_count(0)


def test_conflict_is_solved_with_a_button(server: Serving, project: Project, open_page: Open) -> None:
    scripts = {"1.1": "echo one > x", "1.2": "cat x > /dev/null 2>&1 && echo both >> x || echo two > x"}
    plan = project.tasks(scripts, batches={"1": "**On Conflict:** stop"})
    run = server.start(plan, repo=str(project.root))
    assert server.wait(run)["status"] == "failed"
    page = open_page(f"{server.url}/runs/{run}")
    card = page.get_by_role("region", name="Needs attention")
    expect(card).to_contain_text("1.2 Do 1.2")
    expect(card).to_contain_text("It changed the same lines as 1.1 in x")
    expect(page.locator("[id='row-1.2'] .pill")).to_have_text("in conflict")
    expect(page.locator("body")).not_to_contain_text("succeeded")
    card.get_by_role("link", name="1.1").click()
    expect(page.locator("#panel-title")).to_have_text("1.1 Do 1.1")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Retry 1.2 on top of 1.1").click()
    expect(page.locator("#status")).to_have_text("succeeded")
    expect(card).to_have_count(0)
    expect(page.locator("[id='row-1.2'] .pill")).to_have_text("changed")


def test_feedback_is_given_to_the_agent_of_a_task(server: Serving, project: Project, open_page: Open) -> None:
    project.declare_agent('cat > "$SHARED/prompt-$PATCHYARD_ATTEMPT"; echo line >> x; echo one > y')
    project.call("trust").expect(0)  # the server is running already
    run = server.start(
        project.plan("# Demo\n\n### Task 1.1: Grow\n\nMake <b>it</b> grow.\n"), repo=str(project.root)
    )
    server.wait(run)
    page = open_page(f"{server.url}/runs/{run}/tasks/1.1")
    panel = page.locator("#panel")
    panel.get_by_text("What it is asked to do").click()
    expect(panel.locator(".given .about").first).to_have_text("Make <b>it</b> grow.")
    expect(panel.locator(".given .about").last).to_contain_text("# Task 1.1: Grow")
    expect(panel.get_by_role("navigation", name="Changed files").get_by_role("link")).to_have_text(["x", "y"])
    expect(panel.get_by_role("link", name="Download")).to_have_attribute("download", f"{run}-1.1.log")
    panel.get_by_text("Give the agent feedback").click()
    panel.get_by_role("textbox", name="Feedback for the agent").fill("Longer, <i>please</i>.")
    panel.get_by_role("button", name="Retry this task").click()
    expect(page.locator("[id='bar-1.1-2']")).to_have_attribute("data-state", "changed")
    page.get_by_role("link", name="1.1", exact=True).click()
    expect(panel.locator(".said .about")).to_have_text("Longer, <i>please</i>.")
    expect(panel.locator(".history")).to_contain_text("retry with feedback")
    assert "Longer, <i>please</i>." in (project.shared / "prompt-2").read_text()
    assert project.show("patchyard/demo/1.1:x") == "line\nline"
    assert server.get(f"/{run}/tasks/1.1").json()["attempts"][1]["feedback"] == "Longer, <i>please</i>."


def test_zoom_makes_the_timeline_wider(server: Serving, ended: str, open_page: Open) -> None:
    page = open_page(f"{server.url}/runs/{ended}")
    (before,) = boxes(page, ".track", "class")
    page.get_by_role("button", name="Zoom in").click()
    (after,) = boxes(page, ".track", "class")
    assert after.width == pytest.approx(before.width * 2, abs=2)
    check_structure(page)
    page.get_by_role("button", name="Fit").click()
    (fitted,) = boxes(page, ".track", "class")
    assert fitted.width == pytest.approx(before.width, abs=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_page_fits_every_window_in_dark_and_light(
    watched: tuple[str, str], open_page: Open, tmp_path: Path, scheme: str, width: int
) -> None:
    url, run = watched
    settings = {"color_scheme": scheme, "viewport": {"width": width, "height": 1300}}
    for path in (f"/runs/{run}/tasks/1.1", "/", f"/runs/{run}"):
        page = open_page(f"{url}{path}", **settings)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        dark = all(int(part) < 64 for part in re.findall(r"\d+", colour)[:3])
        assert dark == (scheme == "dark")
    check_structure(page)
    compare(page, picture(page, f"run-{scheme}-{width}", tmp_path))


def compare(page: Page, path: Path) -> None:
    """Check that a screenshot shows the bars at their positions, and nothing between them."""
    image = Image.open(path).convert("RGB")
    seen = Picture.of(page)
    for lane, bars in seen.bars.items():
        own = seen.lanes[lane]
        height = round(own.top + own.bottom) // 2
        empty = [bars[0].left - 2] if bars[0].left > own.left + 6 else []
        empty += [(one.right + other.left) / 2 for one, other in pairwise(bars)]
        around = {image.getpixel((round(bar.left) + 1, height)) for bar in bars}
        between = {image.getpixel((round(at), height)) for at in empty}
        assert not around & between, f"{lane}: no bar is visible"


def test_page_works_without_javascript(server: Serving, ended: str, open_page: Open) -> None:
    page = open_page(f"{server.url}/runs/{ended}", java_script_enabled=False)
    assert page.locator("#task-table tr[data-state]").count() == 5
    page.get_by_role("link", name="1.2", exact=True).click()
    assert page.locator("#panel .steps").inner_text().startswith("run")
    page.get_by_role("button", name="Retry this task").click()
    assert page.url == f"{server.url}/runs/{ended}"
    server.wait(ended, "executing", "failed")
    server.wait(ended)
