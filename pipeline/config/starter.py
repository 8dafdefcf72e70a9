"""What `patchyard init` writes: a file of settings with every setting as a comment, and a first plan."""

import json
import textwrap
from collections.abc import Sequence

from pipeline.config.settings import SECTIONS, SETTINGS, Settings
from pipeline.config.table import Setting

WIDTH = 100
HEAD = """\
# The settings of patchyard for this repository. Each line is a comment with the default: remove its `# ` to
# change it. `patchyard config` shows what holds, and from where; `patchyard doctor` whether all is there.
"""
EXAMPLES = {
    "agent": '"claude"',
    "agents": '{ mine = "my-agent --prompt {prompt_file}" }',
    "branch": '"patchyard/{plan}/{task}"',
    "budget": "20",
    "task_budget": "2",
    "base": '"main"',
    "caches": '["/root/.cache/pip"]',
    "copy": '[".env"]',
    "cpus": "2",
    "dialect": '"spec-kit"',
    "engines": '["tcp://build-1:1234=4"]',
    "environment": '{ CI = "1" }',
    "files": '"10GB"',
    "github": '"owner/repo"',
    "image": '"python:3.13"',
    "keep": '["node_modules"]',
    "labels": '["patchyard"]',
    "max_log": '"100MB"',
    "max_patch": '"100MB"',
    "memory": '"4GB"',
    "notify": '"https://example.org/hook"',
    "prices": "{ mine = { input = 3, output = 15, cached = 0.3 } }",
    "processes": "512",
    "reviewers": '["octocat"]',
    "sandbox_write": '["~/.cache/pip"]',
    "secrets": '["MY_KEY"]',
    "services": '{ model = "localhost:11434" }',
    "setup": '["npm ci"]',
    "tag": '"master"',
    "teardown": '["dropdb test_$PATCHYARD_SLOT"]',
    "unit": '"group"',
    "worktrees": '"../worktrees"',
}
"""A value of each setting whose default cannot be written in TOML."""
PLAN = """\
# A first plan

Text above the first task is for you; the tasks are below. `patchyard check {name}` shows how they are read.

## Batch 1: Two tasks side by side

### Task 1.1: Say hello

**Run:**
- `echo hello > hello.txt`

**Verification:**
- [ ] `grep -q hello hello.txt`

### Task 1.2: Say goodbye

**Run:**
- `echo goodbye > goodbye.txt`

## Batch 2: A task that builds on them

### Task 2.1: Put both into one file

**Dependencies:** Task 1.1, Task 1.2

**Run:**
- `cat hello.txt goodbye.txt > both.txt`

**Verification:**
- [ ] `test "$(wc -l < both.txt)" -eq 2`

<!--
A task without **Run:** is for an agent: its text is the prompt. `patchyard run {name} --agent {agent}`
runs it, and calls the agent again with what failed when the verification fails.

### Task 2.2: Write a greeting

Write `greet.py`, which prints the content of `both.txt` in capitals.

**Verification:**
- [ ] `python3 greet.py | grep -q HELLO`
-->
"""


def settings_text(installed: Sequence[str] = ()) -> str:
    """Return a `patchyard.toml` in which every setting is a comment.

    Args:
        installed: The agents that are installed here, of which the first is proposed.
    """
    top = (item for item in SETTINGS.values() if not item.section and item.in_file)
    parts = [HEAD, *(_lines(item, installed) for item in top)]
    for section, names in SECTIONS.items():
        parts += [f"[{section}]\n", *(_lines(SETTINGS[name], installed) for name in names)]
    return "\n".join(parts)


def plan_text(name: str, installed: Sequence[str] = ()) -> str:
    """Return a first plan, which can be run as it is.

    Args:
        name: The path of the plan.
        installed: As for `settings_text`.
    """
    return PLAN.format(name=name, agent=installed[0] if installed else "claude")


def _lines(item: Setting, installed: Sequence[str]) -> str:
    text = item.plain_help + (f" {item.note[:1].upper()}{item.note[1:]}." if item.note else "")
    if item.name == "agent" and installed:
        text += f" Installed here: {', '.join(installed)}."
    comment = textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ")
    return "\n".join([*comment, f"# {item.name} = {_value(item, installed)}", ""])


def _value(item: Setting, installed: Sequence[str]) -> str:
    """Return a value in TOML: the default, or an example where there is none."""
    if item.name == "agent" and installed:
        return json.dumps(installed[0])
    if item.name in EXAMPLES:
        return EXAMPLES[item.name]
    default = getattr(Settings(), item.name)
    if isinstance(default, bool | int) and not isinstance(default, str):
        return str(default).lower()
    if isinstance(default, tuple | dict):
        return "[]" if isinstance(default, tuple) else "{}"
    return json.dumps(item.default_text)
