"""Built-in agents: how to install each, run it without prompts, and read its output."""

from collections.abc import Mapping
from dataclasses import field, replace
from types import MappingProxyType

from containers.agents.trajectory import READ_TRAJECTORY
from tasks.lazy.dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Agent:
    """A coding agent.

    `command` is run by a shell; the prompt is on its standard input, or in the file whose path replaces
    `{prompt_file}`. `secrets` are the names of variables that it can use, of which it needs one.
    `environment` are variables that are always set. `version` is a command that prints its version; that of a
    built-in agent begins with the program itself. `format` names the format of its output, in which it reports
    its cost, its tokens, its last message and its limits. `cost` and `limit` are regular expressions over its
    output. The group `cost` is the amount spent so far, in US dollars. A match of `limit` says that it may not
    continue until the time in the group `until`, or for the seconds of the group `seconds`, if it has one.

    `image` and `setup` are for containers: their base image, and the commands that install the agent, as
    layers that all of its tasks share.
    """

    name: str
    command: str
    image: str | None = None
    setup: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    version: str | None = None
    cost: str | None = None
    format: str | None = None
    limit: str | None = None


DEFAULT_IMAGE = "python:3.13"
"""Image of tasks without one: it has git, a shell and Python."""
NODE = "node:22"
PROVIDERS = (
    "ANTHROPIC_API_KEY",
    "OPENAI_API_KEY",
    "GEMINI_API_KEY",
    "OPENROUTER_API_KEY",
    "DEEPSEEK_API_KEY",
)
"""API keys that agents for any model can use."""
TRIES_AGAIN = "4"
"""How often an agent tries again by itself what its provider did not serve.

More would use up the time of the task, which waits without that. Some try a refused key again for minutes, too.
"""

CLAUDE = Agent(
    name="claude",
    command="claude -p --dangerously-skip-permissions --output-format stream-json --verbose",
    image=NODE,
    setup=(
        "npm install -g @anthropic-ai/claude-code",
        # As root it skips permissions only with IS_SANDBOX set; a container is a sandbox.
        """mkdir -p ~/.claude && echo '{"env": {"IS_SANDBOX": "1"}}' > ~/.claude/settings.json""",
    ),
    secrets=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"),
    environment={"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "CLAUDE_CODE_MAX_RETRIES": TRIES_AGAIN},
    version="claude --version",
    format="claude",
)
CODEX = Agent(
    name="codex",
    # A login is used if there is one; otherwise it reads its key only from CODEX_API_KEY.
    command='[ -e "${CODEX_HOME:-$HOME/.codex}/auth.json" ] '
    '|| export CODEX_API_KEY="${CODEX_API_KEY:-$OPENAI_API_KEY}"; '
    "codex exec --dangerously-bypass-approvals-and-sandbox --skip-git-repo-check --color never --json "
    '-c analytics.enabled=false ${OPENAI_BASE_URL:+-c openai_base_url="$OPENAI_BASE_URL"} -',
    image=NODE,
    setup=("npm install -g @openai/codex",),
    secrets=("OPENAI_API_KEY", "CODEX_API_KEY"),
    version="codex --version",
    format="codex",
)
GEMINI = Agent(
    name="gemini",
    command="gemini --yolo --output-format stream-json",
    image=NODE,
    setup=(
        "npm install -g @google/gemini-cli",
        "mkdir -p /etc/gemini-cli",
        """echo '{"general": {"enableAutoUpdate": false, "maxAttempts": 4}, \
        "privacy": {"usageStatisticsEnabled": false}}' > /etc/gemini-cli/system-defaults.json""",
    ),
    secrets=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    environment={"GEMINI_CLI_TRUST_WORKSPACE": "true"},
    version="gemini --version",
    format="gemini",
)
OPENCODE = Agent(
    name="opencode",
    # Without a title it asks a model for one, and does not say what that cost. Only its log says that a
    # provider does not serve it: it tries again without end.
    command="opencode run --auto --format json --title patchyard --print-logs --log-level ERROR",
    image=NODE,
    setup=("npm install -g opencode-ai",),
    secrets=(*PROVIDERS, "OPENCODE_API_KEY"),
    environment={"OPENCODE_DISABLE_AUTOUPDATE": "true"},
    version="opencode --version",
    format="opencode",
)
AIDER = Agent(
    name="aider",
    command='events=$(mktemp); trap : INT TERM; aider --analytics-log "$events" '
    "--yes-always --no-auto-commits --no-gitignore --no-pretty --no-stream "
    "--no-check-update --no-show-release-notes --no-show-model-warnings --no-detect-urls "
    "--no-suggest-shell-commands --analytics-disable "
    "--input-history-file /dev/null --chat-history-file /dev/null --message-file {prompt_file}; "
    # It writes a cache into the worktree, and has no option against it.
    'code=$?; cat "$events"; rm -rf "$events" .aider.tags.cache.v*; exit $code',
    image="python:3.12",  # it cannot be installed on newer versions
    setup=("pip install aider-chat",),
    secrets=PROVIDERS,
    version="aider --version",
    format="aider",
)
MINI = Agent(
    name="mini-swe-agent",
    command="trajectory=$(mktemp); trap : INT TERM; "
    'mini --yolo --exit-immediately -o "$trajectory" -t "$(cat {prompt_file})"; '
    f'code=$?; {READ_TRAJECTORY} "$trajectory"; rm -f "$trajectory"; exit $code',
    image="python:3.13",
    setup=("pip install mini-swe-agent",),
    secrets=PROVIDERS,
    environment={"MSWEA_CONFIGURED": "true", "MSWEA_MODEL_RETRY_STOP_AFTER_ATTEMPT": TRIES_AGAIN},
    version="mini --help | grep -o 'version [0-9.]*[0-9]'",
    format="mini-swe-agent",
)
BUILT_IN: Mapping[str, Agent] = MappingProxyType(
    {agent.name: agent for agent in (CLAUDE, CODEX, AIDER, GEMINI, OPENCODE, MINI, replace(MINI, name="mini"))}
)
"""Built-in agents by name."""


@dataclass(frozen=True, slots=True)
class Login:
    """The file that an agent has while it is logged in.

    It is in the directory that `variable` names, else in `default`, below the home directory.
    """

    default: str
    file: str
    variable: str = ""


LOGINS: Mapping[str, Login] = MappingProxyType(
    {
        CLAUDE.name: Login(".claude", ".credentials.json", "CLAUDE_CONFIG_DIR"),
        CODEX.name: Login(".codex", "auth.json", "CODEX_HOME"),
        AIDER.name: Login(".aider", "oauth-keys.env"),
        GEMINI.name: Login(".gemini", "oauth_creds.json"),
        OPENCODE.name: Login(".local/share", "opencode/auth.json", "XDG_DATA_HOME"),
        MINI.name: Login(".config/mini-swe-agent", ".env", "MSWEA_GLOBAL_CONFIG_DIR"),
        "mini": Login(".config/mini-swe-agent", ".env", "MSWEA_GLOBAL_CONFIG_DIR"),
    }
)
"""By the name of the built-in agent. On macOS, claude keeps its login in the keychain instead."""
