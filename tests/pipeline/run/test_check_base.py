"""`--check-base`: verification that fails where tasks start is reported, and changes no result."""

import signal

import pytest
from project import Done, Project, runs, wait_for

from pipeline.store.store import Store

COUNT = 'echo "$PATCHYARD_ROUND $(git rev-parse HEAD)" >> "$SHARED/{}"; '
"""Part of a verification: notes in which round, and on which commit, it ran."""


MARK = "fails without the task's change"
MARKS = {
    "json": {'"fails_before": [\n': 2},
    "markdown": {"- **1.1** `{}`\n": 1, "- **1.2** `{}`, and with it\n": 1},
    "junit": {f"(exit code 0; {MARK})": 1, f"(exit code 1; {MARK})": 1},
    "html": {f"<small>{MARK}</small>": 1, f"<small>{MARK} too</small>": 1},
}
"""What reports have, and how often: one task succeeds with its change, another fails with it, too."""


def check(name: str, rest: str) -> str:
    """Return the field of a verification of one command, whose title has its name."""
    return f"**Verification:**\n- `: {name}; {COUNT.format(name)}{rest}`\n\n"


def at_base(project: Project, name: str) -> list[str]:
    """Return the commits on which a verification ran before any task had changed something there."""
    lines = [line.split() for line in (project.shared / name).read_text().splitlines()]
    return [commit for number, commit in lines if number == "0"]


def checks(project: Project, run: str) -> list[tuple[str, str, int | None, bool]]:
    """Return start, name, exit code and failure of the stored checks of a run."""
    with Store.beside(project.root / ".git") as store:
        return [
            (one.start, one.command.split(";")[0][2:], one.exit_code, one.failure is not None)
            for one in store.base_checks(run)
        ]


def test_each_command_runs_once_at_each_start(project: Project) -> None:
    both = check("both", "test -e made")
    fields = {"1.1": both, "1.2": both, "1.3": check("fine", "true"), "2.1": both}
    scripts = {"1.1": "touch made", "1.2": "touch other", "1.3": "touch third", "2.1": "touch last"}
    base = project.clone.git("rev-parse", "main")

    done = project.run(project.tasks(scripts, fields=fields), "--check-base", "--keep-going").expect(1)

    second = done.events("batch_started")[1]["start"]
    assert at_base(project, "both") == [base, second]
    assert at_base(project, "fine") == [base]
    found = [(base, "both", 1, True), (base, "fine", 0, False), (second, "both", 0, False)]
    assert sorted(checks(project, done.run)) == sorted(found)
    title = str(done.outcome("1.1")["fails_before"][0])
    assert title.startswith(": both;")
    assert done.outcome("1.1")["status"] == done.outcome("2.1")["status"] == "changed"
    failed = done.outcome("1.2")
    assert failed["fails_before"] == [title]
    assert failed["error"] == f"verify step 2 `{title}` ended with exit code 1; it {MARK} too"
    assert "fails_before" not in done.outcome("1.3")
    assert "fails_before" not in done.outcome("2.1")
    started, ended = done.events("base_check_started"), done.events("base_check_finished")
    assert sorted((one["start"], len(one["commands"])) for one in started) == sorted(
        [(base, 1), (base, 1), (second, 1)]
    )
    assert [one["failed"] for one in ended if one["task"] != "1.3"] == [[title], []]
    shown = project.call("status", done.run).expect(0).out
    assert f"task 1.1: `{title}` {MARK} task 1.2: `{title}` {MARK} too" in " ".join(shown.split())
    table = project.call("run", "--check-base", project.plans / "plan.md").out  # 1.1 and 2.1 are cached
    assert f"task 1.2: `{title}` {MARK} too" in " ".join(table.split())
    assert "task 1.1:" not in table
    for name, marks in MARKS.items():
        shown = project.call("report", done.run, "--format", name).expect(0).out
        assert {text: shown.count(text.replace("{}", title)) for text in marks} == marks, shown
    log = project.call("logs", done.run, "1.2", "--base").expect(0).out
    assert (log.count(f"$ {title}\n"), log.count("\n[exit code 1, ")) == (1, 1)
    assert project.call("logs", done.run, "1.3", "--base").expect(0).out.startswith("$ : fine;")


def test_what_is_cached_or_skipped_is_not_checked(project: Project) -> None:
    fields = {"1.1": check("one", "true"), "1.2": "**Dependencies:** 1.1\n\n" + check("two", "test -e a")}
    plan = project.tasks({"1.1": "touch a", "1.2": "touch b"}, fields=fields, front="check_base: true")
    first = project.run(plan).expect(0)
    made = first.outcome("1.1")["commit"]
    assert at_base(project, "two") == [made]  # its own start point has what it depends on

    again = project.run(plan).expect(0)

    assert again.outcome("1.2")["cached"]
    assert again.events("base_check_started") == []
    assert checks(project, again.run) == []
    assert len((project.shared / "two").read_text().splitlines()) == 2
    failing = project.tasks({"1.1": "exit 3", "1.2": "touch b"}, "failing.md", fields=fields)
    done = project.run(failing, "--check-base").expect(1)
    assert done.statuses["1.2"] == "skipped"
    assert [one["task"] for one in done.events("base_check_started")] == ["1.1"]


AGENT = """\
cat > "$SHARED/prompt-$PATCHYARD_ROUND"
echo "line" >> work.txt
"""


def test_each_prompt_says_what_fails(project: Project) -> None:
    project.declare_agent(AGENT)
    project.environ |= {"TOKEN": "hunter2hunter2", "PATCHYARD_SECRETS": "TOKEN"}
    verification = "- `echo fine`\n- `seq 2000; echo $TOKEN; test $(cat work.txt | wc -l) -eq 2`\n"
    text = f"# Demo\n\n### Task 1.1: Grow\n\nMake it grow.\n\n**Verification:**\n{verification}"
    plan = project.plan(text)

    done = project.run(plan, "--check-base").expect(0)

    assert done.outcome("1.1")["rounds"] == 2
    first, second = (project.shared / name for name in ("prompt-1", "prompt-2"))
    note = first.read_text().partition("## What fails without your change too\n")[2]
    assert "The verification command `seq 2000; echo $TOKEN; test $(cat work.txt | wc -l) -eq 2` ended" in note
    assert "echo fine" not in note
    assert "2000\n***" in note
    assert len(note) < 3000
    assert "hunter2" not in first.read_text() + second.read_text()
    assert second.read_text().endswith(note)
    assert "exit code 1. It fails without the task's change too. What it left" in second.read_text()
    assert project.run(plan).expect(0).outcome("1.1")["cached"] is False  # it was repaired


def test_prompt_of_a_first_try_that_succeeds_leaves_the_key_as_it_is(project: Project) -> None:
    project.declare_agent(AGENT)
    plan = project.plan("# Demo\n\n### Task 1.1: Grow\n\nGrow.\n\n**Verification:**\n- `test -e work.txt`\n")
    done = project.run(plan, "--check-base").expect(0)
    assert "## What fails without your change too\n" in (project.shared / "prompt-1").read_text()
    assert done.outcome("1.1")["fails_before"] == ["test -e work.txt"]

    again = project.run(plan).expect(0).outcome("1.1")

    assert again["cached"]
    assert "fails_before" not in again


@pytest.mark.parametrize("when", ["check", "task"])
def test_resume_does_not_check_again(project: Project, when: str) -> None:
    fields = {
        "1.1": check("one", "test -e a")
        + '- `touch "$SHARED/at-$PATCHYARD_ROUND"; test ! -e "$SHARED/wait" || sleep 60`\n'
    }
    wait = "" if when == "check" else 'test -e "$SHARED/was" || touch "$SHARED/wait" "$SHARED/was"'
    plan = project.tasks({"1.1": f"touch a\n{wait}"}, fields=fields)
    if when == "check":
        (project.shared / "wait").touch()
    with project.start("run", plan, "--check-base", "--json") as run:
        wait_for((project.shared / ("at-0" if when == "check" else "at-1")).exists, "the verification")
        run.signal(signal.SIGKILL)
    (project.shared / "wait").unlink()

    done = project.call("resume", "--json").expect(0)

    assert len(at_base(project, "one")) == 1
    events = done.events("base_check_finished")
    assert [one["command"][:5] for event in events for one in event["results"]] == (
        [] if when == "task" else ["touch"]
    )
    assert len(done.outcome("1.1")["fails_before"]) == 1


def said(done: Done) -> list[str]:
    return [record["message"] for record in done.events("notice")]


def test_time_limit_and_failed_setup_leave_the_task_as_it_is(project: Project) -> None:
    """What was not checked is reported, and is not tried again for the next task that has it."""
    teardown = '[worktree]\nteardown = [\'echo "$PATCHYARD_ROUND" >> "$SHARED/ended"\']\n'
    project.configure(teardown)
    slow = "**Timeout:** 1s\n\n**Verification:**\n- `test -e a || sleep 30`\n- `true`\n\n"
    done = project.run(project.tasks({"1.1": "touch a"}, fields={"1.1": slow}), "--check-base").expect(0)
    (ended,) = done.events("base_check_finished")
    assert [(one["command"], one["timed_out"]) for one in ended["results"]] == [("test -e a || sleep 30", True)]
    assert ended["problem"] == "the time limit of the task, 1 s, had passed"
    assert "task 1.1 was not checked where it starts (`true`): the time limit" in str(said(done))
    assert done.outcome("1.1")["fails_before"] == ["test -e a || sleep 30"]
    assert (project.shared / "ended").read_text() == "0\n1\n"
    project.configure(teardown + "setup = ['test -e a']\n")
    fields = dict.fromkeys(("1.1", "1.2"), check("one", "true"))
    done = project.run(project.tasks({"1.1": "", "1.2": ""}, fields=fields), "--check-base", "--agent", "true")
    (ended,) = done.expect(1).events("base_check_finished")
    assert ended["results"] == []
    assert "the set-up command `test -e a` failed; its output is in " in done.err + str(ended["problem"])
    assert not (project.shared / "one").exists()
    assert done.statuses == {"1.1": "failed", "1.2": "failed"}


def test_retry_checks_what_failed_again(project: Project) -> None:
    fields = {"1.1": check("one", 'test -e "$SHARED/installed"') + "- `true`\n"}
    first = project.run(project.tasks({"1.1": "touch a"}, fields=fields), "--check-base").expect(1)
    assert "too\n" in project.call("status", first.run).out
    (project.shared / "installed").touch()

    done = project.call("retry", first.run, "--json").expect(0)

    (ended,) = done.events("base_check_finished")
    assert (len(ended["results"]), ended["failed"]) == (1, [])
    assert "fails_before" not in done.outcome("1.1")


def test_cancelled_check_ends_its_command(project: Project) -> None:
    fields = {"1.1": '**Verification:**\n- `echo $$ > "$SHARED/pid"; sleep 60`\n'}
    plan = project.tasks({"1.1": "touch a"}, fields=fields)
    with project.start("run", plan, "--check-base", "--json") as run:
        wait_for((project.shared / "pid").exists, "the check")
        run.signal(signal.SIGTERM)
        done = run.done()
    assert done.outcome("1.1")["status"] == "cancelled"
    (ended,) = done.events("base_check_finished")
    assert ended["results"] == []
    assert checks(project, done.run) == []
    assert runs([int((project.shared / "pid").read_text())]) == []
