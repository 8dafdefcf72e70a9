"""Every setting of a run, declared once: its type, default, converter and place in each entry point."""

import math
from collections.abc import Mapping
from pathlib import Path

from containers.agents.agent import resolve_agent
from containers.agents.builtin import DEFAULT_IMAGE, Agent
from pipeline.config import converters as to
from pipeline.config import defaults
from pipeline.config.agent_converters import parse_agents
from pipeline.config.run_settings import RunSettings
from pipeline.config.table import (
    ApiField,
    ModuleArgument,
    NeedsTrust,
    Option,
    declared_settings,
    names_by_section,
    setting,
)
from tasks.conflicts import OnConflict, Serialize
from tasks.lazy.dataclasses import dataclass
from tasks.model import Batch, Mode, Task
from tasks.outcome import PullRequestScope

DEFAULT_BRANCH = "patchyard/{plan}/{task}"
DEFAULT_REMOTE = "origin"


@dataclass(frozen=True, slots=True)
class Settings(RunSettings):
    """The resolved settings of a run. To add a setting, declare it here; the README table is `make settings`.

    `timeout` and `grace` are in seconds; a timeout of infinity means no limit. `forced` holds the names that a
    flag or the environment set: those win over what a batch or a task of the plan sets for itself.
    """

    worktrees: Path | None = setting(
        None,
        to.parse_path,
        "Directory of the worktrees.",
        note="outside of every checkout, or ignored by it",
        default_text="<repository>-worktrees beside the repository",
        trust=NeedsTrust.OUTSIDE,
        option=Option("DIR"),
    )
    branch: str = setting(
        DEFAULT_BRANCH,
        to.parse_branch_template,
        "Names of the branches, with `{plan}`, `{task}` and `{run}`.",
        option=Option("TEMPLATE"),
    )
    publish: bool = setting(
        default=False,
        convert=to.parse_flag,
        help="Push the branches and open pull requests.",
        trust=NeedsTrust.ALWAYS,
        option=Option(negatable=True),
        api=ApiField(),
    )
    pull_request: PullRequestScope = setting(
        PullRequestScope.TASK,
        to.parse_pull_request,
        "Open a pull request for each `task`, for each `group` of tasks, or one for the `plan`.",
        note="the groups of a native plan are its batches",
        option=Option(),
        module=ModuleArgument(publishing=True),
        api=ApiField(),
    )
    draft: bool = setting(
        default=False,
        convert=to.parse_flag,
        help="Open the pull requests as drafts.",
        option=Option(),
        module=ModuleArgument(publishing=True),
    )
    auto_merge: bool = setting(
        default=False,
        convert=to.parse_flag,
        help="Turn on GitHub's auto-merge, or merge where nothing is required.",
        trust=NeedsTrust.ALWAYS,
        option=Option(),
        module=ModuleArgument(publishing=True),
        api=ApiField(),
    )
    allow_unpushed: bool = setting(
        default=False,
        convert=to.parse_flag,
        help="Publish also commits of the base that the remote's branch of the pull requests does not have.",
        note="only the flag and the variable have an effect",
        option=Option(),
        module=ModuleArgument(publishing=True),
        api=ApiField(),
    )
    labels: tuple[str, ...] = setting((), to.parse_list, "Label of the pull requests.", option=Option("LABEL"))
    reviewers: tuple[str, ...] = setting(
        (),
        to.parse_list,
        "User to request a review from, or a team as `organization/team`.",
        option=Option("LOGIN"),
    )
    remote: str = setting(
        DEFAULT_REMOTE, to.parse_text, "Remote to push to.", trust=NeedsTrust.ALWAYS, option=Option("NAME")
    )
    github: str | None = setting(
        None,
        to.parse_text,
        "Repository on GitHub, as `owner/repo`.",
        default_text="from the remote's URL",
        trust=NeedsTrust.ALWAYS,
        option=Option("OWNER/REPO"),
        module=ModuleArgument(publishing=True),
    )
    fail_fast: bool = setting(
        default=False, convert=to.parse_flag, help="End the run when the first task fails.", option=Option()
    )
    keep_going: bool = setting(
        default=False,
        convert=to.parse_flag,
        help="After a failure, skip only the tasks that name the failed one.",
        option=Option(),
        module=ModuleArgument(),
    )
    on_conflict: OnConflict = setting(
        OnConflict.RERUN,
        to.parse_on_conflict,
        "Where patches of a batch conflict: `rerun` the later task on top of the other, let its `agent` begin "
        "with the merge and its conflict marks, or `stop`.",
        note="a batch can set its own",
        option=Option(),
        module=ModuleArgument(),
        api=ApiField(),
    )
    serialize: Serialize = setting(
        Serialize.NONE,
        to.parse_serialize,
        "Which tasks of a batch wait for each other without naming each other: `none`, or those that have the "
        "same file under **Files:** (`declared`).",
        option=Option(),
        module=ModuleArgument(),
        api=ApiField(),
    )
    notify: str | None = setting(
        None,
        to.parse_webhook_url,
        "Webhook URL to call when the run ends (Slack-compatible). Prefer `PATCHYARD_NOTIFY` for a secret URL: "
        "options are visible to other users.",
        trust=NeedsTrust.ALWAYS,
        option=Option("URL"),
        secret=True,
    )
    secrets: tuple[str, ...] = setting(
        (),
        to.parse_secret_names,
        "Names of variables whose values are masked in logs and kept out of patches.",
        trust=NeedsTrust.ALWAYS,
    )
    environment: Mapping[str, str] = setting(
        {}, to.parse_environment, "Table of variables for every step.", in_environment=False
    )
    agents: Mapping[str, Agent] = setting(
        {},
        parse_agents,
        "`[agents.NAME]` adds an agent, or changes a built-in one.",
        note="see [docs/agents.md](docs/agents.md)",
        in_environment=False,
        trust=NeedsTrust.ALWAYS,
    )
    copy: tuple[str, ...] = setting(
        (),
        to.parse_relative_paths,
        "Files and directories of your tree that are not in git, such as `.env`, copied into each worktree.",
        trust=NeedsTrust.CONTAINED,
        section="worktree",
    )
    setup: tuple[str, ...] = setting(
        (), to.parse_commands, "Commands that run before a task's first step.", section="worktree"
    )
    teardown: tuple[str, ...] = setting(
        (), to.parse_commands, "Commands that run after a task, however it ended.", section="worktree"
    )
    teardown_timeout: float = setting(
        60.0, to.parse_seconds, "Time that they may take.", default_text="60s", section="worktree"
    )
    keep: tuple[str, ...] = setting(
        (),
        to.parse_relative_paths,
        "Untracked files that the reset between tasks keeps, such as `node_modules`.",
        section="worktree",
    )
    sparse: bool = setting(
        default=True,
        convert=to.parse_flag,
        help="Give tasks only the files that your checkout has, where it is a sparse one.",
        note="not in mode `dagger`",
        section="worktree",
    )
    port_base: int = setting(
        defaults.PORT_BASE, to.parse_port, "First port that `PATCHYARD_PORT` may be.", section="worktree"
    )
    port_width: int = setting(
        defaults.PORT_WIDTH,
        to.parse_port_width,
        "How many ports each worktree has to itself.",
        note="`0` for none",
        section="worktree",
    )
    image: str | None = setting(
        None,
        to.parse_text,
        "Image of the tasks' containers, in mode `dagger`.",
        default_text=DEFAULT_IMAGE,
        option=Option("REF"),
        module=ModuleArgument(),
    )
    engines: tuple[str, ...] = setting(
        (),
        to.parse_engines,
        "Address of a Dagger engine, and how many tasks it runs at once, in mode `dagger`.",
        default_text="one on this machine",
        trust=NeedsTrust.ALWAYS,
        option=Option("URL[=N]"),
    )
    fresh: bool = setting(
        default=False,
        convert=to.parse_flag,
        help="Run every task again, also those with a cached result.",
        option=Option(),
        module=ModuleArgument(),
    )
    no_cache: bool = setting(
        default=False,
        convert=to.parse_flag,
        help="Neither use the results of earlier runs nor keep those of this one.",
        option=Option(),
    )
    locked: bool = setting(
        default=False,
        convert=to.parse_flag,
        help="Use only images whose digest is in `patchyard.lock`, in mode `dagger`.",
        note="`patchyard lock PLAN` writes it, `--update` renews the digests",
        option=Option(),
    )
    caches: tuple[str, ...] = setting(
        (),
        to.parse_absolute_paths,
        "Directories that containers keep from task to task, in mode `dagger`.",
        section="container",
    )
    depth: int = setting(
        1,
        to.parse_depth,
        "Number of commits in a container's repository, `0` for all, in mode `dagger`.",
        section="container",
    )
    services: Mapping[str, str] = setting(
        {},
        to.parse_services,
        "Ports of this machine that containers reach, in mode `dagger`.",
        note='such as `model = "localhost:11434"`',
        section="container",
        trust=NeedsTrust.ALWAYS,
    )
    trust: bool = setting(
        default=False,
        convert=to.parse_flag,
        help="Trust all settings of the repository and the plan, for this run.",
        note="`patchyard trust` remembers it; see [docs/trust.md](docs/trust.md)",
        in_file=False,
        option=Option(),
        module=ModuleArgument(),
    )
    forced: frozenset[str] = frozenset()

    def mode_for(self, batch: Batch) -> Mode:
        """How the tasks of this batch are run."""
        return self.mode if "mode" in self.forced else batch.mode or self.mode

    def on_conflict_for(self, batch: Batch) -> OnConflict:
        """What follows where patches of this batch do not go together."""
        return self.on_conflict if "on_conflict" in self.forced else batch.on_conflict or self.on_conflict

    def agent_for(self, task: Task) -> Agent | None:
        """The agent that gets this task's text; `None` for a task with commands of its own, or without one."""
        name = self.agent if "agent" in self.forced else task.agent or self.agent
        return resolve_agent(name, self.agents) if name and not task.run else None

    def timeout_for(self, task: Task) -> float | None:
        """How many seconds this task may take; `None` for no limit."""
        own = None if "timeout" in self.forced else task.timeout
        seconds = self.timeout if own is None else own
        return None if math.isinf(seconds) else seconds

    def repairs_for(self, task: Task) -> int:
        """How often this task may be tried again; commands are not, unless the task says so itself."""
        if task.repairs is not None and "repairs" not in self.forced:
            return task.repairs
        return self.repairs if self.agent_for(task) else task.repairs or 0

    @property
    def teardown_seconds(self) -> float | None:
        """How many seconds the teardown of a task may take; `None` for no limit."""
        return None if math.isinf(self.teardown_timeout) else self.teardown_timeout

    def image_for(self, task: Task, batch: Batch) -> str:
        """The image of this task's container, as named; without that the one of its agent."""
        own = None if "image" in self.forced else task.image or batch.image
        agent = self.agent_for(task)
        return own or self.image or (agent and agent.image) or DEFAULT_IMAGE


SETTINGS = declared_settings(Settings)
"""Every setting by name, in the order of the README."""
SECTIONS = names_by_section(SETTINGS)
"""Tables of the configuration file that hold settings, each with their names."""
