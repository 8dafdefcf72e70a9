"""What a terminal holds during a run, and afterwards."""

import re

import pytest
from emulator import Emulator
from project import Project, meet, wait_for

GATE = 'while [ ! -e "$SHARED/go" ]; do sleep 0.01; done\n'
SAY = "printf '\\033[1;31mcompiling \\033]0;owned\\007the %s module\\033[0m\\n'"


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_the_table_has_the_task_its_step_its_time_and_its_last_line(project: Project, columns: int) -> None:
    plan = project.tasks(
        {
            "1.1": "touch a; " + meet(3) + f"{SAY % 'first'}\n" + GATE,
            "1.2": meet(3) + f"{SAY % 'second'}\n" + GATE + "echo 'no such symbol'; exit 3",
            "1.3": meet(3) + GATE,
        }
    )

    with Emulator(project, "run", plan, "--pool-size", "3", columns=columns) as terminal:
        terminal.wait_for(r"the first module")
        terminal.wait_for(r"the second module")
        terminal.wait_for(r"wt-3")
        shown = terminal.lines
        title = terminal.screen.title
        (project.shared / "go").touch()
        assert terminal.exit_code() == 1

    for number in (1, 2, 3):
        assert any(re.search(rf"wt-\d +1\.{number} .*run 1: .*\d+ s", line) for line in shown), shown
    assert any(re.match(r"0 of 3 tasks done, 3 running, \d+ s", line) for line in shown), shown
    assert all(len(line) < columns for line in shown if "running" in line or "run 1" in line)
    assert title == "0/3: Demo - patchyard"
    assert terminal.everything.count("tasks done") == 0
    assert "1.1 changed in" in terminal.everything
    assert re.search(r"wt-\d 1\.2 failed in .*: no such symbol", terminal.everything.replace("\n", ""))
    table = terminal.everything.partition("\ntask ")[2].splitlines()[1:4]
    assert [line.split()[0] for line in table] == ["1.1", "1.2", "1.3"]  # each on one line
    assert table[0].endswith("/1.1")
    assert not terminal.screen.cursor.hidden


def test_the_colour_of_a_finished_task_reaches_nothing_else(project: Project) -> None:
    plan = project.tasks({"1.1": "touch a", "1.2": meet(1, "other") + GATE, "1.3": "exit 4"})

    with Emulator(project, "run", plan, "--pool-size", "3", columns=110) as terminal:
        terminal.wait_for(r"1 of 3 tasks done, 1 failed, 1 running")
        colours = {line: terminal.colours(number) for number, line in enumerate(terminal.lines) if line}
        (project.shared / "go").touch()
        terminal.exit_code()

    def of(pattern: str) -> set[str]:
        return next(found for line, found in colours.items() if re.search(pattern, line))

    assert of(r"1\.1 changed in") == {"green"}
    assert of(r"wt-\d 1\.3 failed in") == {"red"}
    assert of(r"wt-\d +1\.2 +Do 1\.2") == {"cyan", "default"}
    assert of("worktree +task +title +step +time +output") == {"default"}


@pytest.mark.parametrize("reflows", [True, False])
def test_ctrl_c_and_a_narrower_window_leave_no_table_behind(project: Project, *, reflows: bool) -> None:
    scripts = {f"1.{number}": meet(4) + f"echo step {number}: {'x' * 90}\n" + GATE for number in range(1, 5)}
    plan = project.tasks(scripts)

    with Emulator(project, "run", plan, "--pool-size", "4", columns=150, rows=40, reflows=reflows) as terminal:
        terminal.wait_for(r"wt-4 .* step \d: x+")
        terminal.type(b"\n\nabc")
        terminal.resize(70, 40)
        terminal.wait_for(r"4 running.*\n*\Z")
        terminal.wait_until(lambda: max(map(len, terminal.lines)) < 70, "narrow lines")
        narrow = terminal.everything
        terminal.resize(61, 40)
        terminal.type(b"\x03")
        assert terminal.exit_code() == 130
        everything = terminal.everything

    assert narrow.count("tasks done") == 1, narrow
    assert [narrow.count(f"wt-{number} ") for number in range(1, 5)] == [1, 1, 1, 1], narrow
    assert " running, " not in everything  # the last line of the live table
    assert "abc" not in everything
    assert "^C" not in everything
    assert "silent" not in everything
    assert len(re.findall(r"^wt-\d ", everything, re.MULTILINE)) == 4, everything


def test_ctrl_c_cancels_the_run(project: Project) -> None:
    plan = project.tasks({"1.1": 'touch half; touch "$SHARED/in"; sleep 60'})

    with Emulator(project, "run", plan) as terminal:
        wait_for((project.shared / "in").exists)
        terminal.type(b"\x03")
        code = terminal.exit_code()

    assert code == 130
    assert "cancelled: the running tasks are being ended" in " ".join(terminal.everything.split())
    assert project.call("status", "--json").records[0]["tasks"][0]["files"] == ["half"]


def test_the_end_of_a_run_is_a_notification_if_that_is_wanted(project: Project) -> None:
    plan = project.tasks({"1.1": "touch a"})

    with Emulator(project, "run", plan, "--notify-desktop", environ={"VTE_VERSION": "8000"}) as terminal:
        assert terminal.exit_code() == 0

    assert b"\x1b]777;notify;patchyard;Demo: succeeded: 1 changed, in " in terminal.bytes
    assert terminal.bytes.rstrip().endswith(b"\a")
    assert b"\x1b]9;4;1;" in terminal.bytes
    assert b"\x1b]9;4;0;0\x1b\\" in terminal.bytes
    assert "notify;" not in terminal.everything


def test_the_output_of_an_agent_is_rendered_and_masked(project: Project) -> None:
    content = '[{"type":"text","text":"I use s3cret-token now"}]'
    said = f'{{"type":"assistant","session_id":"x","message":{{"content":{content}}}}}'
    unknown = '{"type":"of_a_later_version"}'
    project.declare_agent(f"echo '{said}'; echo '{unknown}'\n{GATE}echo x > x", format="claude")
    config = project.root / "patchyard.toml"
    config.write_text(f'secrets = ["TOKEN"]\n{config.read_text()}')
    plan = project.plan("# Demo\n\n### Task 1.1: Do\n\nDo it.\n")

    with Emulator(project, "run", plan, environ={"TOKEN": "s3cret-token"}) as terminal:
        terminal.wait_for(r"I use \*\*\* now")
        shown = "\n".join(terminal.lines)
        (project.shared / "go").touch()
        assert terminal.exit_code() == 0

    assert "of_a_later_version" not in shown
    assert '"text"' not in shown
    assert "s3cret-token" not in terminal.everything
