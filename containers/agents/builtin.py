"""The agents that are known from the start: how each is installed, started without questions, and paid for."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Agent:
    """A coding agent.

    `command` is what a shell is given; the prompt comes on its standard input, or in the file that
    `{prompt_file}` stands for. `secrets` are the names of variables that it can use, of which it needs one.
    `environment` are variables that it always gets. `version` is a command that prints its version; that of a
    built-in agent begins with the program itself. `cost` is a regular expression over its output, whose group
    `cost` is what it has spent so far, in US dollars.

    The rest is for containers: `image` is what they are made from, and `setup` the commands that install the
    agent, as layers that all of its tasks share.
    """

    name: str
    command: str
    image: str | None = None
    setup: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    version: str | None = None
    cost: str | None = None


NODE = "node:22"
PROVIDERS = (
    "ANTHROPIC_API_KEY",
    "OPENAI_API_KEY",
    "GEMINI_API_KEY",
    "OPENROUTER_API_KEY",
    "DEEPSEEK_API_KEY",
)
"""The keys that agents for any model can use."""

CLAUDE = Agent(
    name="claude",
    command="claude -p --dangerously-skip-permissions --output-format stream-json --verbose",
    image=NODE,
    setup=(
        "npm install -g @anthropic-ai/claude-code",
        # As root it skips permissions only where it is told that it is in a sandbox, which a container is.
        """mkdir -p ~/.claude && echo '{"env": {"IS_SANDBOX": "1"}}' > ~/.claude/settings.json""",
    ),
    secrets=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"),
    environment={"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"},
    version="claude --version",
    cost=r'"total_cost_usd":\s*(?P<cost>[0-9.]+(?:[eE][-+]?[0-9]+)?)',
)
CODEX = Agent(
    name="codex",
    # Who is logged in stays so; else it takes its key from a variable of its own alone.
    command='[ -e "${CODEX_HOME:-$HOME/.codex}/auth.json" ] '
    '|| export CODEX_API_KEY="${CODEX_API_KEY:-$OPENAI_API_KEY}"; '
    "codex exec --dangerously-bypass-approvals-and-sandbox --skip-git-repo-check --color never "
    '-c analytics.enabled=false ${OPENAI_BASE_URL:+-c openai_base_url="$OPENAI_BASE_URL"} -',
    image=NODE,
    setup=("npm install -g @openai/codex",),
    secrets=("OPENAI_API_KEY", "CODEX_API_KEY"),
    version="codex --version",
)
GEMINI = Agent(
    name="gemini",
    command="gemini --yolo",
    image=NODE,
    setup=(
        "npm install -g @google/gemini-cli",
        "mkdir -p /etc/gemini-cli",
        """echo '{"general": {"enableAutoUpdate": false}, "privacy": {"usageStatisticsEnabled": false}}' \
        > /etc/gemini-cli/system-defaults.json""",
    ),
    secrets=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    environment={"GEMINI_CLI_TRUST_WORKSPACE": "true"},
    version="gemini --version",
)
OPENCODE = Agent(
    name="opencode",
    command="opencode run --auto",
    image=NODE,
    setup=("npm install -g opencode-ai",),
    secrets=(*PROVIDERS, "OPENCODE_API_KEY"),
    environment={"OPENCODE_DISABLE_AUTOUPDATE": "true"},
    version="opencode --version",
)
AIDER = Agent(
    name="aider",
    command="aider --yes-always --no-auto-commits --no-gitignore --no-pretty --no-stream "
    "--no-check-update --no-show-release-notes --no-show-model-warnings --no-detect-urls "
    "--no-suggest-shell-commands --analytics-disable "
    "--input-history-file /dev/null --chat-history-file /dev/null --message-file {prompt_file}; "
    # It keeps a cache in the worktree, and nothing tells it not to.
    "code=$?; rm -rf .aider.tags.cache.v*; exit $code",
    image="python:3.12",  # it does not install on a newer one
    setup=("pip install aider-chat",),
    secrets=PROVIDERS,
    version="aider --version",
    cost=r"Cost: \$[0-9.]+ message, \$(?P<cost>[0-9.]+) session",
)
MINI = Agent(
    name="mini-swe-agent",
    command='mini --yolo --exit-immediately -t "$(cat {prompt_file})"',
    image="python:3.13",
    setup=("pip install mini-swe-agent",),
    secrets=PROVIDERS,
    environment={"MSWEA_CONFIGURED": "true"},
    version="mini --help | grep -o 'version [0-9.]*[0-9]'",
    cost=r"\(step [0-9]+, \$(?P<cost>[0-9.]+)\)",
)
BUILT_IN: Mapping[str, Agent] = MappingProxyType(
    {agent.name: agent for agent in (CLAUDE, CODEX, AIDER, GEMINI, OPENCODE, MINI, replace(MINI, name="mini"))}
)
"""By the names that people know them by."""
