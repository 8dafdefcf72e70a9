"""Every command: where it is, what it is for, and examples of it."""

from collections.abc import Mapping
from types import MappingProxyType

from pipeline.cli.help import HelpGroup

_HERE = "pipeline.cli.commands"
COMMANDS: Mapping[HelpGroup, Mapping[str, str]] = MappingProxyType(
    {
        HelpGroup.RUN: {
            "check": "pipeline.cli.main:check",
            "run": "pipeline.cli.main:run",
            "resume": f"{_HERE}.resume:resume",
            "retry": f"{_HERE}.resume:retry",
            "cancel": f"{_HERE}.resume:cancel",
            "convert": f"{_HERE}.convert:convert",
        },
        HelpGroup.LOOK: {
            "status": f"{_HERE}.status:status",
            "attach": f"{_HERE}.status:attach",
            "runs": f"{_HERE}.show:runs",
            "logs": f"{_HERE}.logs:logs",
            "diff": f"{_HERE}.results.diff:diff",
            "report": f"{_HERE}.report:report",
            "serve": f"{_HERE}.serve:serve",
        },
        HelpGroup.PUBLISH: {
            "publish": f"{_HERE}.publish:publish",
            "apply": f"{_HERE}.results.apply:apply",
            "patches": f"{_HERE}.show:patches",
            "tick": f"{_HERE}.tick:tick",
        },
        HelpGroup.HOUSE: {
            "init": f"{_HERE}.setup.init:init",
            "doctor": f"{_HERE}.setup.doctor:doctor",
            "agents": f"{_HERE}.setup.agents:agents",
            "config": f"{_HERE}.setup.config:config",
            "completion": f"{_HERE}.setup.completion:completion",
            "trust": f"{_HERE}.trust:trust",
            "lock": f"{_HERE}.lock:lock",
            "clean": f"{_HERE}.clean:clean",
        },
    }
)
"""Each command below the heading of `patchyard --help`, in the order of that."""

EXAMPLES: Mapping[str, tuple[tuple[str, str], ...]] = MappingProxyType(
    {
        "": (
            ("patchyard check plan.md", "what would be run, and what goes to an agent"),
            ("patchyard run plan.md --agent claude", "patches, commits and branches"),
            ("patchyard status", "how the newest run went"),
            ("patchyard publish", "its pull requests"),
        ),
        "check": (
            ("patchyard check plan.md", ""),
            ("patchyard check plan.md --prompt 1.1", "what the agent of task 1.1 will be given"),
            ("patchyard check specs/003-login/tasks.md --graph", "which tasks wait for which"),
        ),
        "run": (
            ("patchyard run plan.md --dry-run", "show what would run"),
            ("patchyard run plan.md --agent claude --pool-size 4", "four tasks at once"),
            ("patchyard run plan.md --task 2.1", "one task, and what it builds on"),
            ("patchyard run plan.md --publish --draft", "with a pull request for each task"),
        ),
        "retry": (
            ("patchyard retry latest", "what failed in the newest run"),
            ("patchyard retry latest 1.2 --keep", "one task, from what it left"),
        ),
        "diff": (
            ("patchyard diff --stat", "how much each task of the newest run changed"),
            ("patchyard diff 1.3", "the patch of one of its tasks"),
            ("patchyard diff --conflicts", "both sides of each conflict"),
            ("patchyard diff latest > all.patch", "byte for byte"),
        ),
        "attach": (("patchyard attach", "the live table of the newest run, also of one of `serve`"),),
        "logs": (
            ("patchyard logs 1.1 --follow", "while a task of the newest run runs"),
            ("patchyard logs latest --timestamps", "all tasks, in the order of their lines"),
            ("patchyard logs latest 1.1 --prompt", "what its agent was given"),
        ),
        "init": (
            ("patchyard init", "patchyard.toml and plan.md"),
            ("patchyard init plans/first.md", "the plan elsewhere"),
        ),
        "config": (
            ("patchyard config --set", "what is not a default, and where it is set"),
            ("patchyard config --schema settings", "for the completion of an editor"),
        ),
        "completion": (
            ("patchyard completion bash >> ~/.bashrc", ""),
            ("patchyard completion fish > ~/.config/fish/completions/patchyard.fish", ""),
        ),
        "apply": (
            ("patchyard apply", "every patch of the newest run, into your files and index"),
            ("patchyard apply 1.3 --dry-run", "one of its tasks, with what it builds on"),
        ),
        "publish": (
            ("patchyard publish", "the newest run"),
            ("patchyard publish latest --draft", "as drafts"),
        ),
    }
)
"""Examples of a command, by its name; those of `""` are of the program."""

RUN_OPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "What is run": (
            *("plan_option", "tasks", "only", "start_batch", "end_batch", "base"),
            *("dialect", "unit", "order", "optional", "tag"),
        ),
        "Agents": ("agent", "repairs", "wait_for_limits", "budget", "task_budget"),
        "How it is run": (
            *(
                "mode",
                "pool_size",
                "timeout",
                "fail_fast",
                "keep_going",
                "on_conflict",
                "serialize",
                "check_base",
            ),
            *("fresh", "no_cache", "worktrees"),
        ),
        "Sandbox": ("sandbox", "sandbox_network", "sandbox_write"),
        "Containers": ("image", "engines", "locked"),
        "Branches and pull requests": (
            *("branch", "publish", "pull_request", "draft", "labels", "reviewers", "auto_merge"),
            *("remote", "github", "allow_unpushed"),
        ),
        "What is shown and called": ("dry_run", "prompt_of", "as_json", "notify"),
    }
)
"""The options of `run` below their headings, by the names of their parameters."""
