"""Every command: where it is, what it is for, and examples of it."""

from collections.abc import Mapping
from types import MappingProxyType

from pipeline.cli.help import CommandEntry, HelpGroup

_HERE = "pipeline.cli.commands"
COMMANDS: Mapping[HelpGroup, Mapping[str, CommandEntry]] = MappingProxyType(
    {
        HelpGroup.RUN: {
            "check": CommandEntry(
                f"{_HERE}.plan:check",
                "Check PLAN, and show which of its text is run as commands and which goes to the agent.",
            ),
            "run": CommandEntry(
                f"{_HERE}.plan:run",
                "Run the tasks of PLAN; each task that changes files leaves a patch, a commit and a branch.",
            ),
            "resume": CommandEntry(
                f"{_HERE}.resume:resume",
                "Resume RUN, or the newest run, which was interrupted, cancelled, or ended by an error.",
            ),
            "retry": CommandEntry(
                f"{_HERE}.resume:retry",
                "Run TASKs of RUN again, with the tasks that build on them or were skipped because of them.",
            ),
            "cancel": CommandEntry(
                f"{_HERE}.resume:cancel",
                "Cancel RUN, which is running in another terminal, on another machine, or "
                "in `patchyard serve`.",
            ),
            "convert": CommandEntry(
                f"{_HERE}.convert:convert",
                "Write PLAN, of any dialect, as a plan of the native format.",
            ),
        },
        HelpGroup.LOOK: {
            "status": CommandEntry(
                f"{_HERE}.status:status",
                "Show the tasks of RUN, or of the newest run.",
            ),
            "attach": CommandEntry(
                f"{_HERE}.status:attach",
                "Show RUN, or the newest run, as if it ran here, until it ends; also one of `patchyard serve`.",
            ),
            "runs": CommandEntry(
                f"{_HERE}.show:runs",
                "List the runs of the repository, newest last.",
            ),
            "logs": CommandEntry(
                f"{_HERE}.logs:logs",
                "Print the output of TASK in RUN; without a TASK that of all its tasks, "
                "each line with its task.",
            ),
            "diff": CommandEntry(
                f"{_HERE}.results.diff:diff",
                "Print the patches of TASKs in RUN, by default of all tasks of the newest run.",
            ),
            "report": CommandEntry(
                f"{_HERE}.report:report",
                "Report on RUN, or on the newest run: its inputs, its course and its results.",
            ),
            "serve": CommandEntry(
                f"{_HERE}.serve:serve",
                "Serve the HTTP API and a web page that shows the runs live.",
            ),
        },
        HelpGroup.PUBLISH: {
            "publish": CommandEntry(
                f"{_HERE}.publish:publish",
                "Push the branches of RUN, or of the newest run, and open or update its pull requests.",
            ),
            "apply": CommandEntry(
                f"{_HERE}.results.apply:apply",
                "Put the patches of TASKs in RUN into your checkout: into its files and "
                "its index, without a commit.",
            ),
            "patches": CommandEntry(
                f"{_HERE}.show:patches",
                "Write the patches of RUN, or of the newest run, to DIR/<task>.patch, and "
                "its report beside them.",
            ),
            "tick": CommandEntry(
                f"{_HERE}.tick:tick",
                "Set the boxes of the tasks of RUN that succeeded, in the file of its "
                "plan; by default of the newest run.",
            ),
        },
        HelpGroup.HOUSE: {
            "init": CommandEntry(
                f"{_HERE}.setup.init:init",
                "Write patchyard.toml, with every setting as a comment, and a first plan, "
                "plan.md, which can be run.",
            ),
            "doctor": CommandEntry(
                f"{_HERE}.setup.doctor:doctor",
                "Check git, the settings, the disk, agents, sandbox, engine and GitHub, and say what to do.",
            ),
            "agents": CommandEntry(
                f"{_HERE}.setup.agents:agents",
                "List the agents that can run tasks: which are installed, their versions, "
                "and whether they can log in.",
            ),
            "config": CommandEntry(
                f"{_HERE}.setup.config:config",
                "Show each setting, its value, and where it comes from; with PLAN, also of its front matter.",
            ),
            "completion": CommandEntry(
                f"{_HERE}.setup.completion:completion",
                "Print the script with which SHELL completes commands, options, runs and tasks.",
            ),
            "trust": CommandEntry(
                f"{_HERE}.trust:trust",
                "Trust the present settings of the repository and, with PLAN, of its front matter.",
            ),
            "lock": CommandEntry(
                f"{_HERE}.lock:lock",
                "Write the digests of the images that PLANs and the configuration name to patchyard.lock.",
            ),
            "clean": CommandEntry(
                f"{_HERE}.clean:clean",
                "Remove the worktrees of the pool that no run is using.",
            ),
            "discard": CommandEntry(
                f"{_HERE}.results.discard:discard",
                "Remove what RUN made: its branches, patches, cached results, logs and records; "
                "or those of TASKs only.",
            ),
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
        "discard": (
            ("patchyard discard latest --dry-run", "what would be removed"),
            ("patchyard discard latest 1.3", "one task, with its branch, patch and logs"),
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
        "What is shown and called": ("dry_run", "prompt_of", "as_json", "notify", "notify_desktop"),
    }
)
"""The options of `run` below their headings, by the names of their parameters."""
