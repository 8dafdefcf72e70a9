"""Decide which commands of a plan can be run afterwards, and must succeed then."""

import re
from collections.abc import Iterator

from tasks.diagnostics import Report, quoted
from tasks.dialects.prose.commands import check_of, leaves_repository
from tasks.lazy.patterns import regex
from tasks.model import Check
from tasks.plan.commands import MAX_SCRIPT

_SIMPLE = regex(r"\s*(?:&&|\|\||;|\n)\s*")
_PREFIX = regex(r"^(?:(?:sudo|env|time|exec|command)\s+|[A-Za-z_]\w*=(?:\"[^\"]*\"|'[^']*'|\S*)\s+)*")
_WORK = regex(
    r"(?x)(?:cd|mkdir|cp|mv|rm|rmdir|touch|chmod|chown|ln|export|source|\.|set|echo|printf|open|code|vim?|nano|unset"
    r"|pushd|popd|sleep|kill|pkill|brew|apt|apt-get|dnf|gh|glab|nvm|wget|ssh|scp|rsync|exit|true|rustup|conda"
    r"|createdb|less)(?:\s|$)"
    r"|git(?:\s+-[cC]\s+\S+)*\s+(?!diff\s+(?:\S+\s+)*--(?:check|exit-code|quiet)|grep|ls-files|merge-base)"
    r"|(?:npm|pnpm|yarn|bun)\s+(?:install|i|add|ci|publish|login|link|uninstall|remove|init|create)\b|yarn\s*$"
    r"|(?:npm|pnpm|yarn|bun)\s+(?:run\s+)?(?:deploy|release|publish)\b"
    r"|(?:python3?\s+-m\s+)?pip3?\s+(?:install|uninstall)|python3?\s+-m\s+venv"
    r"|(?:uv|poetry|pdm|pipenv|bundle|composer|cargo|gem|dart\s+pub|flutter\s+pub|go|mix\s+deps\.)\s*"
    r"(?:sync|install|add|remove|lock|update|get|pip\s+install|init|new|publish|mod\s+(?:tidy|init|download))\b"
    r"|docker\s+(?:push|pull|login|compose\s+(?:up|down|pull)|stop|rm)\b|docker-compose\s+(?:up|down|pull)\b"
)
_ENDLESS = regex(
    r"(?x)\b(?:npm|pnpm|yarn|bun)\s+(?:run\s+)?(?:[\w:-]*:)?(?:dev|start|serve|watch|preview)\b|--watch(?:All)?\b(?!=false)"
    r"|\b(?:uvicorn|gunicorn|hypercorn|flask\s+run|http\.server|manage\.py\s+runserver|nodemon|storybook\s+dev|php\s+-S)\b"
    r"|\b(?:next|vite|astro|nuxt|expo)\s+(?:dev|start|preview)\b|\brails\s+s(?:erver)?\b|\btail\s+-[fF]\b|\bcargo\s+watch\b"
    r"|\b(?:flutter|ng|hugo)\s+(?:run|serve|server)\b|[^&]&\s*$|\bwatch\s+-n"
    r"|\bcurl\b[^\n]*\b(?:localhost|127\.0\.0\.1|0\.0\.0\.0)\b"
    r"|(?<![/.])\bserve\b(?!\S)|\brunserver\b|\bdocker[ -]compose\s+up(?!.*\s-d)"
)
_PLACEHOLDER = regex(
    r"<[A-Za-z][\w-]*(?:[ /][\w -]+)*>|…|\[(?:your|the)\b[^\]]*\]|\bpath/to/|(?<![./\w])\.\.\.(?=\s|$)"
)
_CANNOT_FAIL = regex(r"\|\|\s*(?:echo|true|:)(?=\s|$)[^\n&|]*$")
_HOME = regex(r"(?i)(?:^|[\s=\"'(:])(?:/home/\w|/Users/\w|/root/\w|[A-Z]:\\Users\\)")
_SEARCHES = regex(r"(?:^|[|;&]\s*|!\s*)(?:rg|grep|egrep|fgrep|ag|ack|git\s+grep)\b[^|;&]*$")
_SHELLS = frozenset(
    {"", "sh", "bash", "shell", "zsh", "console", "shell-session", "shellscript", "text", "terminal"}
)


def is_shell(language: str) -> bool:
    """Whether what a fence of a language holds is for a shell."""
    return language.lower() in _SHELLS


def is_work(command: str) -> bool:
    """Whether each part of a command is work or setup, such as a copy, an installation or a commit."""
    parts = [part for part in _SIMPLE.split(_without_comments(command)) if part.strip(" ()")]
    return all(_WORK.match(_PREFIX.sub("", part.strip(" ()!"))) for part in parts)


def publishes(command: str) -> bool:
    """Whether a part of a command commits, pushes or opens a pull request: it is not run again."""
    return bool(
        re.search(
            r"\bgit\b[^\n;&|]*\s(?:commit|push|tag|merge|rebase|reset|checkout|stash)\b|\bgh\s+\w+", command
        )
    )


def never_ends(command: str) -> bool:
    """Whether a command is a server or a watcher, which ends only when it is stopped, or asks such a server."""
    return bool(_ENDLESS.search(command))


def has_placeholder(command: str) -> bool:
    """Whether a part of a command is to be filled in, as in `pytest tests/<name>.py`."""
    return bool(_PLACEHOLDER.search(command))


def searches(command: str) -> bool:
    """Whether a command ends with a search, which fails where it finds nothing."""
    return bool(_SEARCHES.search(command.strip()))


def can_verify(command: str) -> bool:
    """Whether a command can be run after the work, and its exit code says whether the work is right."""
    return bool(command.strip()) and not (
        is_work(command)
        or publishes(command)
        or never_ends(command)
        or has_placeholder(command)
        or _CANNOT_FAIL.search(command)
        or len(command.encode(errors="replace")) > MAX_SCRIPT
    )


def script_of(content: str) -> str:
    """Return the commands of a fence: those after a prompt if there is one, else all."""
    lines = content.strip("\n").split("\n")
    if any(line.startswith("$ ") for line in lines):
        return "\n".join(line[2:] for line in lines if line.startswith("$ "))
    return "\n".join(lines).strip()


def checks_from(commands: Iterator[tuple[str, int]], report: Report) -> Iterator[Check]:
    """Yield verifications by commands with their lines (1-based); one that leaves the repository is text."""
    for command, line in commands:
        if leaves_repository(command) or _HOME.search(command):
            what = "changes to a directory" if leaves_repository(command) else "names a path"
            message = f"{quoted(command)} {what} outside of the repository: it is not run as verification"
            report.warning(line, 1, f"{message}; write it relative to the repository")
        else:
            yield check_of(command, line)


def _without_comments(command: str) -> str:
    return re.sub(r"(?m)^\s*#.*$", "", command.replace("\\\n", " "))
