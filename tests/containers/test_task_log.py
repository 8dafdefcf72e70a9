"""The log of a task and the tail of its output."""

import resource
from pathlib import Path

import pytest

from containers.task_log import TaskLog, tail_text
from tasks.agent_report import Tokens
from tasks.model import Step, StepKind
from tasks.outcome import StepResult
from tasks.secrets import Secrets

STEP = Step(StepKind.RUN, "make", ("make",))


class TestTaskLog:
    def test_log_of_two_steps(self, tmp_path: Path) -> None:
        path = tmp_path / "logs" / "1.log"
        with TaskLog(path, Secrets()) as log:
            log.begin(STEP)
            log.write(b"no newline")
            log.end(StepResult(STEP, 0, 1.234))
            log.begin(STEP)
            log.write(b"a\n")
            log.end(StepResult(STEP, 143, 2.0, timed_out=True))
            log.note("a note")
        assert path.read_text() == (
            "$ make\nno newline\n[exit code 0, 1.23 s]\n\n"
            "$ make\na\n[timed out, exit code 143, 2.00 s]\n[a note]\n"
        )

    @pytest.mark.parametrize(
        ("result", "line"),
        [
            (StepResult(STEP, 3, 0.5), "[exit code 3, 0.50 s]"),
            (StepResult(STEP, 143, 0.5, cancelled=True), "[cancelled, exit code 143, 0.50 s]"),
            (StepResult(STEP, None, 0.0, cancelled=True), "[cancelled before it began]"),
            (StepResult(STEP, None, 0.0, timed_out=True), "[timed out before it began]"),
            (StepResult(STEP, None, 0.0, error="it is gone"), "[it is gone]"),
            (StepResult(STEP, 127, 0.0, error="no s3cret-tool"), "[no ***-tool, exit code 127]"),
        ],
    )
    def test_ending_of_a_step(self, tmp_path: Path, result: StepResult, line: str) -> None:
        with TaskLog(tmp_path / "log", Secrets({"A": "s3cret"})) as log:
            log.begin(STEP)
            ended = log.end(result)
        assert (tmp_path / "log").read_text() == f"$ make\n{line}\n"
        assert "s3cret" not in (ended.error or "")

    def test_title_is_one_line_without_secrets(self, tmp_path: Path) -> None:
        with TaskLog(tmp_path / "log", Secrets({"A": "s3cret"})) as log:
            log.begin(Step(StepKind.RUN, "one s3cret\ntwo\udcff", ("x",)))
        assert (tmp_path / "log").read_bytes() == b"$ one *** two\xff\n"

    def test_whole_script_is_below_its_title_without_secrets(self, tmp_path: Path) -> None:
        script = "# first\necho s3\ncret > a\n"
        step = Step(StepKind.RUN, "echo *** (+2 lines)", ("sh", "-e", "-c", script))
        with TaskLog(tmp_path / "log", Secrets({"A": "s3\ncret"})) as log:
            log.begin(step)
            ended = log.end(StepResult(step, 0, 0.5))
        lines = ["$ echo *** (+2 lines)", "$ | # first", "$ | echo *** > a", "[exit code 0, 0.50 s]"]
        assert (tmp_path / "log").read_text().splitlines() == lines
        assert ended.tail == ""

    def test_existing_log_is_appended_to(self, tmp_path: Path) -> None:
        (tmp_path / "log").write_text("before\n")
        with TaskLog(tmp_path / "log", Secrets()) as log:
            log.begin(STEP)
        assert (tmp_path / "log").read_text() == "before\n\n$ make\n"

    def test_output_held_back_for_masking_is_written_at_the_end(self, tmp_path: Path) -> None:
        with TaskLog(tmp_path / "log", Secrets({"A": "s3cret"})) as log:
            log.write(b"a s3c")
            assert (tmp_path / "log").read_bytes() == b"a "
        assert (tmp_path / "log").read_bytes() == b"a s3c"

    def test_tail_is_that_of_one_step(self, tmp_path: Path) -> None:
        with TaskLog(tmp_path / "log", Secrets()) as log:
            log.begin(STEP)
            log.write(b"one\n")
            first = log.end(StepResult(STEP, 0, 0.0))
            log.begin(STEP)
            second = log.end(StepResult(STEP, 0, 0.0))
        assert (first.tail, second.tail) == ("one\n", "")

    def test_output_that_could_not_be_written_is_reported_where_it_is_missing(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        with TaskLog(path, Secrets()) as log:
            log.begin(STEP)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
            try:
                log.write(b"lost for want of room")
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            log.write(b"kept\n")
            result = log.end(StepResult(STEP, 0, 0.0))
            log.begin(STEP)
            later = log.end(StepResult(STEP, 0, 0.0))
        assert path.read_text() == (
            "$ make\nlos\n[output is missing here: File too large]\nkept\n[exit code 0, 0.00 s]\n\n"
            "$ make\n[exit code 0, 0.00 s]\n"
        )
        assert result.tail == "lost for want of roomkept\n[the log is not complete: File too large]\n"
        assert later.tail == ""

    def test_log_is_cut_at_its_limit_with_one_note_and_has_the_end_of_each_step(self, tmp_path: Path) -> None:
        """The titles and the ends of steps are always there; the tail is that of the last output."""
        path = tmp_path / "log"
        with TaskLog(path, Secrets(), limit=1000) as log:
            log.begin(STEP)
            log.write(b"a" * 992)
            assert not log.is_full
            for _ in range(3):
                log.write(b"b" * 9000)
            assert log.is_full
            log.write(b"\nlast words\n")
            first = log.end(StepResult(STEP, 1, 0.0))
            log.begin(STEP)
            log.write(b"short\n")
            second = log.end(StepResult(STEP, 0, 0.0))
        end = "b" * (20_000 - len("\nlast words\n")) + "\nlast words\n"
        note = (
            "[the log is cut here, at the limit of max_log, 1 KB: what follows has only the end of each step's "
        )
        note += "output]"
        assert path.read_text() == (
            f"$ make\n{'a' * 992}b\n{note}\n{end}[exit code 1, 0.00 s]\n\n"
            "$ make\nshort\n[exit code 0, 0.00 s]\n"
        )
        assert first.tail == end
        assert second.tail == "short\n"

    def test_limit_is_that_of_the_file(self, tmp_path: Path) -> None:
        """What it had before counts."""
        path = tmp_path / "log"
        path.write_text("x" * 99)
        with TaskLog(path, Secrets(), limit=100) as log:
            log.begin(STEP)
            log.write(b"more\n")
            assert log.is_full


AGENT = Step(StepKind.AGENT, "codex", ("codex",))
SAID = b'{"type":"item.completed","item":{"type":"agent_message","text":"s\\u0033cret"}}\n'
ENDED = b'{"type":"turn.completed","usage":{"input_tokens":20,"output_tokens":2}}\n'


class TestAgentOutput:
    def test_log_is_for_people_and_the_raw_one_has_what_was_printed(self, tmp_path: Path) -> None:
        path = tmp_path / "1.1.log"
        with TaskLog(path, Secrets({"A": "s3cret"}), format="codex") as log:
            log.begin(STEP)
            log.write(SAID)
            before = log.end(StepResult(STEP, 0, 0.0))
            log.begin(AGENT)
            log.write(b"no s3cr")
            log.write(b"et\n" + SAID + ENDED)
            result = log.end(StepResult(AGENT, 0, 0.0))
            log.begin(STEP)
            log.write(ENDED)
        assert path.read_text() == (
            f"$ make\n{SAID.decode()}[exit code 0, 0.00 s]\n\n"
            "$ codex\nno ***\n***\n[the agent used 20 tokens in, 2 tokens out]\n[exit code 0, 0.00 s]\n\n"
            f"$ make\n{ENDED.decode()}"
        )
        assert (tmp_path / "1.1.raw.log").read_bytes() == b"no ***\n" + SAID + ENDED
        assert before.report is None
        assert result.report
        assert result.report.tokens == Tokens(20, 2)
        assert result.tail == "no ***\n***\n[the agent used 20 tokens in, 2 tokens out]\n"

    def test_raw_log_has_the_same_limit(self, tmp_path: Path) -> None:
        with TaskLog(tmp_path / "1.log", Secrets(), limit=500, format="codex") as log:
            log.begin(AGENT)
            for _ in range(100):
                log.write(SAID)
            assert log.is_full
            log.write(ENDED)
            result = log.end(StepResult(AGENT, 0, 0.0))
        raw = (tmp_path / "1.raw.log").read_bytes()
        assert raw[:500] == (SAID * 10)[:500]
        assert raw[500:] == b"\n[the raw log is cut here, at the limit of max_log, 500 bytes]\n"
        assert result.report
        assert result.report.tokens == Tokens(20, 2)

    def test_raw_log_that_cannot_be_written_takes_nothing_from_the_log(self, tmp_path: Path) -> None:
        (tmp_path / "1.raw.log").mkdir()
        with TaskLog(tmp_path / "1.log", Secrets(), format="codex") as log:
            log.begin(AGENT)
            log.write(SAID)
            log.end(StepResult(AGENT, 0, 0.0))
        assert (tmp_path / "1.log").read_text() == "$ codex\ns3cret\n[exit code 0, 0.00 s]\n"

    def test_without_a_format_there_is_no_raw_log(self, tmp_path: Path) -> None:
        with TaskLog(tmp_path / "1.log", Secrets()) as log:
            log.begin(AGENT)
            log.write(SAID)
            assert log.end(StepResult(AGENT, 0, 0.0)).report is None
        assert (tmp_path / "1.log").read_bytes().startswith(b"$ codex\n" + SAID)
        assert not (tmp_path / "1.raw.log").exists()


class TestTail:
    @pytest.mark.parametrize(
        ("output", "text"),
        [
            (b"", ""),
            (b"a\nb", "a\nb"),
            (b"a\r\nb\r\n", "a\nb\n"),
            (b"10 %\r20 %\r100 %\ndone\n", "100 %\ndone\n"),
            (b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07\x1b]8;;x\x1b\\link\n", "red link\n"),
            (b"a\0b\x07\tc\x08\n", "ab\tc\n"),
            (b"\xff\xfeok\n", "\ufffd\ufffdok\n"),
            (b"\n" * 250, "\n" * 200),
        ],
    )
    def test_tail_is_plain_text(self, output: bytes, text: str) -> None:
        assert tail_text(output) == text

    def test_tail_is_short(self) -> None:
        assert tail_text(b"".join(b"%d\n" % n for n in range(299))) == "".join(f"{n}\n" for n in range(99, 299))
        assert tail_text(b"x" * 99_999) == "x" * 20_000

    def test_cut_character_is_left_out(self) -> None:
        assert tail_text("é".encode() * 50_000 + b".") == "é" * 19_999 + "."
        assert tail_text("😀".encode() * 50_000 + b".") == "😀" * 19_999 + "."
        assert tail_text(b"\x1b[31mx\x1b[0m" * 7000) == "x" * 7000  # control sequences do not count
