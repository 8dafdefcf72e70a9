"""Read the values of fields: commands, checks, messages and words."""

import re
from collections.abc import Callable, Collection, Iterator

from tasks.conflicts import OnConflict
from tasks.diagnostics import Report, quoted
from tasks.durations import parse_duration
from tasks.lazy.patterns import regex
from tasks.model import Check, Mode, Step, StepKind
from tasks.plan.blocks import Block, Document, without_comments
from tasks.plan.commands import (
    INTERPRETERS,
    MAX_SCRIPT,
    SHELL,
    command_in,
    command_within,
    first_command,
    run_step,
    title_of,
    unwrap,
)
from tasks.plan.files import LISTS, is_caption, without_checkbox
from tasks.plan.sections import Field
from tasks.plan.verbatim import content, given
from tasks.repairs import parse_repairs
from tasks.text import closest

SILENT = frozenset({"hr", "html_block"})
"""Blocks without content: separators and comments."""

_MARKER = regex(r"[ \t]*(?:[-+*]|[0-9]{1,9}[.)])[ \t]*")
_ITEM = regex(r"\A(?:[-+*]|[0-9]{1,9}[.)])\s+")
_WORD = regex(r"\*\*[^*\n]{1,60}(?::\*\*|\*\*:)")
_CODE = frozenset({"fence", "code_block"})
_DONE = frozenset({"completed", "complete", "done", "finished", "[x]", "x", "✅", "✓", "✔"})
_OPEN = frozenset(
    {"pending", "todo", "to-do", "open", "planned", "ready", "new", "draft", "not", "not-started", "⏳", "❌"}
)
_EXTENDED = frozenset({"optional"})
_BEGUN = frozenset(
    {"in-progress", "in_progress", "started", "executing", "failed", "blocked", "incomplete", "🔄"}
)


class FieldReader:
    """Reads the fields of one plan, and reports their errors."""

    def __init__(
        self,
        document: Document,
        report: Report,
        is_agent: Callable[[str], bool],
        agents: Collection[str] = (),
    ) -> None:
        self.document = document
        self._report = report
        self.can_use = is_agent
        self._agents = agents

    def run(self, field: Field) -> tuple[list[Step], list[Block]]:
        """Return the steps of a **Run:** field, and the blocks below it that are not its own but text.

        A word such as `**Note:**` ends it, so that the text below is not run by mistake.
        """
        before = self._report.errors
        steps: list[Step] = []
        if field.value:
            steps += self._command(field.value, field.line, field.value_column)
        own, rest = _until_word(field.blocks)
        for block in own:
            if block.kind in _CODE:
                steps += self._script(block, StepKind.RUN)
            elif block.kind in LISTS:
                for item in self.document.children(block):
                    steps += self._run_item(item)
            elif block.kind not in SILENT:
                self._error(block, "**Run:** takes a fence or a list of commands; this is neither")
        for block in rest:
            if block.kind in _CODE | LISTS:
                word = quoted(rest[0].content.split("\n")[0])
                column = self.document.column(block.start)
                self._report.warning(
                    block.start + 1, column, f"this belongs to the text below {word} and is not run"
                )
                break
        if not steps and self._report.errors == before:
            self._report.error(
                field.line + 1, field.column, "**Run:** is empty: write a fence or a list of commands"
            )
        return steps, rest

    def verification(self, field: Field) -> list[Check]:
        """Return the checks of a **Verification:** field: commands, and prose for the agent."""
        blocks = field.blocks
        checks: list[Check] = []
        if field.value:
            text = field.value
            if blocks and blocks[0].kind == "text" and blocks[0].start == field.end:
                text = f"{text}\n{blocks[0].content}"
                blocks = blocks[1:]
            if not (blocks and is_caption(text)):
                checks += self._paragraph(text, field.line)
        return checks + list(self._checks(blocks))

    def criteria(self, field: Field) -> list[Check]:
        """Return what an agent has to make sure of; the commands in it are not run, and a hint says so."""
        checks: list[Check] = []
        commands: list[tuple[int, str]] = []
        if field.value:
            checks.append(Check(field.value, None, field.line + 1))
        for block in field.blocks:
            items = self.document.children(block) if block.kind in LISTS else [block]
            for item in items:
                if item.kind in SILENT:
                    continue
                text = self.source(item.start, item.end)
                if block.kind in LISTS:
                    text = dedent_below(without_checkbox(_ITEM.sub("", text)))
                elif block.kind == "fence" and block.token.info.strip() and language(block) in INTERPRETERS:
                    commands.append((block.start + 2, first_command(block.content)))
                checks.append(Check(text, None, item.start + 1))
        prose = ((check.line, command_within(check.text)) for check in checks if "```" not in check.text)
        commands += [(line, command) for line, command in prose if command]
        if commands:
            line, command = min(commands)
            message = f"{quoted(command)} is not run; to have it run, put it below **Verification:**"
            self._report.warning(line, self.document.column(line - 1, command), message)
        return checks

    def message(self, field: Field) -> tuple[str | None, list[Block]]:
        """Return the message of a **Commit:** field, and the blocks below it that are not its own but text."""
        rest = [block for block in field.blocks if block.kind not in SILENT]
        if field.value:
            lines = [field.value]
            if rest and rest[0].kind in {"text", "setext"} and rest[0].start == field.end:
                lines.append(rest.pop(0).content)
            text = unwrap("\n".join(lines))
        elif rest and rest[0].kind in _CODE:
            text, rest = (self._exact_fence(rest[0]) or rest[0].content).strip(), rest[1:]
        elif rest:
            text, rest = unwrap(self.source(rest[0].start, rest[-1].end)), []
        else:
            text = ""
        if not text:
            self._report.error(field.line + 1, field.column, "**Commit:** is empty: write the commit's message")
        return text or None, rest

    def word(self, field: Field) -> tuple[str, int, int, list[Block]]:
        """Return a one-line field's value, its line and column (1-based), and the blocks that are text."""
        rest = [block for block in field.blocks if block.kind not in SILENT]
        if field.value:
            return unwrap(field.value), field.line + 1, field.value_column, rest
        if rest and rest[0].kind in {"text", "setext"}:
            first, *others = rest[0].content.split("\n")
            if not others:
                line = rest[0].start
                return unwrap(first), line + 1, self.document.column(line, first), rest[1:]
        self._report.error(field.line + 1, field.column, f"**{field.label}:** is empty")
        return "", field.line + 1, field.column, rest

    def exact(self, field: Field) -> tuple[str, list[Block]]:
        """Return a field's value as it is written, and the blocks below it that are not its own but text."""
        if field.value:
            return given(field.value), field.blocks
        if not field.blocks:
            self._report.error(field.line + 1, field.column, f"**{field.label}:** is empty")
            return "", []
        first, *rest = field.blocks
        return given(self.source(first.start, first.end)), rest

    def items(self, field: Field) -> list[str]:
        """Return the items of a field of version 2, each as it is written."""
        found = [field.value] if field.value else []
        for block in field.blocks:
            if block.kind in LISTS:
                found += [self._item_text(item) for item in self.document.children(block)]
            elif block.kind not in SILENT:
                found.append(given(self.source(block.start, block.end)))
        return [text for text in found if text.strip()]

    def _item_text(self, item: Block) -> str:
        first, *others = self.document.lines[item.start : item.end]
        text = "\n".join([_MARKER.sub("", first, count=1), dedent(others)]).rstrip()
        return given(without_checkbox(text))

    def timeout(self, text: str, line: int, column: int) -> float | None:
        """Return the seconds of a duration; infinity for `none`."""
        if text.lower() in {"none", "no limit"}:
            return float("inf")
        try:
            return parse_duration(text) if text else None
        except ValueError as error:
            self._report.error(line, column, str(error))
            return None

    def repairs(self, text: str, line: int, column: int) -> int | None:
        """Return a number of repairs; 0 for `none`."""
        if not text:
            return None
        try:
            return 0 if text.lower() == "none" else parse_repairs(text)
        except ValueError as error:
            self._report.error(line, column, f"{error}, not {quoted(text)}")
            return None

    def mode(self, text: str, line: int, column: int) -> Mode | None:
        """Return the mode that a text names."""
        if not text:
            return None
        try:
            return Mode(text.lower().rstrip("."))
        except ValueError:
            hint = "; one after another is `local`" if text.lower().startswith(("seq", "ser")) else ""
            known = ", ".join(Mode)
            self._report.error(line, column, f"unknown mode {quoted(text)}; expected one of {known}{hint}")
            return None

    def on_conflict(self, text: str, line: int, column: int) -> OnConflict | None:
        """Return what follows a conflict, as a text names it."""
        if not text:
            return None
        try:
            return OnConflict(text.lower().rstrip("."))
        except ValueError:
            known = ", ".join(OnConflict)
            self._report.error(line, column, f"expected one of {known}, not {quoted(text)}")
            return None

    def agent(self, text: str, line: int, column: int) -> str | None:
        """Return the agent that a text names, when it can be used."""
        if text and not self.can_use(text):
            hint = "declare it in the front matter's `agents` or in the configuration, or write a command"
            if similar := closest(text, self._agents):
                hint = f"did you mean {similar}? Else {hint}"
            self._report.error(line, column, f"unknown agent {quoted(text)}: {hint}")
        return text or None

    def completed(self, text: str, line: int, column: int) -> bool:
        """Whether a status says that the task is done."""
        word = _status(text)[0]
        known = _DONE | _OPEN | _BEGUN | (_EXTENDED if self.document.extended else frozenset())
        if text and word not in known and not text.startswith("[ ]"):
            hint = "write `completed` to skip a task, else `pending`"
            self._report.warning(line, column, f"unknown status {quoted(text)}: the task is run; {hint}")
        return word in _DONE

    def source(self, start: int, end: int) -> str:
        """Return lines (0-based, `end` not included) without their common indentation."""
        return dedent(self.document.lines[start:end]).strip("\n").rstrip()

    def _script(self, block: Block, kind: StepKind) -> Iterator[Step]:
        """Yield the step that a fence or other code is."""
        script = block.content.removesuffix("\n") if self.document.extended else block.content
        marked = language(block)
        if marked not in INTERPRETERS:
            self._error(block, f"cannot run a fence with language {quoted(marked)}; use sh, bash or python")
        elif not script.strip():
            self._error(block, "this fence is empty: there is nothing to run")
        elif self._fits(script, block.start + 1, self.document.column(block.start)):
            yield run_step(kind, script, marked)

    def _fits(self, script: str, line: int, column: int) -> bool:
        fits = len(script.encode()) <= MAX_SCRIPT
        if not fits:
            hint = "put it into a file in the repository and run the file"
            self._report.error(line, column, f"this script is longer than {MAX_SCRIPT:,} bytes: {hint}")
        return fits

    def _run_item(self, item: Block) -> Iterator[Step]:
        """Yield the steps of an item under **Run:**: its fences, else its text."""
        blocks = [block for block in self.document.children(item) if block.kind not in SILENT]
        texts = [block for block in blocks if block.kind == "text"]
        fences = [block for block in blocks if block.kind in _CODE]
        if fences and len(fences) + len(texts) == len(blocks):
            for caption in texts:
                if not is_caption(caption.content):
                    self._error(
                        caption, "an item is a command or a fence; a text above a fence ends with a colon"
                    )
            for fence in fences:
                yield from self._script(fence, StepKind.RUN)
        elif len(texts) == len(blocks) == 1:
            text = without_checkbox(texts[0].content)
            yield from self._command(text, item.start, self.document.column(item.start, text))
        elif blocks:
            self._error(item, "an item under **Run:** is one command, or a fence")
        else:
            self._error(item, "this item is empty: there is nothing to run")

    def _command(self, text: str, line: int, column: int) -> Iterator[Step]:
        """Yield the step that a command outside of a fence is. `line` is 0-based."""
        command = unwrap(text)
        if command == text.strip() and command.startswith("`"):
            hint = "put the whole command in backticks, or none of it"
            self._report.error(line + 1, column, f"only a part of {quoted(text)} is in backticks: {hint}")
        elif not command:
            self._report.error(line + 1, column, "this command is empty: there is nothing to run")
        elif self._fits(command, line + 1, column):
            yield Step(StepKind.RUN, title_of(command), (*SHELL, command))

    def _checks(self, blocks: list[Block]) -> Iterator[Check]:
        """Yield what blocks under **Verification:** ask for."""
        for index, block in enumerate(blocks):
            if block.kind in _CODE:
                yield from self._fence_check(block)
            elif block.kind in LISTS:
                for item in self.document.children(block):
                    yield from self._checks(self.document.children(item))
            elif block.kind in {"text", "setext"}:
                text = without_checkbox(block.content)
                follows = index + 1 < len(blocks) and blocks[index + 1].kind in _CODE | LISTS
                if follows and is_caption(text):
                    text = "\n".join(text.split("\n")[:-1])
                yield from self._paragraph(text, block.start)
            elif block.kind not in SILENT:
                yield Check(self.source(block.start, block.end), None, block.start + 1)

    def _exact_fence(self, block: Block) -> str | None:
        """Return what a fence of version 2 that is marked `verbatim` holds, else `None`."""
        return content(block.token.info, block.content) if self.document.extended else None

    def _fence_check(self, block: Block) -> Iterator[Check]:
        marked = language(block)
        script = block.content
        exact = self._exact_fence(block)
        if exact is not None:
            yield Check(exact, None, block.start + 1)
            return
        if marked in INTERPRETERS:
            for step in self._script(block, StepKind.VERIFY):
                yield Check(script.strip("\n"), step, block.start + 1)
            return
        hint = "it goes to the agent; only sh, bash and python fences are run as checks"
        column = self.document.column(block.start)
        self._report.warning(
            block.start + 1, column, f"cannot run a fence with language {quoted(marked)}: {hint}"
        )
        yield Check(self.source(block.start, block.end), None, block.start + 1)

    def _paragraph(self, text: str, line: int) -> Iterator[Check]:
        """Yield a check for each line of a paragraph when all are commands, else one. `line` is 0-based."""
        text = without_comments(text).strip()
        commands = [command_in(text)]
        if commands[0] is None and "\n" in text:
            commands = [command_in(part) for part in text.split("\n")]
        if None in commands:
            if text:
                yield Check(" ".join(part.strip() for part in text.split("\n")), None, line + 1)
            return
        for offset, command in enumerate(commands):
            if command and self._fits(command, line + offset + 1, 1):
                step = Step(StepKind.VERIFY, title_of(command), (*SHELL, command))
                yield Check(command, step, line + offset + 1)

    def _error(self, block: Block, message: str) -> None:
        self._report.error(block.start + 1, self.document.column(block.start), message)


def dedent(lines: list[str]) -> str:
    """Return lines without the spaces that all of them begin with."""
    width = min((len(line) - len(line.lstrip(" ")) for line in lines if line.strip()), default=0)
    return "\n".join(line[width:] for line in lines)


def dedent_below(text: str) -> str:
    """Return the text of a list's item without the spaces that its other lines begin with."""
    first, *others = text.split("\n")
    return "\n".join([first, dedent(others)]) if others else first


def _status(text: str) -> tuple[str, str]:
    """Return the word of a status, in lower case, and what follows it."""
    joined = text.lower().replace("in progress", "in-progress").replace("not started", "not-started")
    words = joined.split() or [""]
    is_picture = words[0] not in _DONE | _OPEN | _BEGUN and not re.search(r"\w|\[", words[0])
    at = int(len(words) > 1 and is_picture)
    return words[at].strip(".,;:!*_()`"), " ".join(words[at + 1 :])


def says_status(text: str) -> bool:
    """Whether a text is a status, perhaps with a remark, and no sentence."""
    word, rest = _status(text)
    return word in _DONE | _OPEN | _BEGUN and not re.match(r"\w", rest)


def _until_word(blocks: list[Block]) -> tuple[list[Block], list[Block]]:
    """Return the blocks above the first that begins with a word such as `**Note:**`, and the others."""
    for at, block in enumerate(blocks):
        if block.kind == "text" and _WORD.match(block.content):
            return blocks[:at], blocks[at:]
    return blocks, []


def language(block: Block) -> str:
    """Return the first word after a fence's backticks, in lower case."""
    if block.kind != "fence":
        return ""
    return re.split(r"[\s,{:]", block.token.info.strip().lstrip("{."), maxsplit=1)[0].lower().strip("}")
