"""What a task in the sandbox sees, writes and reaches: data, without looking at the system."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from containers.sandbox.network import EVERYTHING, Network
from tasks.lazy.dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """What the user permits every task of a run.

    `write` are directories and files of the home directory, or absolute ones, that tasks change for good.
    """

    network: Network = EVERYTHING
    write: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentHome:
    """What an agent has in the user's home directory, as relative paths.

    `config` is copied into the home directory of each task. `login` are the files that the agent changes when
    it renews its log-in: they are copied as well, and back when they changed.
    """

    config: tuple[str, ...] = ()
    login: tuple[str, ...] = ()


AGENT_HOMES: Mapping[str, AgentHome] = MappingProxyType(
    {
        "claude": AgentHome((".claude.json", ".claude"), (".claude/.credentials.json",)),
        "codex": AgentHome((".codex",), (".codex/auth.json",)),
        "gemini": AgentHome((".gemini",), (".gemini/oauth_creds.json", ".gemini/google_accounts.json")),
        "opencode": AgentHome(
            (".config/opencode", ".local/share/opencode"), (".local/share/opencode/auth.json",)
        ),
        "aider": AgentHome(
            (".aider.conf.yml", ".aider.model.settings.yml", ".aider"), (".aider/oauth-keys.env",)
        ),
        "mini": AgentHome((".config/mini-swe-agent",)),
    }
)
"""What the built-in agents have, from their documentation."""

OF_AGENTS = frozenset(path for agent in AGENT_HOMES.values() for path in (*agent.config, *agent.login))
"""What all of them have."""

LEFT_OUT_OF_COPIES = frozenset(
    {".claude/projects", ".claude/todos", ".claude/shell-snapshots", ".claude/file-history", ".claude/debug"}
    | {".codex/sessions", ".codex/log", ".gemini/tmp", ".local/share/opencode/storage"}
    | {".local/share/opencode/snapshot", ".local/share/opencode/log", ".claude/history.jsonl"}
    | {".codex/history.jsonl"}
)
"""What agents keep of other work: large, and not for a task."""

SECRET = frozenset(
    {
        ".aws", ".azure", ".boto", ".cargo/credentials", ".cargo/credentials.toml", ".config/Bitwarden",
        ".config/Bitwarden CLI", ".config/BraveSoftware", ".config/chromium", ".config/doctl",
        ".config/fly", ".config/gcloud", ".config/gh", ".config/git/credentials", ".config/glab-cli",
        ".config/google-chrome", ".config/gopass", ".config/heroku", ".config/hub", ".config/hcloud",
        ".config/keepassxc", ".config/microsoft-edge", ".config/op", ".config/pulse", ".config/rclone",
        ".config/sops", ".config/patchyard", ".config/Signal", ".config/Slack", ".config/vivaldi",
        ".bundle", ".config/composer/auth.json", ".config/containers/auth.json", ".config/github-copilot",
        ".config/ngrok", ".config/pypoetry/auth.toml", ".config/stripe", ".local/share/uv/credentials",
        ".docker", ".dbus", ".fly", ".gem/credentials", ".git-credential-cache", ".git-credentials",
        ".gnupg", ".ICEauthority", ".kube", ".local/share/keyrings", ".local/share/kwalletd",
        ".gradle/gradle.properties", ".local/share/gopass", ".local/share/patchyard",
        ".local/state/patchyard", ".m2/settings.xml", ".m2/settings-security.xml", ".mozilla",
        ".my.cnf", ".netrc", ".npmrc", ".oci", ".password-store", ".pgpass", ".pki", ".pulumi",
        ".pypirc", ".s3cfg", ".ssh", ".terraform.d", ".terraformrc", ".thunderbird", ".vault-token",
        ".wrangler", ".Xauthority", ".yarnrc.yml", "snap", ".var",
    }
)  # fmt: skip
"""Keys, tokens, log-ins, profiles of browsers and keyrings in a home directory."""

WITH_PASSWORDS = frozenset(
    {".bunfig.toml", ".condarc", ".config/pip/pip.conf", ".config/uv/uv.toml", ".pip/pip.conf"}
)
"""Configuration of tools that projects need; it is secret if a URL in it has a password."""

HISTORIES = frozenset(
    {
        ".bash_history",
        ".zsh_history",
        ".python_history",
        ".psql_history",
        ".mysql_history",
        ".node_repl_history",
    }
    | {".lesshst", ".viminfo", ".sqlite_history", ".rediscli_history", ".local/share/fish"}
)
"""What the user typed, which may have secrets."""

CACHES = frozenset(
    {
        ".cache", ".npm", ".m2/repository", ".gradle/caches", ".gradle/daemon", ".cargo/registry",
        ".cargo/git", "go/pkg", ".local/share/pnpm", ".bun/install/cache", ".yarn", ".nuget", ".ivy2",
        ".sbt", ".composer", ".gem/specs", ".pnpm-store", ".node-gyp", ".electron", ".local/share/Trash",
    }
)  # fmt: skip
"""Directories that tools fill again; each task has empty ones of its own."""

WRITABLE = frozenset(
    {".config", ".local", ".local/share", ".local/state", ".local/lib", ".m2", ".gradle", ".cargo", "go"}
    | {".bun", ".gem"}
)
"""Directories in which tools create files: those are the task's own, what is there is read-only."""

SOCKET_VARIABLES = frozenset(
    {"DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS", "DOCKER_HOST", "GPG_AGENT_INFO", "CONTAINER_HOST"}
    | {"SSH_AGENT_PID", "SSH_AUTH_SOCK", "XAUTHORITY", "XDG_RUNTIME_DIR", "WAYLAND_DISPLAY", "DISPLAY"}
    | {"SSH_ASKPASS", "GIT_ASKPASS", "VSCODE_GIT_IPC_HANDLE", "TMPDIR", "TMP", "TEMP"}
)
"""Variables that lead to sockets and programs of the user's session, or to another directory than `/tmp`."""

UNSIGNED = (("commit.gpgSign", "false"), ("tag.gpgSign", "false"))
"""Settings of git in the sandbox: there is neither a key to sign with nor an agent that has one."""

VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        "XDG_CONFIG_HOME": ".config",
        "XDG_DATA_HOME": ".local/share",
        "XDG_STATE_HOME": ".local/state",
        "AWS_CONFIG_FILE": ".aws",
        "AWS_SHARED_CREDENTIALS_FILE": ".aws",
        "AZURE_CONFIG_DIR": ".azure",
        "CARGO_HOME": ".cargo",
        "CLAUDE_CONFIG_DIR": ".claude",
        "CLOUDSDK_CONFIG": ".config/gcloud",
        "CODEX_HOME": ".codex",
        "DOCKER_CONFIG": ".docker",
        "GH_CONFIG_DIR": ".config/gh",
        "GNUPGHOME": ".gnupg",
        "HISTFILE": ".bash_history",
        "KUBECONFIG": ".kube",
        "MSWEA_GLOBAL_CONFIG_DIR": ".config/mini-swe-agent",
        "NETRC": ".netrc",
        "NPM_CONFIG_USERCONFIG": ".npmrc",
        "OPENCODE_CONFIG_DIR": ".config/opencode",
        "PASSWORD_STORE_DIR": ".password-store",
        "PGPASSFILE": ".pgpass",
        "PULUMI_HOME": ".pulumi",
        "TF_CLI_CONFIG_FILE": ".terraformrc",
    }
)
"""Variables that name another place for what is at a path of the home directory."""

HOME_VARIABLES: Mapping[str, str] = MappingProxyType({"GEMINI_CLI_HOME": ".gemini"})
"""Variables that name another home directory for what is at one path."""

LINKER_PREFIX = "LD_"
LINKER_VARIABLES = frozenset({"GCONV_PATH", "GLIBC_TUNABLES", "LOCPATH", "NLSPATH"})
"""With those that begin with the prefix, they change what every program loads (ld.so(8))."""

NAMED_SECRETS = frozenset(
    {
        "AWS_WEB_IDENTITY_TOKEN_FILE", "BOTO_CONFIG", "GOOGLE_APPLICATION_CREDENTIALS", "KRB5_KTNAME",
        "KRB5_CLIENT_KTNAME", "OP_SESSION_FILE", "SOPS_AGE_KEY_FILE", "VAULT_TOKEN_FILE",
        "AZURE_FEDERATED_TOKEN_FILE", "DOCKER_AUTH_FILE", "REGISTRY_AUTH_FILE",
    }
)  # fmt: skip
"""Variables that name files with keys or tokens."""


def for_linker(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that must not reach the programs which make a sandbox, but the task."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(LINKER_PREFIX) or name in LINKER_VARIABLES
    }


def expand(path: str, home: Path) -> Path:
    """Return the absolute path of a setting: `~` is the home directory, and relative paths start there."""
    return home / path.removeprefix("~/") if path != "~" else home
