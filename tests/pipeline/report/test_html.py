"""The report in one file: complete, self-contained, and safe with any text."""

import re
from html.parser import HTMLParser

from project import Project
from repositories import Content
from views import NASTY, at, ended, nasty_run, plan, run

from pipeline.report import html as module
from pipeline.report.html import html_report
from pipeline.view.diff import MOST_LINES
from pipeline.view.source import Source
from pipeline.view.templating import duration, hash_of, static, tick, web
from pipeline.view.timeline_builder import timeline
from tasks.outcome import Patch, RunStatus
from tasks.patch_data import InlineData

VOID = {"meta", "link", "input", "img", "br", "path", "circle", "rect"}


class Reader(HTMLParser):
    """Collects elements, and fails where one is not closed, or an id is there twice."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []
        ids = [values["id"] for _, values in self.elements if "id" in values]
        assert len(ids) == len(set(ids)), sorted(name for name in ids if ids.count(name) > 1)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element."""
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element that has no content."""
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        """Close an element."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep text."""
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        """Return the attributes of every element of a kind."""
        return [values for name, values in self.elements if name == tag]


def test_arbitrary_text_is_escaped() -> None:
    view, tasks = nasty_run()
    html = html_report(view, tasks, at(10))
    html.encode("utf-8")
    page = Reader(html)
    shown = NASTY.replace("\x1b", "\ufffd").replace("\x00", "\ufffd").replace("\udcff", "\ufffd")
    assert sum(shown in text for text in page.texts) >= 8
    assert len(page.all("script")) == 1
    assert len(page.all("style")) == 1
    assert not any(name.startswith("on") for _, values in page.elements for name in values)
    links = [values["href"] for values in page.all("a")]
    assert "#" in links
    assert all(link.startswith("#") for link in links)
    assert "\x1b" not in html
    assert "\x00" not in html


def test_report_needs_no_network() -> None:
    view, tasks = nasty_run()
    html = html_report(view, tasks, at(10))
    page = Reader(html)
    (policy,) = [one["content"] for one in page.all("meta") if one.get("http-equiv")]
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src '{hash_of(static('timeline.js'))}'" in policy
    assert page.all("link")[0]["href"].startswith("data:image/svg+xml;base64,")
    assert not page.all("img")
    assert re.findall(r"url\((?!\"data:)", html) == []


def test_every_task_has_a_bar_a_row_and_a_section() -> None:
    view, tasks = nasty_run()
    page = Reader(html_report(view, tasks, at(10)))
    ids = {values["id"] for _, values in page.elements if "id" in values}
    every = {"1.1", "1.2", "1.3", "2.1", "2.2", "2.3", "2.4"}
    assert {f"row-{task}" for task in every} <= ids
    assert {f"task-{task}" for task in every} <= ids
    assert {name for name in ids if name.startswith("bar-")} == {
        "bar-1.1-1",
        "bar-1.2-1",
        "bar-1.3-1",
        "bar-2.3-1",
    }
    targets = {values["href"][1:] for values in page.all("a") if values["href"] != "#"}
    assert targets <= ids
    states = {
        values["id"]: values["data-state"]
        for tag, values in page.elements
        if tag == "tr" and "id" in values and "data-state" in values
    }
    assert states["row-1.3"] == "timed_out"
    assert states["row-2.4"] == "pending"


def test_large_patches_are_cut() -> None:
    lines = "".join(f"+{number}\n" for number in range(MOST_LINES))
    diff = (
        f"diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b/x\n@@ -0,0 +1,{MOST_LINES} @@\n{lines}"
    )
    patch = Patch("s", "t", InlineData(diff.encode()), ("x",))
    names = [f"1.{number}" for number in range(1, 8)]
    tasks = [ended(name, patch=patch, commit="c") for name in names]
    source = Source(run=run(), displayed_status=RunStatus.SUCCEEDED, plan=plan(*names), tasks=tasks)
    html = html_report(timeline(source, at(1)), tasks, at(1))
    assert html.count('<tr class="add">') == module.MAX_LINES == 5 * MOST_LINES
    assert "2 more patches are left out" in html


def test_report_command_writes_the_file(project: Project) -> None:
    files: dict[str, Content] = {"a.txt": "one\ntwo\n"}
    project.clone.commit(files)
    project.configure('secrets = ["API_KEY"]\n')
    scripts = {"1.1": "echo three >> a.txt", "1.2": "echo $API_KEY; exit 3", "1.3": "# <b>\ntrue"}
    environ = {"API_KEY": "sesame-1234"}
    project.run(project.tasks(scripts, title="Größe <b>"), environ=environ).expect(1)
    path = project.root.parent / "run.html"
    project.call("report", "--output", path, environ=environ).expect(0)
    text = path.read_text("utf-8")
    assert "sesame" not in text
    page = Reader(text)
    assert "Größe <b>" in page.texts
    assert any(values.get("data-state") == "failed" for values in page.all("tr"))
    shown = '<details class="script"><summary><code>true (+1 line)</code></summary>'
    assert f'{shown}<pre tabindex="0"># &lt;b&gt;\ntrue</pre></details>' in text
    assert '<tr class="add"><td></td><td>3</td><td><span class="sr">added </span>three</td></tr>' in text
    again = project.call("report", "latest", "--format", "html", environ=environ).expect(0).out
    assert Reader(again).elements[0] == ("html", {"lang": "en"})
    other = project.root.parent / "report.htm"
    project.call("report", "--format", "json", "--output", other, environ=environ).expect(0)
    assert other.read_text().startswith("{")


def test_run_that_never_started_has_a_report() -> None:
    source = Source(run=run(status=RunStatus.PENDING), displayed_status=RunStatus.PENDING, plan=plan("1.1"))
    page = Reader(html_report(timeline(source, at(1)), [], at(1)))
    (row,) = [values for values in page.all("tr") if values.get("id") == "row-1.1"]
    assert row["data-state"] == "pending"
    assert not [values for values in page.all("a") if values.get("class") == "bar"]


def test_durations_are_readable() -> None:
    texts = [duration(seconds) for seconds in (0.04, 1.44, 59.94, 59.96, 61, 3599.6, 3725, 90061)]
    assert texts == [
        "0.0 s",
        "1.4 s",
        "59.9 s",
        "1 min 00 s",
        "1 min 01 s",
        "1 h 00 min",
        "1 h 02 min",
        "1 d 01 h",
    ]
    assert [tick(seconds) for seconds in (0, 5, 90, 7200)] == ["0", "5 s", "1:30", "2:00:00"]
    assert duration(None) == ""


def test_only_web_urls_are_linked() -> None:
    assert web("https://x.test/1") == "https://x.test/1"
    assert [web(url) for url in ("javascript:alert(1)", "data:text/html,x", "https://[x", "")] == ["#"] * 4
