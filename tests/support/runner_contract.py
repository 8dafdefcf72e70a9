"""The contract of runners: tests that each runner's test file runs with its own fixture `place`."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import pytest

from containers.agents.prompt import agent_step
from containers.runner import Job, Round, Runner
from containers.task_log import RunnerError
from containers.worktrees.worktree import Worktree
from tasks.agent_report import AgentReport, Tokens
from tasks.model import Step, StepKind
from tasks.outcome import StepResult
from tasks.secrets import Secrets

SECRET = "tok-4c1f-99aa-secret"
HEARTBEAT = "(while :; do echo beat >> beats; sleep 0.02; done) &"


@dataclass
class Recorder:
    """A watcher that records its calls, and calls `then` when a step has ended."""

    events: list[tuple[str, int]] = field(default_factory=list)
    results: list[StepResult] = field(default_factory=list)
    then: Callable[[int], object] = lambda _: None
    pause: float = 0.0
    rounds: list[tuple[Step, ...]] = field(default_factory=list)
    """The steps of further rounds."""
    ends: list[StepResult] = field(default_factory=list)
    """The results with which rounds have ended."""

    async def step_started(self, number: int, step: Step) -> None:
        assert step.kind in {StepKind.RUN, StepKind.AGENT}
        self.events.append(("started", number))

    async def step_finished(self, number: int, result: StepResult) -> None:
        await anyio.sleep(self.pause)
        self.results.append(result)
        self.then(number)
        self.events.append(("finished", number))

    async def next_round(self, last: StepResult) -> Round | None:
        self.ends.append(last)
        return Round(self.rounds.pop(0), len(self.ends) + 1) if self.rounds else None


@dataclass
class Place:
    """A runner with a worktree, and the directory for the files of a job."""

    runner: Runner
    worktree: Worktree
    directory: Path
    start: str = ""
    image: str | None = None

    @property
    def files(self) -> Path:
        return self.worktree.path

    @property
    def log(self) -> str:
        """The text of the log, with every duration replaced by `N s`."""
        path = self.directory / "task.log"
        return re.sub(r"\d+\.\d\d s", "N s", path.read_text(errors="surrogateescape")) if path.exists() else ""

    def job(
        self,
        *steps: str | Step,
        environment: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        timeout: float | None = 60,
    ) -> Job:
        return Job(
            run="run-7",
            task="1.2a",
            steps=tuple(script(step) if isinstance(step, str) else step for step in steps),
            log=self.directory / "task.log",
            scratch=self.directory / "task.scratch",
            environment=environment or {},
            secrets=Secrets(secrets or {}),
            timeout=timeout,
            grace=5,
            start=self.start,
            image=self.image,
        )

    async def run(self, job: Job, watcher: Recorder | None = None) -> tuple[StepResult, ...]:
        with anyio.fail_after(90):
            return await self.runner.run(job, self.worktree, watcher or Recorder())

    async def until_logged(self, text: str) -> None:
        with anyio.fail_after(60):
            while text not in self.log:  # noqa: ASYNC110 - waits for a process
                await anyio.sleep(0.01)

    async def is_quiet(self) -> bool:
        """Return whether the heartbeat has stopped."""
        beats = anyio.Path(self.files / "beats")
        before = await beats.read_bytes()
        await anyio.sleep(0.3)
        return before != b"" and await beats.read_bytes() == before


def script(text: str) -> Step:
    return Step(StepKind.RUN, text.splitlines()[0], ("sh", "-e", "-c", text))


class Contract:
    """The contract. A subclass named `Test…` is collected; its file has a fixture `place`."""

    async def test_rounds_run_in_the_same_place(self, place: Place) -> None:
        say = "echo $PATCHYARD_ROUND >> rounds.txt"
        more = [(script(f"{say}; cat rounds.txt"), script("false"), script("touch never")), (script(say),)]
        watcher = Recorder(rounds=more)
        job = place.job(f"{say}; echo kept > kept.txt; exit 3", "touch never")
        results = await place.run(job, watcher)

        assert [result.exit_code for result in results] == [3, 0, 1, 0]
        assert [result.exit_code for result in watcher.ends] == [3, 1, 0]
        assert results[1].tail == "1\n2\n"
        assert [number for _, number in watcher.events] == [1, 1, 2, 2, 3, 3, 4, 4]
        assert (place.files / "rounds.txt").read_text() == "1\n2\n3\n"
        assert (place.files / "kept.txt").read_text() == "kept\n"
        assert not (place.files / "never").exists()

    async def test_time_limit_is_for_all_rounds(self, place: Place) -> None:
        watcher = Recorder(rounds=[(script("sleep 3; echo two"),), (script("sleep 30"),)])
        results = await place.run(place.job("sleep 1; false", timeout=3), watcher)
        assert [result.timed_out for result in results][:2] == [False, True]

    async def test_steps_run_in_order_in_the_worktree(self, place: Place) -> None:
        watcher = Recorder()
        results = await place.run(place.job("echo a > a.txt", "cat a.txt; cp a.txt b.txt"), watcher)
        assert [result.exit_code for result in results] == [0, 0]
        assert all(result.ok for result in results)
        assert [result.tail for result in results] == ["", "a\n"]
        assert (place.files / "b.txt").read_text() == "a\n"
        assert tuple(watcher.results) == results
        assert watcher.events == [("started", 1), ("finished", 1), ("started", 2), ("finished", 2)]
        assert place.log == (
            "$ echo a > a.txt\n[exit code 0, N s]\n\n$ cat a.txt; cp a.txt b.txt\na\n[exit code 0, N s]\n"
        )

    async def test_steps_after_a_failed_one_do_not_run(self, place: Place) -> None:
        watcher = Recorder()
        results = await place.run(place.job("true", "echo no; exit 3", "touch never"), watcher)
        assert [result.exit_code for result in results] == [0, 3]
        assert not results[-1].ok
        assert results[-1].tail == "no\n"
        assert results[-1].error is None
        assert watcher.events[-1] == ("finished", 2)
        assert not (place.files / "never").exists()
        assert place.log.endswith("$ echo no; exit 3\nno\n[exit code 3, N s]\n")

    async def test_job_without_steps_has_no_results(self, place: Place) -> None:
        assert await place.run(place.job()) == ()

    async def test_step_ended_by_a_signal(self, place: Place) -> None:
        results = await place.run(place.job("kill -KILL $$"))
        assert [result.exit_code for result in results] == [137]
        assert (results[0].cancelled, results[0].timed_out) == (False, False)

    async def test_seconds_are_measured_per_step(self, place: Place) -> None:
        results = await place.run(place.job("sleep 1", "true"))
        assert results[0].seconds >= 1
        assert results[1].seconds < results[0].seconds

    async def test_tail_has_the_last_lines_of_the_output(self, place: Place) -> None:
        results = await place.run(
            place.job("seq 1000", "i=0; while [ $i -lt 9 ]; do printf '%01000d' $i; i=$((i+1)); done")
        )
        assert results[0].tail == "".join(f"{n}\n" for n in range(801, 1001))
        assert results[1].tail == "".join(f"{n:01000d}" for n in range(9))[-20000:]

    async def test_secret_is_set_in_the_task_and_masked_in_the_log(self, place: Place) -> None:
        job = place.job(
            'printf "%s" "$KEY" > key.txt; echo "key=$KEY"',
            f"echo {SECRET}; exit 1",
            secrets={"KEY": SECRET},
        )
        results = await place.run(job)
        assert (place.files / "key.txt").read_text() == SECRET
        assert [result.tail for result in results] == ["key=***\n", "***\n"]
        assert SECRET not in place.log
        assert "key=***\n" in place.log
        assert "$ echo ***; exit 1\n***\n" in place.log

    async def test_secret_written_in_pieces_is_masked(self, place: Place) -> None:
        pieces = "; sleep 0.1; ".join(f"printf %s '{SECRET[i : i + 5]}'" for i in range(0, len(SECRET), 5))
        step = Step(StepKind.RUN, "pieces", ("sh", "-c", f"printf a; {pieces}; echo b"))
        results = await place.run(place.job(step, secrets={"KEY": SECRET}))
        assert results[0].tail == "a***b\n"
        assert place.log == "$ pieces\na***b\n[exit code 0, N s]\n"

    async def test_prefix_of_a_secret_is_not_masked(self, place: Place) -> None:
        results = await place.run(place.job("printf tok-4c1f", "echo -99aa-secret", secrets={"KEY": SECRET}))
        assert [result.tail for result in results] == ["tok-4c1f", "-99aa-secret\n"]

    async def test_output_of_an_agent_is_read_shown_and_kept(self, place: Place) -> None:
        said = '{"type":"item.completed","item":{"type":"agent_message","text":"I wr\\u006fte it."}}'
        used = '{"type":"turn.completed","usage":{"input_tokens":1200,"output_tokens":20}}'
        printed = f"echo starting; printf '%s\\n' '{said}' '{used}'"
        steps = (script(printed), replace(script(printed), kind=StepKind.AGENT, title="codex"))
        results = await place.run(replace(place.job(*steps), format="codex"))

        assert results[0].report is None
        assert results[1].report == AgentReport(None, Tokens(1200, 20), "I wrote it.")
        shown = "starting\nI wrote it.\n[the agent used 1,200 tokens in, 20 tokens out]\n"
        assert results[1].tail == shown
        assert place.log.endswith(f"\n$ codex\n{shown}[exit code 0, N s]\n")
        raw = place.directory / "task.raw.log"
        assert raw.read_text() == f"starting\n{said}\n{used}\n"

    async def test_standard_input_has_the_text_of_the_step(self, place: Place) -> None:
        text = "déjà vu\n" * 50_000
        step = Step(StepKind.RUN, "cat", ("sh", "-c", "cat > in.txt"), stdin=text)
        unread = Step(StepKind.RUN, "true", ("true",), stdin=text)
        results = await place.run(place.job(step, unread, "cat; echo empty"))
        assert (place.files / "in.txt").read_text() == text
        assert results[-1].ok
        assert results[-1].tail == "empty\n"

    async def test_prompt_file_has_the_prompt_and_is_removed(self, place: Place) -> None:
        command = 'cp {prompt_file} a.txt; cp "{prompt_file}" b.txt; cat > c.txt; echo {prompt_file} > name.txt'
        agent = agent_step(command, "Do it.\n")
        step = Step(StepKind.RUN, agent.title, agent.argv, agent.stdin, agent.prompt_file)
        results = await place.run(place.job(step))
        assert results[0].ok, results[0].tail
        assert [(place.files / f"{name}.txt").read_text() for name in "abc"] == ["Do it.\n"] * 3
        name = anyio.Path((place.files / "name.txt").read_text().strip())
        assert not name.is_relative_to(place.files)
        assert not await name.exists()
        assert not (place.directory / "task.scratch").exists()

    async def test_timeout_ends_the_task_and_keeps_its_files(self, place: Place) -> None:
        watcher = Recorder()
        job = place.job("echo one > one.txt", f"{HEARTBEAT} sleep 60", "touch never", timeout=3)
        results = await place.run(job, watcher)
        assert [(result.timed_out, result.cancelled, result.ok) for result in results] == [
            (False, False, True),
            (True, False, False),
        ]
        assert tuple(watcher.results) == results
        assert watcher.events[-1] == ("finished", 2)
        assert (place.files / "one.txt").read_text() == "one\n"
        assert not (place.files / "never").exists()
        assert await place.is_quiet()
        assert re.search(r"\[timed out(, exit code \d+)?, N s\]\n$", place.log)

    async def test_timeout_applies_to_all_steps_together(self, place: Place) -> None:
        results = await place.run(place.job(*["sleep 1"] * 5, timeout=3.5))
        assert 1 < len(results) < 5
        assert [result.timed_out for result in results] == [False] * (len(results) - 1) + [True]

    async def test_step_starts_after_the_watcher_has_handled_the_previous_one(self, place: Place) -> None:
        class Reader(Recorder):
            async def step_finished(self, number: int, result: StepResult) -> None:
                await super().step_finished(number, result)
                logs.append(await anyio.Path(place.directory / "task.log").read_text())

        logs: list[str] = []
        await place.run(place.job("echo first", "echo second"), Reader(pause=0.3))
        assert "first" in logs[0]
        assert "second" not in logs[0]
        assert "second" in logs[1]

    async def test_missing_program_is_reported_as_a_result(self, place: Place) -> None:
        watcher = Recorder()
        missing = Step(StepKind.RUN, "no-such-program --fast", ("no-such-program", "--fast"))
        results = await place.run(place.job("true", missing, "touch never"), watcher)
        assert len(results) == 2
        assert results[1].exit_code == 127
        assert not results[1].ok
        assert results[1].error == "there is no program no-such-program on PATH"
        assert tuple(watcher.results) == results
        assert not (place.files / "never").exists()
        assert place.log.endswith("[there is no program no-such-program on PATH, exit code 127]\n")

    async def test_background_process_does_not_delay_the_next_step(self, place: Place) -> None:
        results = await place.run(
            place.job(f"{HEARTBEAT} echo done", "while [ ! -e beats ]; do sleep 0.01; done")
        )
        assert [result.ok for result in results] == [True, True]
        assert results[0].tail == "done\n"
        assert await place.is_quiet()

    async def test_unwritable_log_raises_an_error(self, place: Place, tmp_path: Path) -> None:
        (tmp_path / "run").write_text("not a directory")
        with pytest.raises(RunnerError, match=r"^the log .*task\.log cannot be written: "):
            await place.run(place.job("touch never"))
        assert not (place.files / "never").exists()
