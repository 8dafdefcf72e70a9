"""The settings that say how the tasks of a run are read and run."""

from collections.abc import Mapping

from containers.sandbox.network import EVERYTHING, Network
from pipeline.config import converters as to
from pipeline.config import defaults
from pipeline.config.agent_converters import parse_prices
from pipeline.config.table import (
    ApiField,
    ModuleArgument,
    NeedsTrust,
    Option,
    setting,
)
from tasks.agent_report import Price
from tasks.dialects.read_options import Order, UnitKind
from tasks.lazy.dataclasses import dataclass
from tasks.model import LARGEST_POOL, Mode, SandboxMode
from tasks.repairs import MOST_REPAIRS, parse_repairs


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How the plan is read, how tasks run, and what they may take; see `Settings`."""

    base: str | None = setting(
        None,
        to.parse_text,
        "Branch, tag or commit that the run starts from.",
        note="uncommitted changes are not part of it",
        default_text="the current branch",
        option=Option("REF"),
        api=ApiField(),
    )
    mode: Mode = setting(
        Mode.PARALLEL,
        to.parse_mode,
        "Run tasks one by one (`local`), side by side (`parallel`), or in containers (`dagger`).",
        note="a batch can set its own",
        trust=NeedsTrust.UNCONTAINED,
        option=Option(),
        api=ApiField("execution_mode"),
    )
    pool_size: int = setting(
        3,
        to.parse_pool_size,
        "Number of worktrees, and so of tasks that run at once.",
        option=Option("N"),
        module=ModuleArgument(),
        api=ApiField(maximum=LARGEST_POOL),
    )
    agent: str | None = setting(
        None,
        to.parse_text,
        "Agent for tasks without **Run:** commands: a name or a command.",
        trust=NeedsTrust.COMMAND,
        option=Option("NAME|COMMAND"),
        module=ModuleArgument(),
        api=ApiField(),
    )
    dialect: str | None = setting(
        None,
        to.parse_dialect,
        "Dialect that the plan is written in.",
        default_text="the one that reads most of it",
        option=Option("NAME"),
        module=ModuleArgument(),
        api=ApiField(),
    )
    unit: UnitKind | None = setting(
        None,
        to.parse_unit,
        "What becomes a task: each `item`, or each `group` of them.",
        default_text="the dialect's",
        option=Option(),
        module=ModuleArgument(),
        api=ApiField(),
    )
    order: Order = setting(
        Order.AS_WRITTEN,
        to.parse_order,
        "Which tasks wait for which: `as-written`, `sequential`, or `inferred` from files and names.",
        note="for plans of other tools",
        option=Option(),
        module=ModuleArgument(),
        api=ApiField(),
    )
    optional: bool = setting(
        default=False,
        convert=to.parse_flag,
        help="Run also the tasks that the plan calls optional.",
        option=Option(),
        module=ModuleArgument(),
        api=ApiField(),
    )
    tag: str | None = setting(
        None,
        to.parse_text,
        "List of tasks to run, of a Task Master file that has several.",
        option=Option("NAME"),
        module=ModuleArgument(),
        api=ApiField(),
    )
    timeout: float = setting(
        defaults.TIMEOUT,
        to.parse_seconds,
        "Time that a task may take: `90s`, `10m`, `1h` or `none`.",
        default_text="1h",
        option=Option("DURATION"),
        module=ModuleArgument(),
    )
    repairs: int = setting(
        2,
        parse_repairs,
        "How often an agent may try again when its step or the verification fails.",
        note="its prompt then says what failed; a task can set its own, also one of commands",
        option=Option("N"),
        module=ModuleArgument(),
        api=ApiField(maximum=MOST_REPAIRS, minimum=0),
    )
    check_base: bool = setting(
        default=False,
        convert=to.parse_flag,
        help="Run the verification also where tasks start, before any change, and report what fails there.",
        note="once for each start point; see [docs/agents.md](docs/agents.md)",
        option=Option(),
        module=ModuleArgument(),
        api=ApiField(),
    )
    notify_desktop: bool = setting(
        default=False,
        convert=to.parse_flag,
        help="At the end, ring the bell of the terminal, and notify the desktop where the terminal can.",
        option=Option(),
    )
    wait_for_limits: float = setting(
        defaults.WAIT_FOR_LIMITS,
        to.parse_wait,
        "How long a task may wait for a usage limit or a fault of its agent's provider.",
        note="in all; `0` for not at all",
        default_text="6h",
        option=Option("DURATION"),
        module=ModuleArgument(),
        api=ApiField(),
    )
    budget: float | None = setting(
        None,
        to.parse_dollars,
        "US dollars that the agents of a run may cost.",
        note="no call begins once what was reported reaches it",
        option=Option("USD"),
        module=ModuleArgument(),
        api=ApiField(),
    )
    task_budget: float | None = setting(
        None,
        to.parse_dollars,
        "US dollars that the agent of one task may cost.",
        option=Option("USD"),
        module=ModuleArgument(),
        api=ApiField(),
    )
    prices: Mapping[str, Price] = setting(
        {},
        parse_prices,
        "`[prices.AGENT]` says what a million tokens cost, for an agent that reports tokens and no cost.",
        note="`input`, `output` and `cached`, in US dollars",
        in_environment=False,
    )
    sandbox: SandboxMode = setting(
        SandboxMode.AUTO,
        to.parse_sandbox,
        "Run tasks of this machine in a sandbox: `on`, `off`, or `auto`, where it works.",
        note="see docs/sandbox.md",
        trust=NeedsTrust.WEAKER,
        option=Option(),
        api=ApiField(),
    )
    sandbox_network: Network = setting(
        EVERYTHING,
        to.parse_network,
        "What a task in the sandbox reaches of the network: `on` for all of it, `off`, or hosts.",
        note="such as `pypi.org,*.npmjs.org,localhost:8080`",
        default_text="on",
        trust=NeedsTrust.WEAKER,
        option=Option("on|off|HOSTS"),
        api=ApiField(),
    )
    sandbox_write: tuple[str, ...] = setting(
        (),
        to.parse_list,
        "Path that tasks in the sandbox change for good, such as `~/.cache/pip`.",
        trust=NeedsTrust.ALWAYS,
        option=Option("PATH"),
    )
    cpus: int | None = setting(
        None,
        to.parse_count,
        "Processors that the processes of a task may use.",
        trust=NeedsTrust.WEAKER,
        section="limits",
    )
    memory: int | None = setting(
        None,
        to.parse_bytes,
        "How much memory it may take, or one process of it; see docs/sandbox.md.",
        trust=NeedsTrust.WEAKER,
        section="limits",
    )
    processes: int | None = setting(
        None,
        to.parse_count,
        "How many processes it may have, or your user while it runs; see docs/sandbox.md.",
        trust=NeedsTrust.WEAKER,
        section="limits",
    )
    files: int | None = setting(
        None,
        to.parse_bytes,
        "How large one file may be that it writes.",
        trust=NeedsTrust.WEAKER,
        section="limits",
    )
    grace: float = setting(
        5.0, to.parse_seconds, "Time between TERM and KILL when a task is ended.", default_text="5s"
    )
    max_patch: int = setting(
        defaults.MAX_PATCH,
        to.parse_patch_size,
        "How large the files that a task creates or changes may be together.",
        note="a task with more fails, and its worktree is set aside; at most 300MB",
        default_text="100MB",
    )
    max_log: int = setting(
        defaults.MAX_LOG,
        to.parse_bytes,
        "How large the log of a task may be.",
        note="past it, only the end of each step's output is kept",
        default_text="100MB",
    )
