"""Prompt of an agent: a task of the plan as Markdown, and the step that runs the agent with it."""

from collections.abc import Sequence
from textwrap import indent

from tasks.lazy.dataclasses import dataclass
from tasks.model import NATIVE, Check, Plan, Step, StepKind, Task
from tasks.outcome import FAILS_BEFORE, Failure
from tasks.text import code_span, fence

PROMPT_FILE = "{prompt_file}"
TITLE_LENGTH = 80
INTRODUCTION = """\
This task is part of the plan "{plan}". Do this task alone, and do it in the current directory, which is a
separate git worktree."""
DONE = """\
These parts are done already; they are here to show how far the task is:"""
PART = "About the part of the plan"
MAX_HEADER = 20_000
"""Characters of a plan's header and footer that a prompt has at most."""
CUT = "[…] The rest of it is in {path}."
CONCLUSION = """\
Leave your changes in the current directory: they are collected from there. Do not push, and do not open a
pull request."""

FEEDBACK = "A person looked at the last try at the task below, and asks for another one."
FEEDBACK_LEFT = """\
What it left is in the current directory: change it as the feedback says, and keep what it does not touch."""
FEEDBACK_LOST = """\
Nothing of it is in the current directory: do the task from the start, as the feedback says."""

NAMES = {StepKind.SETUP: "set-up command", StepKind.RUN: "command", StepKind.VERIFY: "verification command"}
LEFT = """\
What it left is in the current directory. Find out what is wrong and mend it, so that the task is done and all
commands of its verification succeed."""
LOST = """\
Nothing of what it did is in the current directory: do the task from the start, and avoid that failure."""
BEFORE = """\
These commands of the verification were run on the commit that this task starts from, before any change, and
failed there already. They have to succeed afterwards all the same."""
MAX_BEFORE = 2_000
"""Characters at the end of the output of such a command that a prompt has at most."""
PLAIN = """\
The current directory has what was changed there, and nothing of the first try: do the task again on top of it,
so that both are done, and undo nothing of the other."""
MERGED = """\
The current directory has both, merged without a conflict. Find out whether the task is still done, and mend
what is not; undo nothing of the other."""
MARKED = """\
The current directory has both, merged, with conflict marks in {files}. Solve them so that both are done, and
leave no conflict mark."""
NO_MARKS = """\
found=0
for file; do
  if [ -f "$file" ] && grep -nE '^(<<<<<<<|>>>>>>>) [0-9a-f]{40}' "$file"; then
    echo "conflict marks are left in $file"; found=1
  fi
done
exit $found
"""
"""Names of branches are never in the marks: `git merge-tree` is given ids of commits."""
COMMIT = "Do not commit either: the commit is made from your changes, with the message that the plan gives."


def agent_step(command: str, prompt: str, *, title: str | None = None) -> Step:
    """Return the step that runs an agent, with `prompt` on standard input and, if named, in a file."""
    return Step(
        kind=StepKind.AGENT,
        title=title or _shorten(command),
        argv=("sh", "-c", command),
        stdin=prompt,
        prompt_file=PROMPT_FILE in command,
    )


def prompt(task: Task, plan: Plan) -> str:
    """Return the prompt for a task, as Markdown."""
    prose = [check for check in task.verification if check.step is None]
    commands = [check for check in task.verification if check.step is not None]
    sections = [
        f"# Task {task.id}: {task.title}" if task.title else f"# Task {task.id}",
        INTRODUCTION.format(plan=plan.title or plan.name),
        _section("What to do", task.implementation.strip()),
        _section("Done already", _done(task)),
        _section(PART + (f": {task.group}" if task.group else ""), task.group_text.strip()),
        _section("Files", "\n".join(f"- {file.action.title()}: {code_span(file.path)}" for file in task.files)),
        _section("Make sure that", "\n".join(f"- {_list_item(check.text)}" for check in prose)),
        _section("Commands that run afterwards and must succeed", "\n".join(map(_command, commands))),
        _section("About the whole plan", _about(plan)),
        _section("Documents to read", "\n".join(f"- {code_span(path)}" for path in plan.neighbours)),
        CONCLUSION,
        COMMIT if task.commit and (plan.dialect != NATIVE or plan.version > 1) else "",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def repair_prompt(  # noqa: PLR0913 - what an agent is given, by name
    task: str,
    failure: Failure,
    *,
    number: int,
    of: int,
    changed: str,
    is_kept: bool = True,
    fails_before: bool = False,
) -> str:
    """Return the prompt for another try at a task, as Markdown.

    Args:
        task: The prompt of the first try.
        failure: Why the last try failed.
        number: Which try of the attempt this is; the first repair is 2, and a retry begins with 1.
        of: How many the attempt has at most.
        changed: What the last try changed, in the form of `git diff --stat`, if that is known.
        is_kept: Whether its changes are in the current directory.
        fails_before: Whether the step that failed is known to fail where the task starts, too.
    """
    left = LEFT if is_kept else LOST
    too = f". It {FAILS_BEFORE} too" if fails_before else ""
    sections = [
        f"# Try {number} of {of}" if number > 1 else f"# Again: try 1 of {of}",
        f"The last try at the task below failed: {_how(failure)}{too}. {left}",
        _section(
            "The end of that step's output", fence(failure.output.rstrip()) if failure.output.strip() else ""
        ),
        _section("What has changed so far", fence(changed.rstrip()) if changed.strip() else ""),
        _section("The task", ""),
        task,
    ]
    return "\n\n".join(section for section in sections if section)


def before_note(failures: Sequence[Failure]) -> str:
    """Return the end of a prompt that says which commands fail where the task starts, as Markdown."""
    parts = ["## What fails without your change too", BEFORE]
    for failure in failures:
        parts.append(f"{_how(failure)[0].upper()}{_how(failure)[1:]}.")
        if output := _end(failure.output):
            parts.append(fence(output))
    return "\n\n".join(parts) + "\n"


def _end(output: str) -> str:
    """Return the last whole lines of an output that have room in a prompt."""
    text = output.rstrip()
    if len(text) <= MAX_BEFORE:
        return text
    first, found, rest = text[-MAX_BEFORE:].partition("\n")
    return rest if found else first


def feedback_prompt(task: str, feedback: str, *, is_kept: bool) -> str:
    """Return the prompt for another try at a task after what the user said of the last one, as Markdown.

    Args:
        task: The prompt of the first try.
        feedback: What the user said.
        is_kept: Whether what the last try changed is in the current directory.
    """
    sections = [
        "# Again, with feedback",
        f"{FEEDBACK} {FEEDBACK_LEFT if is_kept else FEEDBACK_LOST}",
        _section("The feedback", feedback.strip()),
        _section("The task", ""),
        task,
    ]
    return "\n\n".join(section for section in sections if section)


@dataclass(frozen=True, slots=True)
class ConflictText:
    """What an agent is given about a task that runs again on top of others.

    `names` are the ids of these, and `others` their titles and texts. `files` are those in which the patches
    conflict; none if the others only ran again. `patch` is the beginning of what the task changed before, in
    the form of `git diff`. `marked` are the files with conflict marks, if the current directory has the merge
    of both; `None` if it has only what the others changed.
    """

    names: tuple[str, ...]
    others: tuple[tuple[str, str], ...]
    files: tuple[str, ...] = ()
    patch: str = ""
    marked: tuple[str, ...] | None = None


def conflict_prompt(task: str, text: ConflictText) -> str:
    """Return the prompt for a task that runs again on top of others, as Markdown.

    Args:
        task: The prompt of the first try.
        text: What the agent is given.
    """
    named = " and ".join(f"task {name}" for name in text.names)
    files = ", ".join(map(code_span, text.files))
    why = f"What it changed conflicts with {named}" if files else f"It builds on {named}, which was done again"
    sections = [
        "# Again, on top of other work",
        f"The task below was done once already. {why}{f', in {files}' if files else ''}. {_place(text)}",
        *(
            _section(f"Task {name}: {title}", implementation.strip() or "It has no text.")
            for name, (title, implementation) in zip(text.names, text.others, strict=True)
        ),
        _section("What your first try changed", fence(text.patch.rstrip(), "diff") if text.patch else ""),
        _section("The task", ""),
        task,
    ]
    return "\n\n".join(section for section in sections if section)


def _place(text: ConflictText) -> str:
    if text.marked is None:
        return PLAIN
    if not text.marked:
        return MERGED
    return MARKED.format(files=", ".join(map(code_span, text.marked)))


def marks_step(files: Sequence[str]) -> Step:
    """Return a verification that fails while there are conflict marks of git in files."""
    return Step(StepKind.VERIFY, "no conflict marks are left", ("sh", "-c", NO_MARKS, "sh", *files))


def _how(failure: Failure) -> str:
    step = (
        "the agent's step"
        if failure.kind is StepKind.AGENT
        else f"the {NAMES[failure.kind]} {code_span(failure.step)}"
    )
    if failure.timed_out:
        return f"{step} was ended, because the time limit of the task had passed"
    if failure.is_out_of_memory:
        return f"{step} was killed: {failure.error}"
    if failure.error:
        return f"{step} could not run ({failure.error})"
    return f"{step} ended with exit code {failure.exit_code}"


def _done(task: Task) -> str:
    if not task.done_items:
        return ""
    return f"{DONE}\n\n" + "\n".join(f"- {_list_item(text)}" for text in task.done_items)


def _about(plan: Plan) -> str:
    """Return the plan's header and footer, the footer cut first."""
    header, footer = plan.header.strip(), plan.footer.strip()
    text = f"{header}\n\n{footer}".strip()
    return text if len(text) <= MAX_HEADER else f"{text[:MAX_HEADER].rstrip()}\n\n{CUT.format(path=plan.path)}"


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n{text}" if text else ""


def _command(check: Check) -> str:
    text = check.text.strip()
    return "- " + _list_item(fence(text) if "\n" in text else code_span(text))


def _list_item(text: str) -> str:
    """Return text indented as the content of a list item."""
    return indent(text.strip(), "  ").lstrip()


def _shorten(command: str) -> str:
    """Return the first line of a command, shortened to `TITLE_LENGTH` characters."""
    lines = command.strip().splitlines() or [""]
    line = lines[0].strip()
    if len(line) > TITLE_LENGTH:
        return line[: TITLE_LENGTH - 1].rstrip() + "…"
    return f"{line} …" if len(lines) > 1 else line
