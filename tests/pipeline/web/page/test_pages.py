"""The pages without a browser: headers, escaping, forms and live updates."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path

import httpx
import pytest
from project import Project, plan_text, wait_for
from repositories import Clone
from served import Sent, Serving, gate, sent_events

from pipeline.store.store import Store
from pipeline.web.page.responses import encode_event
from tasks.outcome import PullRequestScope

NASTY = "<script>alert(1)</script> & \"quotes\" 'too' {{ 7 * 7 }}"
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;quotes&#34; &#39;too&#39; {{ 7 * 7 }}"


def page(server: Serving, path: str, **options: object) -> httpx.Response:
    """Get a page."""
    response = server.client.get(path, **options)  # type: ignore[arg-type]  # httpx's own
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    return response


@contextmanager
def stream(server: Serving, path: str, last: str | None = None) -> Iterator[Iterator[Sent]]:
    """Open an event stream of a page."""
    headers = {"Last-Event-ID": last} if last else {}
    with server.client.stream("GET", path, headers=headers) as response:
        assert response.status_code == 200
        yield sent_events(response.iter_lines())


@pytest.fixture
def ended(server: Serving, project: Project) -> str:
    """A finished run."""
    scripts = {
        "1.1": f"cat > out.txt <<'EOF'\n{NASTY}\nEOF\ncat out.txt",
    }
    scripts["1.2"] = f"cat >&2 <<'EOF'\nError: {NASTY}\nEOF\nexit 3"
    run = server.start(project.tasks(scripts, title=f"A {NASTY}"), repo=str(project.root))
    server.wait(run)
    return run


def test_pages_allow_only_their_own_scripts(server: Serving, ended: str) -> None:
    for path in ("/", f"/runs/{ended}", f"/runs/{ended}/tasks/1.1"):
        response = page(server, path)
        policy = dict(part.split(" ", 1) for part in response.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert response.headers["cache-control"] == "no-store"
        assert re.findall(r"<script(?! src=\"/static/)", response.text) == []
        assert "<style" not in response.text
        assert re.findall(r"\son[a-z]+=", response.text) == []
        assert re.findall(r"(?:src|href|action)=\"(?:https?:)?//", response.text) == []


def test_text_of_a_plan_is_escaped(server: Serving, ended: str) -> None:
    for path in ("/", f"/runs/{ended}"):
        text = page(server, path).text
        assert ESCAPED in text
        assert "<script>alert" not in text
        assert f'<code class="failing">Error: {ESCAPED}</code>' in text or path == "/"
    text = page(server, f"/runs/{ended}/tasks/1.1").text
    assert f'<span class="sr">added </span>{ESCAPED}' in text
    assert "<script>alert" not in text
    with stream(server, f"/runs/{ended}/tasks/1.1/log?attempt=1") as events:
        received = list(events)
    assert received[-1].name == "end"
    log = "".join(event.data for event in received if event.name == "log")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in log
    assert "<script>" not in log


SAYING = """
[agents.mine]
format = "codex"
command = '''cat > /dev/null; cat "$SHARED/said.jsonl"'''
"""


def test_what_an_agent_says_is_on_the_page_and_in_the_api(server: Serving, project: Project) -> None:
    events = (
        {"type": "item.completed", "item": {"type": "agent_message", "text": f"Done.\n{NASTY}"}},
        {"type": "turn.completed", "usage": {"input_tokens": 12345, "output_tokens": 20}},
    )
    (project.shared / "said.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    project.configure(SAYING)
    plan = project.plan("### Task 1.1: For an agent\nWrite it.\n")
    done = project.run(plan, "--agent", "mine").expect()

    text = page(server, f"/runs/{done.run}/tasks/1.1").text
    assert f'<h3>What the agent says</h3>\n<pre class="about" tabindex="0">Done.\n{ESCAPED}</pre>' in text
    assert "<li>tokens: 12k in, 20 out</li>" in text
    task = server.tasks(done.run)["1.1"]
    assert (task["cost"], task["tokens"]) == (None, {"input": 12345, "output": 20})
    assert task["said"] == f"Done.\n{NASTY}"


def test_a_task_that_runs_again_says_why(server: Serving, project: Project) -> None:
    there, go = project.shared / "there", project.shared / "go"
    add = "echo $PATCHYARD_TASK >> '<b>'"
    wait = f"; test $PATCHYARD_ATTEMPT = 1 || {{ touch {there}; while [ ! -e {go} ]; do sleep 0.05; done; }}"
    run = server.start(project.tasks({"1.1": add, "1.2": add + wait}), repo=str(project.root))
    wait_for(there.exists, "the second attempt")
    wait_for(lambda: server.tasks(run)["1.2"]["status"] == "in_progress", "the API")
    assert server.tasks(run)["1.2"]["attempt"] == 2
    go.touch()
    assert server.wait(run)["status"] == "complete"

    reasons = [item["reason"] for item in server.get(f"/{run}/tasks/1.2").json()["attempts"]]
    assert reasons == [None, "conflict with 1.1 in <b>"]
    assert "Run again: conflict with 1.1 in &lt;b&gt;" in page(server, f"/runs/{run}/tasks/1.2").text
    assert "Run again" not in page(server, f"/runs/{run}/tasks/1.2?attempt=1").text


def test_only_static_files_are_served(server: Serving) -> None:
    text = page(server, "/").text
    names = re.findall(r'"(/static/[^"]+)"', text)
    assert len(names) >= 6
    for name in names:
        response = server.client.get(name)
        assert response.status_code == 200
        assert "immutable" in response.headers["cache-control"]
        assert response.headers["x-content-type-options"] == "nosniff"
    licences = server.client.get("/static/LICENSES.txt").text
    assert "htmx.org" in licences
    assert "Zero-Clause BSD" in licences
    for name in ("..%2ftemplates%2fbase.html", "base.html", "%2e%2e", "none.css", "..%2f..%2fpages.py"):
        assert server.client.get(f"/static/{name}").status_code == 404


def test_unknown_run_task_and_action_are_problems(server: Serving, ended: str) -> None:
    for path in ("/runs/nope", "/runs/nope/tasks/1.1", f"/runs/{ended}/tasks/9.9", "/runs/nope/changes"):
        response = server.client.get(path)
        assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")
    assert server.client.post(f"/runs/{ended}/explode").status_code == 404
    assert server.client.post(f"/runs/{ended}/cancel").status_code == 409
    assert server.client.get(f"/runs/{ended}/tasks/x%00").status_code == 422


@pytest.mark.parametrize("path", ["/runs/nope", "/runs/nope/tasks/1.1", "/nowhere", "/runs/a%00b"])
def test_address_that_does_not_exist_is_a_page_in_a_browser(server: Serving, path: str) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    response = server.client.get(path, headers=browser)
    assert response.status_code in {404, 422}
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert 'href="/">All runs</a>' in response.text
    assert "/api/" not in response.text.partition("<main")[2]
    assert "default-src 'none'" in response.headers["content-security-policy"]
    for headers in ({}, {**browser, "HX-Request": "true"}):
        assert server.client.get(path, headers=headers).headers["content-type"] == "application/problem+json"
    assert server.get("/nope/status", 404, headers=browser).json()["status"] == 404


def test_list_of_runs_is_filtered_by_repository_and_status(
    server: Serving, ended: str, project: Project
) -> None:
    good = server.start(project.tasks({"1.1": "true"}, title="All good"), repo=str(project.root))
    server.wait(good)
    text = page(server, "/").text
    assert re.search(r"<time [^>]*data-ago>just now</time>", text)
    assert '<span data-state="failed">1 failed</span>' in text

    def listed(**query: str) -> list[str]:
        return re.findall(r'id="run-([^"]+)"', page(server, "/", params=query).text)

    assert listed() == [good, ended]
    assert listed(status="failed") == [ended]
    assert listed(status="succeeded", repository=str(project.root)) == [good]
    assert listed(status="", repository=str(project.plans)) == []
    assert listed(offset="1") == [ended]
    assert "No run matches" in page(server, "/", params={"status": "paused"}).text


def test_form_offers_the_plans_of_the_repository_and_checks_the_chosen_one(
    server: Serving, project: Project
) -> None:
    bad = "# Bad\n\n### Task 1.1: One\n**Dependencies:** Task 1.9\n**Run:** `true`\n"
    texts = {
        "plans/good.md": plan_text({"1.1": "true", "1.2": "touch two", "2.1": "true"}, title=f"G {NASTY}"),
        "docs/bad.md": bad,
        "notes.md": "# Notes\n\nNothing to do.\n",
        "untracked.md": bad,
    }
    project.clone.commit({name: text for name, text in texts.items() if name != "untracked.md"})
    project.clone.write({"untracked.md": bad})

    text = page(server, "/new").text
    assert re.findall(r'<option value="([^"]+\.md)"', text) == ["plans/good.md", "docs/bad.md"]
    assert 'id="planned"' not in text

    good = page(server, "/new", params={"repo": str(project.root), "plan": "plans/good.md"}).text
    assert f"G {ESCAPED}" in good
    assert re.findall(r'name="tasks" value="([^"]+)" checked', good) == ["1.1", "1.2", "2.1"]
    assert "after 1.1, 1.2" in good
    wrong = page(server, "/new", params={"plan": "docs/bad.md"}).text
    assert "depends on task 1.9, which is not in the plan" in wrong
    assert re.search(r'id="begin" disabled', wrong)


def test_only_the_tasks_that_are_ticked_run(server: Serving, project: Project) -> None:
    plan = str(project.tasks({"1.1": "true", "1.2": "true", "1.3": "true"}))
    form = {"plan_path": plan, "repo": str(project.root), "shown": "3", "ticks_of": plan}
    none = server.client.post("/runs", data=form)
    assert (none.status_code, "no task is ticked" in none.text) == (422, True)
    some = server.client.post("/runs", data={**form, "tasks": ["1.1", "1.3"]})
    run = some.headers["location"].rsplit("/", 1)[1]
    server.wait(run)
    assert sorted(server.tasks(run)) == ["1.1", "1.3"]
    other = server.client.post("/runs", data={**form, "ticks_of": "another.md", "tasks": ["9.9"]})
    assert other.status_code == 303, "ticks of another plan do not count"
    server.wait(other.headers["location"].rsplit("/", 1)[1])


def test_repository_without_a_commit_says_why_nothing_can_run(
    project: Project, make_repository: Callable[..., Clone]
) -> None:
    empty = make_repository("empty")
    all_roots: tuple[list[str | Path], ...] = (
        ["--root", project.root, "--root", empty.path],
        ["--root", empty.path],
    )
    for roots in all_roots:
        with Serving(project, roots) as server:
            text = page(server, "/new", params={"repo": str(empty.path)} if len(roots) > 2 else {}).text
        assert f"{empty.path} has no commit yet; create one first" in text
        assert 'id="begin"' not in text


def test_form_from_another_site_is_rejected(server: Serving, project: Project) -> None:
    form = {"plan_path": str(project.tasks({"1.1": "true"}))}
    for headers in ({"Origin": "https://evil.test"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        response = server.client.post("/runs", data=form, headers=headers)
        assert response.status_code == 403
    assert server.get("").json()["total"] == 0


def test_form_without_scripts_starts_a_run_and_redirects_to_it(server: Serving, project: Project) -> None:
    plan = project.tasks({"1.1": "true"})
    form = {
        "plan_path": str(plan),
        "repo": str(project.root),
        "pool_size": "2",
        "base": "",
        "execution_mode": "",
        "pull_request": "group",
    }
    response = server.client.post("/runs", data=form, headers={"Origin": server.url.rstrip("/")})
    assert response.status_code == 303
    run = response.headers["location"].rsplit("/", 1)[1]
    assert server.wait(run)["status"] == "complete"
    (kept,) = [item for item in server.get("").json()["executions"] if item["execution_id"] == run]
    assert kept["plan_path"] == str(plan)
    rejected = server.client.post("/runs", data={**form, "pool_size": "none", "nonsense": "1"})
    assert rejected.status_code == 422
    assert "pool_size" in rejected.text
    assert 'value="none"' in rejected.text
    assert "<option selected>group</option>" in rejected.text
    with Store.beside(project.root / ".git") as store:
        assert store.run(run).settings.pull_request is PullRequestScope.GROUP


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff=\xff",
        b"plan_path=%ff%00",
        b"plan_path=/etc/passwd",
        b"plan_path=x&tasks=1&tasks=2",
        b"&&==&%",
    ],
)
def test_invalid_form_gets_an_error_message(server: Serving, body: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    response = server.client.post("/runs", content=body, headers=headers)
    assert response.status_code == 422
    assert 'role="alert"' in response.text


def test_unknown_task_cannot_be_retried(server: Serving, ended: str) -> None:
    for task in ("9.9", "<b>", "\xff"):
        response = server.client.post(f"/runs/{ended}/retry", data={"task": task})
        assert response.status_code in {409, 422}, response.text
        assert response.headers["content-type"] == "application/problem+json"


def test_htmx_gets_only_the_requested_part(server: Serving, ended: str) -> None:
    whole = page(server, f"/runs/{ended}/tasks/1.2")
    part = page(server, f"/runs/{ended}/tasks/1.2", headers={"HX-Request": "true"})
    assert "<html" in whole.text
    assert "<html" not in part.text
    assert 'id="panel-title"' in part.text
    assert part.headers["vary"] == "HX-Request"
    back = {"HX-Request": "true", "HX-History-Restore-Request": "true"}
    assert "<html" in page(server, f"/runs/{ended}/tasks/1.2", headers=back).text
    action = server.client.post(f"/runs/{ended}/retry", headers={"HX-Request": "true"})
    assert (action.status_code, action.headers["hx-redirect"]) == (204, f"/runs/{ended}")
    server.wait(ended)


def test_page_shows_why_a_run_could_not_be_published(server: Serving, ended: str) -> None:
    text = page(server, f"/runs/{ended}").text
    assert '<div id="problem" role="alert"></div>' in text
    response = server.client.post(f"/runs/{ended}/publish", headers={"HX-Request": "true"})
    assert response.status_code == 204
    text = page(server, f"/runs/{ended}").text
    if addresses := re.findall(r'sse-connect="([^"]+)"', unescape(text)):
        with stream(server, addresses[0]) as events:
            text = "".join(event.data for event in events)
    assert re.search(r'<p class="trouble">It could not be published: [^<]*origin', text)


def changed(html: str) -> dict[str, str]:
    """Return the state of each element in a change, by the id of the element."""
    ids = re.findall(r'<template[^>]*><(?:tr|a|div|span|dl|ol|li)[^>]*?id="([^"]+)"([^>]*)>', html)
    return {name: (re.findall(r'data-state="([^"]+)"', rest) or [""])[0] for name, rest in ids}


def test_change_has_only_elements_that_an_event_changed(server: Serving, project: Project) -> None:
    scripts = {"1.1": gate("one"), "1.2": gate("two"), "1.3": "true"}
    plan = project.tasks(scripts)
    run = server.start(plan, repo=str(project.root), pool_size=2)
    wait_for((project.shared / "1.2.in").exists, "both tasks")
    wait_for(lambda: 'data-state="running"' in page(server, f"/runs/{run}").text, "the page with both tasks")
    text = page(server, f"/runs/{run}").text
    (address,) = re.findall(r'sse-connect="([^"]+)"', unescape(text))
    found: dict[str, str] = {}
    names: list[str] = []
    with stream(server, address) as events:
        (project.shared / "one").touch()
        for event in events:
            names.append(event.name)
            elements = changed(event.data)
            assert "row-1.2" not in elements or found.get("row-1.1")
            found |= elements
            if found.get("row-1.1") == "unchanged" and found.get("row-1.3") == "unchanged":
                break
        last = event.id
        assert {"status", "actions", "figures", "clock", "bar-1.1-1", "bar-1.3-1"} <= found.keys()
        (project.shared / "two").touch()
        rest = [event.name for event in events]
    assert set(names) == {"update"}
    assert rest[-1] == "end"
    server.wait(run)
    with stream(server, address.partition("?")[0], last) as events:
        again = list(events)
    assert {event.name for event in again} <= {"update", "end"}
    text = page(server, f"/runs/{run}").text
    assert "sse-connect" not in text


def test_page_says_what_fails_before_any_change(server: Serving, project: Project) -> None:
    wait = 'while [ ! -e "$SHARED/go-$PATCHYARD_ROUND" ]; do sleep 0.02; done'
    fields = {"1.1": f"**Verification:**\n- `test -e a`\n- `{wait}`\n\n"}
    plan = project.tasks({"1.1": "touch a"}, fields=fields)
    run = server.start(plan, repo=str(project.root), check_base=True)
    wait_for(lambda: "for task 1.1, runs in wt-1: test -e a; while" in page(server, f"/runs/{run}").text, "it")
    (address,) = re.findall(r'sse-connect="([^"]+)"', unescape(page(server, f"/runs/{run}").text))
    mark, seen = "<small>fails without the task's change</small>", ""
    with stream(server, address) as events:
        (project.shared / "go-0").touch()
        for event in events:
            seen += event.data
            if mark in seen:  # its second command waits
                break
        (project.shared / "go-1").touch()
    assert "before any change, for task 1.1: test -e a fails without the task's change</li>" in unescape(seen)
    server.wait(run)
    assert page(server, f"/runs/{run}/tasks/1.1").text.count(mark) == 1


def test_page_that_missed_too_much_is_reloaded(server: Serving, project: Project) -> None:
    plan = project.tasks({"1.1": gate(), "1.2": "true"})
    run = server.start(plan, repo=str(project.root), pool_size=2)
    wait_for((project.shared / "1.1.in").exists, "the first task")
    wait_for(lambda: server.tasks(run)["1.2"]["status"] == "complete", "the other task")
    (address,) = re.findall(r'sse-connect="([^"]+)"', unescape(page(server, f"/runs/{run}").text))
    with stream(server, address), stream(server, f"/runs/{run}/changes?after=0") as old:
        assert next(old).name in {"reload", "update"}
    (project.shared / "go").touch()
    server.wait(run)


def test_two_pages_of_a_run_get_the_same_changes(server: Serving, project: Project) -> None:
    run = server.start(project.tasks({"1.1": gate(), "2.1": "true"}), repo=str(project.root))
    wait_for((project.shared / "1.1.in").exists, "the first task")
    wait_for(lambda: "sse-connect" in page(server, f"/runs/{run}").text, "the page")
    (address,) = re.findall(r'sse-connect="([^"]+)"', unescape(page(server, f"/runs/{run}").text))
    with stream(server, address) as one, stream(server, address) as other:
        (project.shared / "go").touch()
        seen = []
        for events in (one, other):
            rows: dict[str, str] = {}
            for event in events:
                rows |= {name: state for name, state in changed(event.data).items() if name.startswith("row-")}
            seen.append(rows)
    assert seen[0] == seen[1] == {"row-1.1": "unchanged", "row-2.1": "unchanged"}


def test_html_with_any_line_end_is_one_event() -> None:
    assert (
        encode_event("log", "a\r\nb\rc\nd", 7) == b"id: 7\nevent: log\ndata: a\ndata: b\ndata: c\ndata: d\n\n"
    )
