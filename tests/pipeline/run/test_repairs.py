"""An agent whose step or verification failed is called again, with what failed."""

import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from project import Done, Project, one_sentence, wait_for

from pipeline.store.store import Store
from tasks.agent_report import Tokens

AGENT = """\
n=$(ls "$SHARED" | grep -c "^$PATCHYARD_TASK-prompt-")
cat > "$SHARED/$PATCHYARD_TASK-prompt-$((n + 1))"
echo "round $PATCHYARD_ROUND" >> "$SHARED/$PATCHYARD_TASK-rounds"
echo "line $((n + 1))" >> work.txt
echo "session cost: \\$0.25"
echo '{"type":"item.completed","item":{"type":"agent_message","text":"It is longer."}}'
echo '{"type":"turn.completed","usage":{"input_tokens":1000,"output_tokens":10}}'
sh "$SHARED/more" || exit 1
"""
"""An agent that adds a line to a file in each call, and keeps its prompts."""
ENOUGH = "test $(wc -l < work.txt) -ge {}"


@pytest.fixture
def repaired(project: Project) -> Project:
    """A project with an agent named `mine`."""
    (project.shared / "more").write_text("")
    project.declare_agent(AGENT, cost=r"cost: \$(?P<cost>[0-9.]+)", format="codex")
    return project


def plan(project: Project, *verification: str, fields: str = "") -> Path:
    checks = "".join(f"- [ ] `{command}`\n" for command in verification)
    text = f"# Demo\n\n### Task 1.1: Grow\n\nMake the file grow.\n\n{fields}**Verification:**\n{checks}"
    return project.plan(text)


def prompts(project: Project, task: str = "1.1") -> list[str]:
    found = sorted(project.shared.glob(f"{task}-prompt-*"))
    return [path.read_text() for path in found]


def rounds(project: Project, task: str = "1.1") -> list[int]:
    text = (project.shared / f"{task}-rounds").read_text()
    return [int(line.split()[1]) for line in text.splitlines()]


def stored(project: Project, run: str) -> list[tuple[int, int, float | None, str | None]]:
    with Store.beside(project.root / ".git") as store:
        return [
            (one.attempt, one.number, one.cost, one.failure.step if one.failure else None)
            for one in store.rounds(run)
        ]


def title(command: str) -> str:
    return command if len(command) <= 80 else command[:79].rstrip() + "…"


def test_agent_is_given_what_failed_and_repairs_it(repaired: Project) -> None:
    check = f"seq 300; printf '\\033[31mwhy: too short\\033[0m\\n'; {ENOUGH.format(2)}"
    done = repaired.run(plan(repaired, check)).expect(0)

    outcome = done.outcome("1.1")
    assert (outcome["status"], outcome["rounds"], outcome["cost"]) == ("changed", 2, 0.5)
    assert (outcome["tokens"], outcome["said"]) == ({"input": 2000, "output": 20}, "It is longer.")
    with Store.beside(repaired.root / ".git") as store:
        assert [one.tokens for one in store.rounds(done.run)] == [Tokens(1000, 10)] * 2
    assert repaired.show("patchyard/demo/1.1:work.txt") == "line 1\nline 2"
    first, second = prompts(repaired)
    assert second.startswith("# Try 2 of 3\n")
    assert "ended with exit code 1" in second
    assert "work.txt | 1 +" in second
    assert "\nwhy: too short\n" in second
    assert "\n102\n" in second  # the last 200 lines of 301
    assert "\n101\n" not in second
    assert second.endswith(first)
    given = repaired.call("logs", done.run, "1.1", "--prompt").expect(0)
    assert given.out == f"--- round 1 ---\n\n{first}\n--- round 2 ---\n\n{second}\n"
    assert rounds(repaired) == [1, 2]
    (event,) = done.events("repair_started")
    assert (event["task"], event["round"], event["rounds"], event["exit_code"]) == ("1.1", 2, 3, 1)
    assert stored(repaired, done.run) == [(1, 1, 0.25, title(check)), (1, 2, 0.25, None)]
    assert [step["number"] for step in done.events("step_finished")] == [1, 2, 3, 4]


def test_repairs_end_when_they_are_spent(repaired: Project) -> None:
    done = repaired.run(plan(repaired, ENOUGH.format(9)), "--repairs", "1").expect(1)

    assert rounds(repaired) == [1, 2]
    outcome = done.outcome("1.1")
    assert (outcome["status"], outcome["rounds"], outcome["cost"]) == ("failed", 2, 0.5)
    assert outcome["files"] == ["work.txt"]
    assert stored(repaired, done.run)[-1][:2] == (1, 2)
    with Store.beside(repaired.root / ".git") as store:
        first, last = store.rounds(done.run)
        (attempt,) = store.attempts(done.run)
    assert first.patch
    assert last.patch is None  # it is that of the attempt, and taken once
    assert attempt.patch
    assert attempt.patch.files == ("work.txt",)


@pytest.mark.parametrize(
    ("fields", "options", "count"),
    [
        ("**Repairs:** 0\n\n", (), 1),
        ("**Repairs:** none\n\n", ("--repairs", "2"), 3),
        ("**Repairs:** 3\n\n", (), 4),
    ],
)
def test_number_of_repairs(repaired: Project, fields: str, options: tuple[str, ...], count: int) -> None:
    repaired.run(plan(repaired, "false", fields=fields), *options).expect(1)
    assert len(rounds(repaired)) == count


def test_failed_step_of_agent_is_repaired(repaired: Project) -> None:
    (repaired.shared / "more").write_text(ENOUGH.format(2) + " || { echo 'no way'; false; }\n")
    done = repaired.run(plan(repaired)).expect(0)

    assert done.outcome("1.1")["rounds"] == 2
    assert "no way" in prompts(repaired)[1]
    assert "the agent's step ended with exit code 1" in prompts(repaired)[1]


def test_what_cannot_succeed_is_not_repaired(repaired: Project) -> None:
    """Neither a set-up that failed, nor commands, nor a task whose time is over."""
    repaired.run(plan(repaired, "sleep 30", fields="**Timeout:** 1s\n\n")).expect(1)
    assert rounds(repaired) == [1]
    commands = repaired.tasks({"1.1": 'echo x >> "$SHARED/ran"; false'}, "commands.md")
    repaired.run(commands, "--repairs", "2").expect(1)
    assert (repaired.shared / "ran").read_text() == "x\n"
    with (repaired.root / "patchyard.toml").open("a") as file:
        file.write('[worktree]\nsetup = ["false"]\n')
    repaired.run(plan(repaired)).expect(1)
    assert rounds(repaired) == [1]


def test_commands_are_repaired_if_the_task_says_so(project: Project) -> None:
    script = 'echo "$PATCHYARD_ROUND" >> rounds.txt'
    check = {"1.1": "**Repairs:** 2\n\n**Verification:**\n- [ ] `test $(wc -l < rounds.txt) = 3`\n"}
    project.run(project.tasks({"1.1": script}, fields=check)).expect(0)
    assert project.show("patchyard/demo/1.1:rounds.txt") == "1\n2\n3"


def test_secret_is_in_no_prompt(repaired: Project) -> None:
    text = (repaired.root / "patchyard.toml").read_text()
    (repaired.root / "patchyard.toml").write_text('secrets = ["TOKEN"]\n' + text)
    check = f"echo key=$TOKEN; {ENOUGH.format(2)}"
    repaired.environ |= {"TOKEN": "s3cr3t-5d1e-value"}
    repaired.run(plan(repaired, check)).expect(0)
    second = prompts(repaired)[1]
    assert "key=***" in second
    assert "s3cr3t" not in second


def test_changes_of_set_up_are_in_no_patch(repaired: Project) -> None:
    with (repaired.root / "patchyard.toml").open("a") as file:
        file.write('[worktree]\nsetup = ["echo set up > set-up.txt"]\n')
    done = repaired.run(plan(repaired, ENOUGH.format(2))).expect(0)
    assert done.outcome("1.1")["files"] == ["work.txt"]
    assert "set-up.txt" not in prompts(repaired)[1]


def test_repaired_task_is_not_a_first_try_in_the_cache(repaired: Project) -> None:
    task = plan(repaired, ENOUGH.format(2))
    repaired.run(task).expect(0)
    again = repaired.run(task).expect(0)
    assert (again.outcome("1.1")["cached"], len(prompts(repaired))) == (False, 4)


def test_cached_result_has_what_the_agent_said(repaired: Project) -> None:
    task = plan(repaired, ENOUGH.format(1))
    first, again = (repaired.run(task).expect(0).outcome("1.1") for _ in range(2))
    assert (first["said"], first["cost"]) == ("It is longer.", 0.25)
    assert (again["cached"], again["said"]) == (True, "It is longer.")
    assert not {"cost", "tokens"} & again.keys()  # it cost nothing now


def test_retry_names_the_last_failure(repaired: Project) -> None:
    check = f"echo the reason; {ENOUGH.format(2)}"
    done = repaired.run(plan(repaired, check), "--repairs", "0").expect(1)
    assert repaired.call("retry", done.run).expect(1)
    first, second = prompts(repaired)
    assert "the reason" in second
    assert "Nothing of what it did is in the current directory" in second
    assert second.endswith(first)
    assert "work.txt |" not in second

    kept = repaired.call("retry", done.run, "--keep", "--json").expect(0)
    assert kept.outcome("1.1")["files"] == ["work.txt"]
    assert repaired.show("patchyard/demo/1.1:work.txt") == "line 2\nline 3"
    assert "What it left is in the current directory" in prompts(repaired)[2]


def test_feedback_is_in_the_next_prompt_and_stored_with_the_attempt(repaired: Project) -> None:
    done = repaired.run(plan(repaired, ENOUGH.format(1))).expect(0)
    asked = ("retry", done.run, "1.1", "--feedback", "Shorter, and s3cr3t-5d1e-value.")
    secret = {"TOKEN": "s3cr3t-5d1e-value"}
    text = (repaired.root / "patchyard.toml").read_text()
    (repaired.root / "patchyard.toml").write_text('secrets = ["TOKEN"]\n' + text)
    repaired.call(*asked, environ=secret).expect(0)
    first, second = prompts(repaired)
    assert second.startswith("# Again, with feedback\n\nA person looked at the last try")
    assert "Nothing of it is in the current directory" in second
    assert "## The feedback\n\nShorter, and ***.\n" in second
    assert second.endswith(first)

    (repaired.shared / "more").write_text(ENOUGH.format(4) + "\n")
    kept = repaired.call(*asked[:4], "Longer.", "--keep", "--json", environ=secret).expect(0)
    assert kept.outcome("1.1")["rounds"] == 3
    third, fourth = prompts(repaired)[2:4]
    assert "change it as the feedback says" in third
    assert fourth.startswith("# Try 2 of 3\n"), "a repair is given the feedback too"
    assert fourth.endswith(third)
    assert repaired.show("patchyard/demo/1.1:work.txt").count("\n") == 3
    with Store.beside(repaired.root / ".git") as store:
        said = [one.feedback for one in store.attempts(done.run, "1.1")]
        assert store.feedback(done.run) == {}
    assert said == [None, "Shorter, and ***.", "Longer."]


def test_feedback_needs_an_agent(project: Project) -> None:
    done = project.run(project.tasks({"1.1": "false"})).expect(1)
    for tasks, message in (
        (("1.1",), "task 1.1 has commands and no agent"),
        ((), "no task that runs again is"),
    ):
        refused = project.call("retry", done.run, *tasks, "--feedback", "Better.")
        assert message in one_sentence(refused)


def interrupted(project: Project, number: int) -> Done:
    """Run a plan whose agent is interrupted in its second round, and resume it."""
    there, go = project.shared / "there", project.shared / "go"
    wait = f'[ "$PATCHYARD_ROUND" != 2 ] || [ -e "{go}" ] || {{ touch "{there}"; sleep 60; }}'
    (project.shared / "more").write_text(wait)
    with project.start("run", plan(project, ENOUGH.format(2)), "--json") as started:
        wait_for(there.exists, "the second round")
        started.signal(number)
        started.done()
    go.touch()
    return project.call("resume", "--json").expect(0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_repair_continues_after_the_rounds_that_ended(repaired: Project, number: int) -> None:
    done = interrupted(repaired, number)

    assert rounds(repaired) == [1, 2, 2]  # the first one is not run again
    outcome = done.outcome("1.1")
    assert (outcome["status"], outcome["rounds"]) == ("changed", 2)
    # Of both rounds, and of the call that was cut off, if it could still be asked what it had cost.
    assert outcome["cost"] == (0.5 if number == signal.SIGKILL else 0.75)
    assert repaired.show("patchyard/demo/1.1:work.txt") == "line 1\nline 3"
    assert stored(repaired, done.run) == [(1, 1, 0.25, ENOUGH.format(2)), (2, 2, 0.25, None)]


def test_result_of_a_last_round_is_whole(repaired: Project) -> None:
    """The process was killed when the round was stored, and its outcome was not."""
    done = repaired.run(plan(repaired, ENOUGH.format(2))).expect(0)
    with closing(sqlite3.connect(repaired.root / ".git" / "patchyard" / "patchyard.db")) as database:
        database.execute("DELETE FROM tasks")
        database.execute("UPDATE attempts SET status = 'cancelled', exit_code = NULL")
        database.execute("UPDATE runs SET status = 'interrupted'")
        database.commit()
    resumed = repaired.call("resume", done.run, "--json").expect(0)

    before, after = done.outcome("1.1"), resumed.outcome("1.1")
    assert len(prompts(repaired)) == 2
    for name in ("status", "rounds", "cost", "tokens", "said", "seconds", "files"):
        assert after[name] == before[name], name


def test_interrupted_repair_with_set_up(repaired: Project) -> None:
    """What an attempt continues is part of its patch, though it was there before the set-up."""
    with (repaired.root / "patchyard.toml").open("a") as file:
        file.write('[worktree]\nsetup = ["echo set up > set-up.txt"]\n')
    done = interrupted(repaired, signal.SIGKILL)
    assert done.outcome("1.1")["files"] == ["work.txt"]
    assert repaired.show("patchyard/demo/1.1:work.txt") == "line 1\nline 3"


def test_wrong_number_of_repairs(repaired: Project) -> None:
    bad = repaired.call("check", plan(repaired, fields="**Repairs:** many\n\n"))
    assert bad.code == 2
    assert ":7:14: error: expected a whole number from 0 to 100, not `many`" in bad.err
