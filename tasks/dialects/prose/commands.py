"""Find the commands in prose that have to succeed when a unit is done."""

import re

from tasks.diagnostics import Report, quoted
from tasks.lazy.patterns import regex
from tasks.model import Check, Step, StepKind
from tasks.plan.commands import SHELL, reads_as_command, title_of

_SPANS = regex(r"(`+)(?!`)(?P<command>.+?)(?<!`)\1(?!`)")
_VERB = (
    r"(?:re-?)?"
    r"(?:run|runs|execute|verify|check|confirm|ensure|make\s+sure|validate|执行|运行|実行|ejecutar|executar)"
)
_SUITE = (
    r"(?:\s+(?!with\b)[\w/.+-]+){0,4}?\s+"
    r"(?:tests?|suites?|checks?|lint(?:er|ers|ing)?|build|builds|types?|validation|type-?check(?:er|s)?)"
)
_SEEN = (
    r"(?:PASS(?:es|ed|ing)?|pass(?:es|ed|ing)?|succeed(?:s|ed)?|success(?:ful(?:ly)?)?|green|clean|works?|valid|✓|✅|通过"
    r"|without\s+(?:any\s+)?(?:errors?|failures?|warnings?|issues)"
    r"|(?:there\s+are\s+)?(?:no|zero|0)\s+(?:\w+\s+){0,2}(?:errors?|failures?|failed|output|warnings?|findings|issues|problems|regressions)"
    r"|[0-9]+/[0-9]+\s+pass(?:ed|ing)?|(?:a\s+)?clean\s+(?:\w+)|exits?\s+(?:with\s+)?(?:code\s+|status\s+)?0)"
    r"(?:\s+(?:with|and)\s+(?:no|zero|0)\s+(?:\w+\s+)?(?:errors?|failures?|warnings?))?"
)
_LONGEST = 300
"""The length from which an item says more than to run commands."""

_ONLY_RUNS = regex(
    rf"(?i)[^\w\x00]*(?P<verb>(?:\*\*)?{_VERB}(?:\*\*)?"
    rf"(?:{_SUITE}(?:[^\w\x00]{{0,3}}[:(]|\s+(?:with|via|using)\b)|\s+\w+\s*:|(?:\s+(?:that|the|all|command|commands|tests?|with|by|running|via))*\s*:?)\s*"
    rf"|(?:\w+\s+){{0,3}}(?:tests?|checks?|suite|build|lint|linting)\s+(?:all\s+|still\s+)?{_SEEN}\s*(?:[-–—:(]|with|via|using)?\s*)?"  # noqa: RUF001
    r"(?:[\s,;&+]*(?:(?:and|then)\b[\s,;&]*)?\x00)+\)?"
    r"\s*(?:(?:[-–—:,;(]|->|→|=>|and|all|both|it|they|to|see|that|is|are|must|should|will|now|still|confirm|verify|ensure|tests?|checks?|report|reports)\s*)*"  # noqa: RUF001 - the dashes that people type
    rf"(?P<seen>{_SEEN})?"
    r"[\s.!)*✓✅]*"
)
_WORK = regex(
    r"(?i)^(?:sudo\s+)?(?:(?:npm|pnpm|yarn|bun|pip3?|uv|poetry|cargo|go|brew|apt(?:-get)?|gem|composer|bundle|dotnet|pipx|conda|flutter|dart)"
    r"\s+(?:pip\s+)?(?:install|i|add|init|sync|ci|create|get|update|upgrade|remove|uninstall|new|mod|pub|dev|start|publish)\b"
    r"|git\s|gh\s|mkdir\b|cp\s|mv\s|rm\s|touch\s|ln\s|chmod\s|echo\s|docker(?:-|\s+)?(?:compose\s+)?(?:up|down|push|pull|run)\b"
    r"|(?:npx|bunx|pnpm\s+dlx)\s+(?:create-|shadcn|degit)|npm\s+run\s+(?:dev|start)\b|rails\s+(?:generate|g)\b|alembic\s+revision|openspec\s+archive)"
)
_ABSOLUTE = regex(r"(?:^|&&|\|\||[;\n(])\s*(?:cd|pushd)\s+(?:/d\s+)?[\"']?(?:/|~|\$\{?HOME\b|[A-Za-z]:[\\/])")


def commands_of(text: str) -> tuple[str, ...]:
    """Return the commands of an item that only says to run them, or to see them pass; else none."""
    commands = [found["command"].strip() for found in _SPANS.finditer(text)]
    prose = _SPANS.sub("\x00", " ".join(text.split()))
    found = _ONLY_RUNS.fullmatch(prose) if commands and len(prose) < _LONGEST else None
    if not found or not (found["verb"] or found["seen"]):
        return ()
    if not found["seen"] and any(map(_WORK.match, commands)):
        return ()
    return tuple(commands) if all(map(looks_like_command, commands)) else ()


def looks_like_command(text: str) -> bool:
    """Whether what is in backticks is a command, not a name or a path."""
    first, _, rest = text.partition(" ")
    return (bool(rest.strip()) and bool(re.fullmatch(r"[\w./~@+-]+(?:=\S*)?", first))) or first in {
        "make",
        "tox",
        "pytest",
    }


def leaves_repository(command: str) -> bool:
    """Whether a command changes to an absolute directory, so that it can succeed nowhere else."""
    return bool(_ABSOLUTE.search(command))


def check_of(command: str, line: int) -> Check:
    """Return the verification by a command; `line` is 1-based."""
    return Check(command, Step(StepKind.VERIFY, title_of(command), (*SHELL, command)), line)


def checks_of(text: str, line: int, report: Report | None = None) -> tuple[Check, ...]:
    """Return the verification that an item is, if it only says to run commands; `line` is 1-based.

    A command that leaves the repository is none; that is reported if there is a report.
    """
    commands = commands_of(text)
    for command in filter(leaves_repository, commands):
        if report:
            what = f"{quoted(command)} leaves the repository, so it is text for the agent and verifies nothing"
            report.warning(line, 1, f"{what}; write it without `cd`")
    return tuple(check_of(command, line) for command in commands if not leaves_repository(command))


_PASSING = regex(
    r"(?i)\s*(?:(?:->|→|=>|[-–—:])?\s*(?:it\s+)?(?:succeeds?|passes|pass|is\s+green|exits?\s+0))?[\s.]*"  # noqa: RUF001 - likewise
)


def passing_command(text: str) -> str | None:
    """Return the command that a line begins with in backticks, if nothing or its success follows."""
    found = _SPANS.match(text.strip())
    if not found or not _PASSING.fullmatch(text.strip()[found.end() :]):
        return None
    command = found["command"].strip()
    return command if looks_like_command(command) else None


_FILE = regex(r"[\w./@-]+\.[A-Za-z0-9]{1,6}")


def spans_that_run(text: str) -> tuple[str, ...]:
    """Return what is in backticks in a text and reads as a command."""
    spans = (found["command"].strip() for found in _SPANS.finditer(text))
    return tuple(span for span in spans if reads_as_command(span) and not _FILE.fullmatch(span))
