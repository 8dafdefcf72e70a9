"""Read the steps of a unit: the commands that they run, what is expected of them, and the commit's message."""

import re
from collections.abc import Iterator
from dataclasses import field

from tasks.dialects.outline import Outline
from tasks.dialects.prose.commands import looks_like_command
from tasks.dialects.prose.commits import message_in, message_named
from tasks.dialects.prose.expectations import Outcome, is_silent, outcome_of
from tasks.dialects.prose.verification import can_verify, is_shell, script_of, searches
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.plan.commands import reads_as_command

_STEP = r"(?:steps?|步骤|步驟|paso|passo|étape|schritt|ステップ)"
STEP = regex(
    rf"(?i)^\s{{0,3}}(?:[-*+]\s+|[0-9]+[.)]\s+|#{{2,6}}\s+)?(?:\[[^\]]?\]\s*)?(?:\*\*|__)?\W{{0,3}}{_STEP}\s*[0-9]+"
)
"""A line that begins a step, with a box or without."""

_WORKERS = regex(
    r"(?i)\bfor\s+(?:agentic\s+workers?|claude|agents?|codex|ai\s+agents?|implementers?)\b[^\n]{0,10}[:：]"  # noqa: RUF001 - a full-width colon, which people type
    r"|\bsuperpowers:(?:executing-plans|subagent-driven-development)|\bREQUIRED\s+SUB-SKILL\b"
)
_NUMBERED = regex(r"(?i)\s{0,3}[0-9]+[.)]\s+\**(?:run|commit|observe|execute)\b\**[^:\n]{0,40}:")
_WORK_FIELD = regex(r"(?i)\*\*(?:implementation|run|verification|agent|image|execution mode)(?::\*\*|\*\*:)")
_SPAN = regex(r"(`+)(?!`)(?P<text>.+?)(?<!`)\1(?!`)")
_MARK = regex(r"(?:\*\*|__)")
_VERBS = (
    r"(?:re-?)?(?:run|execute|command|verify|confirm|check|ensure|validate|test|运行|执行|验证"
    r"|ejecutar|executar|rodar)"
)
_RUN = regex(
    rf"(?i)(?:^|(?<=[\s(:：,;.—–>*]))(?P<verb>{_VERBS})\b(?P<rest>[^\x00.]{{0,60}}?)\.?\s*(?=\x00)"  # noqa: RUF001 - full-width marks, which people type
)
_OPENER = regex(rf"(?i)(?:^|[\s>*-])(?:then\s+)?{_VERBS}\b[^\x00\n]{{0,80}}[:：]\s*$")  # noqa: RUF001 - likewise
_PLAIN = regex(r"(?i)^[\s>*-]*(?:run|execute|command|运行|执行)\s*[:：]\s*(?P<text>[^\x00]+)$")  # noqa: RUF001 - likewise
_EXPECT = regex(
    r"(?i)(?:^|(?<=[\s(.,;→—–*>-]))(?:(?:expect(?:ed|ing|s)?|observe)(?:\s+(?!pass|fail|green|red)[\w/-]+){0,3}|预期(?:结果|输出)?"  # noqa: RUF001 - likewise
    r"|期望(?:结果|输出)?|esperado|期待)\s*(?:[:：]|\s[—–-]\s|(?=\s+(?:PASS|FAIL|pass|fail|green|success|no\b|zero|all\b|\x00)))\s*"  # noqa: RUF001 - likewise
)
_MAY_EXPECT = regex(r"(?i)expect|observe|esperado|预期|期望|期待")
"""What every text that `_EXPECT` finds has; most lines have none of it."""
_PLACE = regex(r"\x00(\d+)\x00")
"""The place of a span that was taken out of a line."""
_ITEM = regex(r"\s*(?:[-*+]|[0-9]+[.)])\s")
_ARROW = regex(r"\x00(?P<at>\d+)\x00\s*(?:→|->|=>|⇒|➜)\s*(?P<result>.*)$")
_TAIL = regex(
    r"(?i)^(?:\s*(?:→|->|=>|⇒|[-–—:,;(.]|(?:and|then|to|it|they|them|all|both|tests?|should|must|verify|confirm|see|ensure|check|make"  # noqa: RUF001 - likewise
    r"|sure|expect(?:ed|ing)?|that|is|are|will|now|the|still|again|suite|build|typecheck|lint|a|an|complete|full|everything|new)\b))*\s*"
    r"(?P<word>pass(?:es|ed|ing)?|succeeds?|success(?:fully)?|green|clean(?:ly)?|compiles?|exits?(?:\s+with)?(?:\s+code)?\s+0"
    r"|(?:no|zero|0|without(?:\s+any)?)\s+(?:\w+\s+)?(?:errors?|failures?)|✅)(?!\w)"
)
_IS_COMMIT = regex(r"(?i)[\s>*+-]*(?:\[.?\]\s*)?\W*(?:step\s*[\d.]+\W*)?commit\b")
_MESSAGE = regex(r"[a-z]{2,10}(?:\([^()\n]*\))?!?: \S")
_VERIFIES = regex(rf"(?i)\b{_VERBS}\b|\bexpect|运行|验证")
_WRITES = regex(
    r"(?i)^\W*(?:step\s*[\d.]+\s*[:.—–-]?\s*)?(?:write|create|add|implement|update|modify|make|fix|refactor)\b(?!\s+sure)"  # noqa: RUF001
)
_REMARK = regex(
    r"(?i)[(（](?P<text>[^)）]*\b(?:expect\w*|should|must)\b[^)）]*|PASS|FAIL|GREEN|RED)[)）]"  # noqa: RUF001 - likewise
)
_FENCE = regex(r"(?:`{3,}|~{3,})\s*\{?\.?(?P<language>[\w+-]*)")
_JOINED = regex(r"(?i)\s*(?:,|and|&|&&|;|then|\+)*\s*(?:then|also)?\s*")


@dataclass(slots=True)
class Run:
    """A command that a step runs; `line` is 1-based."""

    command: str
    line: int
    outcome: Outcome = Outcome.UNCLEAR
    expectation: str = ""


@dataclass(slots=True)
class Step:
    """A step of a unit: its first line, and the commands that it runs. `line` is 0-based."""

    title: str
    line: int
    runs: list[Run] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of a unit, and the message of the last commit that they name."""

    steps: tuple[Step, ...]
    commit: str | None

    def verification(self) -> Iterator[tuple[str, int]]:
        """Yield commands that are expected to succeed, and not to fail in a later step, with their lines."""
        last: dict[str, Run] = {}
        for step in self.steps:
            for run in step.runs:
                if run.outcome is not Outcome.UNCLEAR or run.command not in last:
                    last.pop(run.command, None)
                    last[run.command] = run
        for run in last.values():
            if run.outcome is Outcome.SUCCESS and can_verify(run.command):
                if searches(run.command) and is_silent(run.expectation):
                    continue
                yield run.command, run.line


def is_for_workers(text: str) -> bool:
    """Whether a text has the line that superpowers writes for those who carry a plan out."""
    return bool(_WORKERS.search(text))


def has_steps(outline: Outline, start: int) -> bool:
    """Whether a line (0-based) from `start` on begins a step such as `**Step 1: …**`, outside of fences."""
    return any(STEP.match(line) for _, line in outline.prose(start, len(outline.lines)))


def has_numbered_steps(outline: Outline, start: int) -> bool:
    """Whether items such as `3. Run: …` and `4. Commit: …` are the steps of a plan without fields for work."""
    found = False
    for _, line in outline.prose(start, len(outline.lines)):
        if _WORK_FIELD.match(line):
            return False
        found = found or bool(_NUMBERED.match(line))
    return found


def is_of_superpowers(outline: Outline) -> bool:
    """Whether the boxes of a plan are steps of superpowers: it says so, or it has such steps."""
    return is_for_workers("\n".join(outline.lines)) or has_steps(outline, 0)


def read_steps(outline: Outline, start: int, end: int) -> Steps:
    """Return the steps on some lines (0-based, `end` not included)."""
    reader = _Reader(outline, start, end)
    reader.read()
    return Steps(tuple(reader.steps), reader.commit)


class _Reader:
    """Reads the lines of a unit one after another."""

    def __init__(self, outline: Outline, start: int, end: int) -> None:
        self._outline, self._start, self._end = outline, start, end
        self.steps = [Step("", start)]
        self.commit: str | None = None
        self._pending: list[Run] = []
        self._loose: Run | None = None
        self._opened = False
        self._expected: str | None = None
        self._begins = {
            box.line
            for box in outline.boxes_in(start, end)
            if box.parent is None or not start <= outline.boxes[box.parent].line < end
        } | {heading.line for heading in outline.headings_in(start, end)}

    def read(self) -> None:
        """Read all lines."""
        fences = self._outline.code_in(self._start, self._end)
        code = {begin: (close, content) for begin, close, content in fences}
        line = self._start
        while line < self._end:
            if line in code:
                close, content = code[line]
                self._code(line, content)
                line = max(close, line + 1)
                continue
            self._line(line)
            line += 1
        self._close_step()

    def _line(self, at: int) -> None:
        raw = self._outline.lines[at].replace("\u00a0", " ")
        if at in self._begins or STEP.match(raw):
            self._close_step()
            self.steps.append(Step(raw.strip(), at))
        if not raw.strip():
            if self._expected:
                self._close_expectation()
            return
        if self._begins_item(raw) and self._expected:
            self._close_expectation()
        self._text(raw, at)
        if "`" in raw and (
            named := message_named(raw)
            or next((found for span in _SPAN.finditer(raw) if (found := message_in(span["text"]))), None)
        ):
            self.commit = named

    @staticmethod
    def _begins_item(raw: str) -> bool:
        return bool(_ITEM.match(raw))

    def _text(self, raw: str, at: int) -> None:
        """Read a line: what it runs, and what it expects."""
        text, spans = _without_spans(raw)
        expect = _EXPECT.search(text) if _MAY_EXPECT.search(text) else None
        head = text[: expect.start()] if expect else text
        if self._expected is not None and (_RUN.search(head) or _PLAIN.match(head) or expect):
            self._close_expectation()
        if self._expected is not None:
            self._expected += "\n" + _restored(text, spans)
            return
        self._opened = False
        before = len(self.steps[-1].runs)
        self._runs(head, spans, at)
        if expect:
            if len(self.steps[-1].runs) == before:
                self._unnamed(head, spans, at)
            self._expected = _restored(text[expect.end() :], spans).strip()

    def _unnamed(self, head: str, spans: list[str], at: int) -> None:
        """Read the commands of a line without a verb for them: "Build. `make` - Expected: no errors"."""
        for number in _PLACE.findall(head):
            if reads_as_command(spans[int(number)]):
                self._pending.append(self._add(Run(spans[int(number)], at + 1)))

    def _runs(self, text: str, spans: list[str], at: int) -> None:
        if "\x00" in text and (arrow := _ARROW.search(text)):
            command = spans[int(arrow["at"])]
            if looks_like_command(command) or reads_as_command(command):
                result = _restored(arrow["result"], spans)
                self._add(Run(command, at + 1, outcome_of(result), result))
                return
        if plain := _PLAIN.match(text):
            command = plain["text"].strip()
            if reads_as_command(command):
                self._pending.append(self._add(Run(command, at + 1)))
            return
        for found in _RUN.finditer(text) if "\x00" in text else ():
            self._spans(found, text, spans, at)
        if not spans and text.rstrip().endswith((":", "：")) and _OPENER.search(text):  # noqa: RUF001 - a full-width colon, which people type
            self._opened = True

    def _spans(self, found: re.Match[str], text: str, spans: list[str], at: int) -> None:
        """Read the commands after a verb, joined by commas and `and`, and what is expected of them."""
        is_labelled = found["rest"].strip().endswith((":", "："))  # noqa: RUF001 - a full-width colon, which people type
        position, commands = found.end(), []
        while span := _PLACE.match(text, position):
            commands.append(spans[int(span[1])])
            position = span.end()
            joined = _JOINED.match(text, position)
            if joined is None or not text.startswith("\x00", joined.end()):
                break
            position = joined.end()
        commands = [
            command
            for command in commands
            if looks_like_command(command)
            or reads_as_command(command)
            or (
                is_labelled
                and re.fullmatch(r"\.{0,2}/?[\w./-]+", command)
                and not re.search(r"\.(?!sh\b)\w+$", command)
            )
        ]
        tail = text[position:].split("\x00", 1)[0]
        outcome = Outcome.UNCLEAR
        if _TAIL.match(tail):
            outcome = outcome_of(tail)
        elif outcome_of(tail) is Outcome.FAILURE:
            outcome = Outcome.FAILURE
        is_command = re.match(
            r"(?i)(?:re-?)?(?:run|execute|command|运行|执行|ejecutar|executar|rodar)", found["verb"]
        )
        for command in commands:
            run = Run(command, at + 1, outcome, tail)
            if outcome is not Outcome.UNCLEAR:
                self._add(run)
            elif is_command or is_labelled:
                self._pending.append(self._add(run))

    def _add(self, run: Run) -> Run:
        self.steps[-1].runs.append(run)
        self._loose = None
        return run

    def _code(self, at: int, content: str) -> None:
        fence = _FENCE.search(self._outline.lines[at])
        shell = is_shell(fence["language"] if fence else "")
        if self._expected is not None:
            if not self._expected.strip():
                self._expected = content.strip()
                self._close_expectation()
                return
            self._close_expectation()
        if shell and (message := message_in(content)):
            self.commit = message
        elif _IS_COMMIT.match(self.steps[-1].title) and _MESSAGE.match(content):
            self.commit = content.strip()
        script = script_of(content)
        if not shell or not script:
            return
        run = Run(script, at + 2 if fence else at + 1)
        if self._opened:
            self._pending.append(self._add(run))
        elif fence and not script.startswith("#!") and not self._outline.lines[at].rstrip().endswith("text"):
            self._loose = run

    def _close_expectation(self) -> None:
        text, self._expected = self._expected or "", None
        if self._loose is not None and not self._pending and not _is_writing(self.steps[-1].title):
            self._pending.append(self._add(self._loose))
        self._loose = None
        remark = _REMARK.search(self.steps[-1].title)
        for run in self._pending:
            run.outcome, run.expectation = outcome_of(text), text
            if remark and run.outcome is Outcome.UNCLEAR:
                run.outcome = outcome_of(remark["text"])
        self._pending = []

    def _close_step(self) -> None:
        """Apply what a step's title expects to the commands of which nothing else is said."""
        if self._expected is not None:
            self._close_expectation()
        title = _MARK.sub("", self.steps[-1].title)
        title = re.sub(r"^[\s>#*+-]*(?:\[.?\]\s*)?", "", title)
        if _VERIFIES.search(title) and not _is_writing(title):
            outcome = _title_outcome(title)
            if self._loose is not None and outcome is not Outcome.UNCLEAR:
                self._pending.append(self._add(self._loose))
            for run in self._pending:
                run.outcome, run.expectation = outcome, title
        self._pending, self._loose, self._opened = [], None, False


def _is_writing(title: str) -> bool:
    """Whether a step is to write something, so that what it shows is not to be run."""
    return bool(_WRITES.match(title)) and not re.search(r"(?i)\brun\b", title)


def _title_outcome(title: str) -> Outcome:
    """Return what a step's title expects; `(expect PASS)` decides."""
    if remark := _REMARK.search(title):
        return outcome_of(remark["text"])
    return outcome_of(re.sub(r"(?i)^\W*step\s*[\d.]+\s*[:.—–-]?\s*", "", title))  # noqa: RUF001 - likewise


def _without_spans(raw: str) -> tuple[str, list[str]]:
    """Return a line without remarks and marks, with the numbers of its spans in their places, and the spans."""
    spans: list[str] = []

    def taken(found: re.Match[str]) -> str:
        spans.append(found["text"].strip())
        return f"\x00{len(spans) - 1}\x00"

    text = _SPAN.sub(taken, raw) if "`" in raw else raw
    return _REMARK.sub("", _MARK.sub("", text)), spans


def _restored(text: str, spans: list[str]) -> str:
    """Return a text with its code spans, without backticks."""
    return re.sub(r"\x00(\d+)\x00", lambda found: spans[int(found[1])], text)
