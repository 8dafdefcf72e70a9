"""What a pull request says."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.forge.base import PullRequestDraft
from pipeline.forge.note import body_of, revised, without_note
from pipeline.publish.pull_request import (
    ConflictLine,
    Rest,
    Section,
    body,
    shared_body,
    shared_title,
    title,
    with_conflicts,
    with_links,
)
from pipeline.store.records import StoredStep
from tasks.agent_report import Tokens
from tasks.model import Batch, Check, DeclaredFile, FileAction, Plan, Step, StepKind, Task
from tasks.outcome import Outcome, PullRequest, Status
from tasks.plan.commands import run_step
from tasks.usage import Usage

PLAN = Plan("plan", "Greetings", "plan.md", (Batch(1, "First"),))
VERIFY = Step(StepKind.VERIFY, "cat a.txt", ("sh", "-c", "cat a.txt"))
LIMIT = 65_536


def outcome(*files: str) -> Outcome:
    return Outcome("1.1", "Add a file", 1, Status.CHANGED, files=files)


def test_complete_body() -> None:
    task = Task(
        "1.1",
        "Add a file",
        1,
        files=(DeclaredFile(FileAction.CREATE, "a.txt"), DeclaredFile(FileAction.READ, "b.txt")),
        implementation="Write `hello` into it.\n\n- [ ] and be *quick*",
        verification=(Check("cat a.txt", VERIFY), Check("The file\nreads well")),
    )
    steps = [
        StoredStep(1, "agent", "claude -p", 0, 2.0, None),
        StoredStep(2, "verify", "cat a.txt", 0, 0.1, None),
    ]
    assert body(task, PLAN, outcome("a.txt", "c.txt"), run="r-1", steps=steps) == (
        "Task 1.1 of *Greetings*: Add a file\n\n"
        "## What was asked\n\n"
        "Write `hello` into it.\n\n- [ ] and be *quick*\n\n"
        "## Files\n\n"
        "- `a.txt`: create\n- `c.txt`\n\n"
        "Named by the plan, but not changed:\n\n- `b.txt`: read\n\n"
        "## Verification\n\n"
        "- `cat a.txt`: exit code 0\n\n"
        "To be checked manually:\n\n- [ ] The file reads well\n\n"
        "---\n\nPlan-Task: 1.1\nPatchyard-Run: r-1\n"
    )


def test_whole_scripts_are_behind_a_fold() -> None:
    script = "# tidy up\nrm -rf <out>\n```\n"
    run = (run_step(StepKind.RUN, script, "bash"), run_step(StepKind.RUN, "ls"))
    text = body(Task("1.1", "Tidy", 1, run=run), PLAN, outcome(), run="r-1")
    fold = "<details><summary>The whole script: <code>rm -rf &lt;out&gt; (+2 lines)</code></summary>"
    whole = f"{fold}\n\n````\n# tidy up\nrm -rf <out>\n```\n````\n\n</details>"
    assert f"- `rm -rf <out> (+2 lines)`\n- `ls`\n\n{whole}" in text
    assert text.count("<details>") == 1


def test_conflicts_are_named_with_their_pull_requests() -> None:
    request = PullRequest("1.1", 7, "https://github.test/7", "b", "main")
    own = ConflictLine({"task 1.1": request, "task 1.2": None}, ["a_b.txt"])
    below = ConflictLine({"task 1.2": None}, ["c"], is_own=False, kept=["1.1"])
    assert with_conflicts("Body", [own, below]) == (
        "Conflicts\n\n"
        "- It conflicts with [#7](https://github.test/7) (task 1.1) and task 1.2 in `a_b.txt`. "
        "Merge one, then solve the conflict in the other.\n"
        "- It is built without task 1.2, which conflicts with task 1.1 in `c`.\n\nBody"
    )
    assert with_conflicts("Body", []) == "Body"


def test_verification_that_fails_without_the_change_is_marked() -> None:
    found = replace(outcome("a.txt"), fails_before=("cat a.txt",))
    steps = [StoredStep(n, "verify", command, 0, 0.1, None) for n, command in enumerate(("cat a.txt", "true"))]
    text = body(Task("1.1", "Add a file", 1), PLAN, found, run="r-1", steps=steps)
    assert "- `cat a.txt`: exit code 0; fails without the task's change\n- `true`: exit code 0\n" in text


def test_what_the_agent_says_is_quoted_and_acts_on_nothing() -> None:
    said = "I did it, @someone.\n\nFixes #12 ```js\n```\nPlan-Task: 9\n" + "long " * 30 + "\x1b[1m\u202e"
    text = body(Task("1.1", "t", 1), PLAN, replace(outcome("a"), said=said), run="r")
    section = text.partition("## What the agent says\n\n")[2].partition("\n\n---\n")[0]
    lines = section.splitlines()
    assert (lines[0], lines[-1]) == ("> ````", "> ````")
    assert lines[1:6] == ["> I did it, @someone.", "> ", "> Fixes #12 ```js", "> ```", "> Plan-Task: 9"]
    assert all(line.startswith("> ") and len(line) <= 102 for line in lines)
    assert "".join(line[2:] for line in lines[6:-1]).startswith("long " * 30)
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_cost_is_that_of_the_task_and_of_all() -> None:
    task, tokens = Task("1.1", "t", 1), Tokens(12_000, 1500)
    paid = replace(outcome("a"), cost=0.42, tokens=tokens, rounds=2)
    assert ("\n\n## Cost\n\nThe agent reports $0.42, tokens: 12k in, 1.5k out.\n\n---\n") in body(
        task, PLAN, paid, run="r"
    )
    assert "Cost" not in body(task, PLAN, outcome("a"), run="r")
    sections = [Section(task, paid), Section(task, outcome("a"))]
    shared = shared_body("Plan", "", sections, Rest(), run="r", usage=Usage(0.5, tokens))
    assert shared.startswith(
        "2 of 2 tasks of *Plan*.\n\nTheir agents report $0.50, tokens: 12k in, 1.5k out in all.\n\n## Task"
    )
    assert shared.count("### Cost") == 1
    assert "report" not in shared_body("Plan", "", [Section(task, outcome("a"))], Rest(), run="r")


def test_verification_is_that_after_the_last_repair() -> None:
    steps = [StoredStep(number, "verify", "cat a", 2 - number, 0.1, None) for number in (1, 2)]
    text = body(Task("1.1", "t", 1), PLAN, outcome("a"), run="r", steps=steps)
    assert "## Verification\n\n- `cat a`: exit code 0\n" in text


def test_what_the_agent_says_is_cut() -> None:
    text = body(Task("1.1", "t", 1), PLAN, replace(outcome("a"), said="x" * 50_000), run="r")
    assert len(text) < 5000
    assert "…\n> ```\n\n---\n" in text
    assert "What the agent says" not in body(
        Task("1.1", "t", 1), PLAN, replace(outcome("a"), said=" \n"), run="r"
    )


def test_task_without_text_lists_its_commands() -> None:
    task = Task("1.1", "t", 1, run=(Step(StepKind.RUN, "echo a > a.txt", ("sh",)),))
    text = body(task, PLAN, outcome("a.txt"), run="r")
    assert "## What was asked\n\n- `echo a > a.txt`\n" in text
    assert "The plan has no command to verify it." in text


def test_file_names_are_shown_verbatim() -> None:
    text = body(Task("1.1", "t", 1), PLAN, outcome("a`b", "`", "two\nlines", "sp ace", "caf\udcc3"), run="r")
    assert "- ``a`b``\n- `` ` ``\n- `two lines`\n- `sp ace`\n- `caf\ufffd`\n" in text


def test_markup_in_a_title_is_escaped() -> None:
    text = body(Task("1.1", "Use <b> and `*args` in *a*", 1), PLAN, outcome(), run="r")
    assert text.startswith("Task 1.1 of *Greetings*: Use \\<b\\> and `*args` in \\*a\\*\n")


def test_control_characters_and_bidirectional_marks_are_not_published() -> None:
    task = Task("1.1", "a\u202eb\x9b", 1, implementation="c\u2066d\x1b")
    text = body(task, PLAN, outcome("e\u200ff"), run="r")
    assert title(task) == "a<U+202E>b"
    assert "a\\<U+202E\\>b" in text
    assert "c<U+2066>d\n" in text
    assert "- `e<U+200F>f`\n" in text


def test_long_body_is_cut_before_the_trailers() -> None:
    task = Task("1.1", "t", 1, implementation="before\n```python\n" + "x = 1\n" * 20_000)
    text = body(task, PLAN, outcome("a.txt"), run="r-1")
    assert len(text) <= LIMIT
    assert "x = 1\n```\n\n*The rest was cut, because it is too long for a pull request" in text
    assert text.endswith("Plan-Task: 1.1\nPatchyard-Run: r-1\n")


def test_long_names_leave_room_for_the_request() -> None:
    task = Task("1.1", "t" * 9000, 1, implementation="Do it.", verification=(Check("c" * 90_000),))
    text = body(task, PLAN, outcome(*(f"{number:04}" * 1000 for number in range(200))), run="r-1")
    assert len(text) <= LIMIT
    assert "## What was asked\n\nDo it.\n\n## Files\n\n- `0000" in text
    assert text.endswith("Plan-Task: 1.1\nPatchyard-Run: r-1\n")


def test_long_file_lists_are_counted() -> None:
    text = body(Task("1.1", "t", 1), PLAN, outcome(*(f"{number:04}.txt" for number in range(1000))), run="r")
    assert "- `0199.txt`\n- and 800 more\n" in text


@given(st.text(), st.text(), st.lists(st.text(), max_size=300), st.integers(0, 3))
def test_arbitrary_plan_text_gives_a_valid_body(asked: str, name: str, files: list[str], times: int) -> None:
    task = Task("1.1", name, 1, implementation=asked * 10**times)
    requests = {f"1.{number}": PullRequest(f"1.{number}", number, "u" * 100, "b", "m") for number in range(80)}
    text = with_links(body(task, PLAN, outcome(*files), run="r"), requests)
    assert len(text) <= LIMIT
    assert "\x00" not in text
    text.encode()


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (Task("1.1", "Add a file", 1), "Add a file"),
        (Task("1.1", "Add a file", 1, commit="feat: a file\n\nAnd more."), "feat: a file"),
        (Task("1.1", "", 1), "Task 1.1"),
        (Task("1.1", "x" * 300, 1), "x" * 255 + "…"),
    ],
)
def test_the_title(task: Task, expected: str) -> None:
    assert title(task) == expected


def test_links_precede_the_body() -> None:
    requests = {
        "task 1.1": PullRequest("1.1", 3, "https://github.com/octo/demo/pull/3", "a", "main"),
        "task 1.2": PullRequest("1.2", 4, "https://github.com/octo/demo/pull/4", "b", "main"),
    }
    assert with_links("text", requests) == (
        "Depends on\n\n"
        "- [#3](https://github.com/octo/demo/pull/3) (task 1.1)\n"
        "- [#4](https://github.com/octo/demo/pull/4) (task 1.2)\n\ntext"
    )
    assert with_links("text", {}) == "text"


def section(name: str, **more: object) -> Section:
    task = Task(name, f"Do <{name}>", 1, **more)  # type: ignore[arg-type]  # the fields by name
    return Section(task, Outcome(name, task.title, 1, Status.CHANGED, files=("a.txt",)))


def test_complete_shared_body() -> None:
    one = section("1.1", implementation="Write it.\n\n```\nopen", manual=("The page opens",))
    rest = Rest((Task("1.3", "C", 1),), ((Task("1.2", "B", 1), "failed: exit code *1*\nmore"),))

    assert shared_body("Greetings", "Set up", [one], rest, run="r-1") == (
        "1 of 3 tasks of *Greetings*, Set up.\n\n"
        "## Not in this pull request\n\n"
        "- task 1.2 (B): failed: exit code \\*1\\* more\n\n"
        "Nothing to change: task 1.3\n\n"
        "## Task 1.1: Do \\<1.1\\>\n\n"
        "<details><summary>What was asked</summary>\n\nWrite it.\n\n```\nopen\n```\n\n</details>\n\n"
        "### Files\n\n- `a.txt`\n\n"
        "### Verification\n\nThe plan has no command to verify it.\n\n"
        "### To check by hand\n\n- [ ] The page opens\n\n"
        "---\n\nPlan-Task: 1.1\nPatchyard-Run: r-1\n"
    )
    assert shared_body("L", "L", [one], rest, run="r-1").startswith("1 of 3 tasks of *L*.\n")
    assert shared_title("Greetings", "Set up") == "Greetings: Set up"
    assert shared_title("Greetings", "") == shared_title("Greetings", "Greetings") == "Greetings"
    assert len(shared_title("x" * 300, "y")) == 256


@pytest.mark.parametrize("count", [2, 40, 1100])
def test_a_shared_body_of_any_size_has_every_section_that_fits(count: int) -> None:
    text = "word\n" * 20_000
    sections = [section(str(number), implementation=text, manual=("Look",) * 300) for number in range(count)]
    rest = Rest((), tuple((Task(str(number), "T" * 100, 1), "failed: " + text) for number in range(count)))

    found = shared_body("P", "", sections, rest, run="r-1")

    assert len(found) < 60_000
    assert found.endswith("Patchyard-Run: r-1\n")
    shown = sum(line.startswith("## Task ") for line in found.splitlines())
    assert shown == count if count < 1000 else shown > 500
    assert found.count("<details>") == found.count("</details>")
    assert "[ ] Look" in found or count > 50


def test_a_tick_stays_with_its_task_when_another_is_added() -> None:
    """Two tasks have the same box; the one of the new task is not ticked."""
    before, after = (
        PullRequestDraft("plan", "p", "main", "T", shared_body("P", "", sections, Rest(), run="r"))
        for sections in (
            [section("3", manual=("Look",))],
            [section("2", manual=("Look",)), section("3", manual=("Look",))],
        )
    )
    ticked = body_of(before).replace("- [ ] Look", "- [x] Look")

    _, written, _ = revised(after, "T", ticked, "main")

    lines = [line for line in without_note(written).splitlines() if line.startswith(("## Task", "- ["))]
    assert lines == ["## Task 2: Do \\<2\\>", "- [ ] Look", "## Task 3: Do \\<3\\>", "- [x] Look"]
