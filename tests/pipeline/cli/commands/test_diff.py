"""`patchyard diff`: what a person sees on a terminal, and which run and task the words name."""

import pytest
from project import Done, Project
from terminal import on_terminal

from pipeline.cli.commands.results.diff_text import Painter, patch_lines, stat_lines
from tasks.patch_data import InlineData

PATCH = """diff --git a/a.sql b/a.sql
index 1111111..2222222 100644
--- a/a.sql
+++ b/a.sql
@@ -1,3 +1,3 @@ create
 one
--- a comment of SQL
+++ more
 three
diff --git a/b b/b
new file mode 100644
--- /dev/null
+++ b/b
@@ -0,0 +1 @@
+x\x1b[2J
\\ No newline at end of file
"""
SCRIPTS = {"1.1": "echo one > a; seq 50 > b", "1.2": "true", "2.1": "echo 2 > c"}
ADD = 'echo "$PATCHYARD_TASK" >> CHANGELOG.md'


def data(text: str) -> InlineData:
    return InlineData(text.encode())


def test_colours_follow_the_hunks_not_the_first_characters() -> None:
    lines = list(patch_lines(data(PATCH), Painter(colored=True)))

    assert lines[2] == "\x1b[1m--- a/a.sql\x1b[m"
    assert lines[4] == "\x1b[36m@@ -1,3 +1,3 @@\x1b[m create"
    assert lines[6:8] == ["\x1b[31m--- a comment of SQL\x1b[m", "\x1b[32m+++ more\x1b[m"]
    assert lines[9] == "\x1b[1mdiff --git a/b b/b\x1b[m"
    assert lines[14] == "\x1b[32m+x<U+001B>[2J\x1b[m"
    assert list(patch_lines(data(PATCH), Painter(colored=False)))[6] == "--- a comment of SQL"


def test_sizes_are_shown_per_file() -> None:
    assert list(stat_lines(data(PATCH), Painter(colored=False))) == [
        "  a.sql |     2 +-",
        "  b     |     1 + (added)",
        "  2 files, +2 \N{MINUS SIGN}1",
    ]


def test_a_terminal_has_headers_colours_and_the_pager(project: Project) -> None:
    project.run(project.tasks(SCRIPTS)).expect(0)
    project.environ |= {"TERM": "xterm", "PAGER": "false", "GIT_PAGER": "sed 's/^/P /'"}

    shown = on_terminal(project, "diff").replace("\r", "")
    one = on_terminal(project, "diff", "2.1", "--no-pager", "--no-color").replace("\r", "")
    project.environ |= {"GIT_PAGER": "no-such-pager", "NO_COLOR": "1"}
    fallen_back = on_terminal(project, "diff", "latest", "2.1").replace("\r", "")

    assert shown.startswith("P \x1b[1;33mtask 1.1 Do 1.1: changed, 2 files, +51 ")
    assert "P \x1b[32m+2\x1b[m\n" in shown
    assert one.startswith("task 2.1 Do 2.1: changed, 1 file, +1 ")
    assert "\x1b" not in one
    assert fallen_back.endswith(one)
    assert "  b | " in project.call("diff", "--stat").expect(0).out
    assert project.call("diff", "2.1").expect(0).out.startswith("diff --git a/c b/c\n")


def test_a_pager_that_is_left_early_is_fine(project: Project) -> None:
    project.run(project.tasks({"1.1": "seq 200000 > a"})).expect(0)
    project.environ |= {"TERM": "xterm", "PAGER": "head -n 1"}

    assert on_terminal(project, "diff").count("\n") == 1


def test_both_sides_of_a_conflict_are_shown(project: Project) -> None:
    plan = project.tasks({"1.1": ADD, "1.2": ADD, "1.3": "touch x"}, batches={"1": "**On conflict:** stop"})
    run = project.run(plan).run
    project.environ |= {"TERM": "xterm"}

    shown = on_terminal(project, "diff", "1.2", "--no-pager", "--no-color").replace("\r", "")
    alone = project.call("diff", "--conflicts").expect(0).out

    both = (
        "conflict of task 1.1 and task 1.2\nCHANGELOG.md\n"
        "  task 1.1 Do 1.1, line 1\n    1.1\n  task 1.2 Do 1.2, line 1\n    1.2\n"
        f"`patchyard retry {run} 1.2 --onto 1.1` runs task 1.2 again on top of 1.1\n"
    )
    assert shown.startswith("task 1.2 Do 1.2: changed")
    assert shown.endswith(both)
    assert alone == both
    assert project.call("diff", "1.2").expect(0).out.count("conflict") == 0
    assert "no conflict is left" in project.call("diff", "1.3", "--conflicts").expect(0).out


def test_words_name_a_run_or_a_task_of_the_newest(project: Project) -> None:
    first = project.run(project.tasks({"1.1": "touch old"})).expect(0).run
    second = project.run(
        project.plan("# Demo\n\n## Task 2: Two\n\n**Run:**\n\n```sh\necho hi; touch new\n```\n")
    )
    run = second.expect(0).run

    def err(*arguments: str) -> str:
        return project.call(*arguments).expect(2).err

    assert "hi" in project.call("logs", "latest", "2").expect(0).out
    assert "b/old" in project.call("diff", first, "1.1").expect(0).out
    assert "b/new" in project.call("diff", "2").expect(0).out  # though every run's id begins with it
    assert "hi" in project.call("logs", "2").expect(0).out
    assert f"there is no run 1.1, and the newest run, {run}, has no task 1.1" in err("diff", "1.1")
    assert "two tasks" in err("logs", first, "1.1", "1.2")


@pytest.mark.parametrize("names", [(), ("1.1", "1.2")])
def test_an_attempt_is_that_of_one_task(project: Project, names: tuple[str, ...]) -> None:
    done: Done = project.run(project.tasks(SCRIPTS)).expect(0)

    assert "--attempt needs one TASK" in project.call("diff", done.run, *names, "--attempt", "1").expect(2).err


def test_retry_and_cancel_mean_the_newest_run(project: Project) -> None:
    script = 'test -e "$SHARED/go"; touch "$SHARED/go"'
    project.run(project.tasks({"1.1": "true", "1.2": f'touch "$SHARED/$(ls "$SHARED" | wc -l)"; {script}'}))
    (project.shared / "go").touch()

    again = project.call("retry", "1.1", "--json").expect(1)
    rest = project.call("retry", "--json").expect(0)

    assert [record["task"] for record in again.events("task_started")] == ["1.1"]
    assert [record["task"] for record in rest.events("task_started")] == ["1.2"]
    assert "has ended: succeeded" in project.call("cancel").expect(2).err
