"""Recognise commands in the text of a plan, and make steps of them."""

import re
from itertools import pairwise

from tasks.lazy.patterns import regex
from tasks.model import Step, StepKind
from tasks.plan.command_words import DETERMINERS, NEED_EVIDENCE, PROGRAMS, PROSE, STATES, TOOLS, WRAPPERS
from tasks.text import plural

SHELL = ("sh", "-e", "-c")
INTERPRETERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("", "sh", "shell"), SHELL),
    "bash": ("bash", "-e", "-c"),
    **dict.fromkeys(("python", "python3", "py"), ("python3", "-c")),
}
"""What runs a fence, by the first word after its backticks."""

MAX_SCRIPT = 120_000
"""Bytes of one script: Linux takes no argument longer than 128 KiB."""

_TITLE = 80
_SHELLS = frozenset(("sh", "bash"))
_CONTINUED = regex(r"[ \t]*\\\n\s*")
_PREPARES = regex(
    r"""#|set\s+[-+]|(?:import|from)\s+\w|cd\s+[^;&|]+$|export\s+\w+=[^;&|`$]*$|['"]{3}|:$"""
    r"|sleep\s+[\d.]+\w?$|(?:time\.)?sleep\([^()]*\)$"
)
"""A line that does nothing yet: a comment, an import, an option of the shell, another directory, a pause."""
_SPAN = regex(r"(?s)(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_LEAD = regex(r"(?i)(?:(?:run|execute)(?:\s+the\s+command)?|command)(?=[\s:`])\s*:?\s*")
_SUCCESS = regex(
    r"(?i) ?(?:(?:should\s+)?(?:pass|passes|succeed|succeeds|work|works)|(?:is|are)\s+(?:green|clean)"
    r"|(?:exits|returns)(?:\s+with)?(?:\s+(?:status|code))?\s+0)?(?: ?without errors?)? ?[.;,!]?"
)
_TEST = regex(r"-[a-zA-Z]{1,2}|!?==?")
_SCRIPT = regex(r"/(?:[^/.]+|[^/]+\.(?:sh|bash))$")
_ALONE = frozenset(("make", "just", "tox", "nox", "rake"))
"""Programs of `TOOLS` that are a command without arguments."""
_NOT_ALONE = frozenset(("cat", "cd", "echo", "printf"))
"""Programs of `PROGRAMS` that are not a command without arguments."""
_LONGEST = 10_000
"""A longer text, in characters, is not read as a command without backticks."""

_ENDS_AS_PROSE = regex(r"[A-Za-z]{2}[.!?:]$")
_CONTRACTION = regex(r"[A-Za-z]'[a-z]")
_QUOTED = regex(r"""(?:(?<=[\s=])|^)(?:"[^"]*"|'[^']*')""")
_ASSIGNMENT = regex(r"[A-Za-z_]\w*=\S*")
_EVIDENCE = regex(r"--?[A-Za-z0-9]|.*[/=$*|<>&~@{}\[\]]|\.{1,2}$|.*\w\.\w|[\"']")
_OPERATOR = regex(r"\s(?:&&|\|\|?|>>?|2>&1)(?:\s|$)|;\s")
_PROGRAM = regex(r"[a-z0-9_.~/][\w.~/+@-]*")


def run_step(kind: StepKind, script: str, language: str = "") -> Step:
    """Return the step that runs a script in one of the `INTERPRETERS`."""
    return Step(kind, title_of(script, INTERPRETERS[language][0]), (*INTERPRETERS[language], script))


def title_of(script: str, interpreter: str = "sh") -> str:
    """Return what a script does, in one line of at most 80 characters: `rm -rf out (+6 lines)`.

    That is its first line that does something, what interprets it unless that is a shell, and how many lines it
    has besides.
    """
    lines, line = _lines(script), first_command(script)
    notes = [] if interpreter in _SHELLS else [interpreter]
    notes += [f"+{plural(len(lines) - 1, 'line')}"] if len(lines) > 1 else []
    note = f" ({', '.join(notes)})" if notes else ""
    room = _TITLE - len(note)
    return (line if len(line) <= room else line[: room - 1] + "…") + note


def first_command(script: str) -> str:
    """Return the first line of a script that does something, else its first line."""
    lines = _lines(script)
    return next((line for line in lines if not _PREPARES.match(line)), lines[0] if lines else "")


def _lines(script: str) -> list[str]:
    """Return the lines of a script that are not empty; those that are continued as one."""
    return [line.strip() for line in _CONTINUED.sub(" ", script).splitlines() if line.strip()]


def unwrap(text: str) -> str:
    """Return a text without the backticks, when they are around the whole of it."""
    text = text.strip()
    match = _SPAN.match(text)
    return match[2].strip() if match and match.end() == len(text) else text


def command_in(text: str) -> str | None:
    """Return the command that an item under **Verification:** is, else `None`: it is prose.

    An item is a command when all of it is in backticks; when it says no more than to run what is in backticks,
    or that this succeeds; or, without backticks, when it reads as a command.
    """
    text = text.strip()
    lead = _LEAD.match(text)
    begin = lead.end() if lead else 0
    span = _SPAN.match(text, begin)
    if span is None:
        rest = text[begin:]
        return _without_prompt(rest) if "`" not in rest and reads_as_command(rest) else None
    command = span[2].strip()
    tail = " ".join(text[span.end() :].split())
    if not command or not _SUCCESS.fullmatch(tail):
        return None
    certain = lead is not None or not tail.strip(" .;,!")
    return _without_prompt(command) if certain or reads_as_command(command) else None


def command_within(text: str) -> str | None:
    """Return the first command that a text has in it: all of it, or something in backticks."""
    if (command := command_in(text)) is not None:
        return command
    spans = (span[2].strip() for span in _SPAN.finditer(text[:_LONGEST]) if "\n" not in span[2])
    return next((span for span in spans if reads_as_command(span)), None)


def reads_as_command(text: str) -> bool:
    """Whether a text without backticks is a command rather than a sentence. If in doubt, it is a sentence."""
    text = text.strip()
    if text.startswith("$ "):
        return bool(text[2:].strip())
    if len(text) > _LONGEST or _ENDS_AS_PROSE.search(text) or not _is_one_line(text):
        return False
    text = re.sub(r"\s#\s.*", "", text.replace("\\\n", " "))
    words = text.split()
    while words and (words[0] in WRAPPERS or _ASSIGNMENT.fullmatch(words[0])):
        words = words[1:]
    if not words:
        return False
    if words[0] in {"[", "[["}:
        return len(words) > 2 and words[-1] == "]" * len(words[0])  # noqa: PLR2004 - brackets around something
    if words[0] in {"for", "while", "until", "if"}:
        return bool(re.search(r";\s*(?:do|then)\s.*;\s*(?:done|fi)$", text))
    return bool(_PROGRAM.fullmatch(words[0])) and _is_call(words[0], words[1:], text)


def _is_one_line(text: str) -> bool:
    """Whether every line but the last is continued by the next."""
    return all(line.rstrip().endswith("\\") for line in text.split("\n")[:-1])


def _is_call(program: str, arguments: list[str], text: str) -> bool:
    """Return whether a program name and the words after it are a call of that program.

    `text` is the whole text, which is prose if it reads as a sentence and has no shell operator.
    """
    names_subcommand = bool(arguments) and arguments[0] in TOOLS.get(program, ())
    operands = arguments[1:] if names_subcommand else arguments
    if not _OPERATOR.search(text) and _is_sentence(text, operands):
        return False
    has_evidence = any(_EVIDENCE.match(word) for word in arguments)
    if program in TOOLS:
        return names_subcommand or has_evidence or (program in _ALONE and len(arguments) <= 1)
    if program in PROGRAMS:
        return has_evidence or _is_plain_call(program, arguments)
    if program == "test":
        return any(_TEST.fullmatch(word) for word in arguments)
    if program in NEED_EVIDENCE:
        return has_evidence
    return _is_path_call(program, arguments, has_evidence=has_evidence) or (
        program in {"true", "false"} and not arguments
    )


def _is_plain_call(program: str, arguments: list[str]) -> bool:
    """Return whether a program of `PROGRAMS` is called with at most one word, which is not a state."""
    if len(arguments) > 1 or STATES.intersection(arguments):
        return False
    return bool(arguments) or program not in _NOT_ALONE


def _is_path_call(program: str, arguments: list[str], *, has_evidence: bool) -> bool:
    """Return whether the program is a path, and is called: `./x`, `bin/x --flag` or `scripts/x.sh`."""
    if "/" not in program:
        return False
    is_relative = program.startswith(("./", "../", "~/"))
    return is_relative or has_evidence or (not arguments and _SCRIPT.search(program) is not None)


def _is_sentence(text: str, words: list[str]) -> bool:
    """Return whether there are words of an English sentence, or a contraction, outside of quotes."""
    if _CONTRACTION.search(_QUOTED.sub("", text)):
        return True
    bare = set(words) if "'" not in text and '"' not in text else set(_QUOTED.sub("", " ".join(words)).split())
    if not bare.isdisjoint(PROSE):
        return True
    # `touch a` names a file, `cat a file` does not.
    return any(word in DETERMINERS and after.isalpha() for word, after in pairwise(words))


def _without_prompt(command: str) -> str:
    """Return a command without a leading prompt."""
    return command[2:].strip() if command.startswith("$ ") else command
