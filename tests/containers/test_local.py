"""What is particular to processes on this machine: environment, process trees, programs that do not start."""

import asyncio
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import anyio
import pytest

from containers.local import LocalRunner
from containers.local_environment import LOCATIONS
from containers.runner import Job
from containers.worktrees.worktree import Worktree
from tasks.model import Step, StepKind
from tasks.outcome import StepResult
from tasks.secrets import Secrets

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("blockbuster")]

linux = pytest.mark.skipif(sys.platform != "linux", reason="what left its group is found through /proc")
Running = Callable[[], list[int]]


class Silent:
    """A watcher that keeps the results."""

    def __init__(self) -> None:
        self.results: list[StepResult] = []

    async def step_started(self, number: int, step: Step) -> None:
        pass

    async def step_finished(self, number: int, result: StepResult) -> None:
        assert number == len(self.results) + 1
        self.results.append(result)

    async def next_round(self, _: StepResult) -> None:
        return None


class Machine:
    """This machine with a worktree; `$PIDS` is a file to write process ids to."""

    def __init__(self, environ: Mapping[str, str], worktree: Worktree, pids: Path, directory: Path) -> None:
        self.environ = {**environ, "PIDS": str(pids)}
        self.worktree = worktree
        self.files = worktree.path
        self.watcher = Silent()
        self._directory = directory

    @property
    def log(self) -> str:
        return (self._directory / "task.log").read_text()

    def job(self, *steps: str | Sequence[str], timeout: float | None = 60, grace: float = 10) -> Job:
        return Job(
            run="run-7",
            task="1.2a",
            steps=tuple(
                Step(StepKind.RUN, "step", ("sh", "-c", step) if isinstance(step, str) else tuple(step))
                for step in steps
            ),
            log=self._directory / "task.log",
            scratch=self._directory / "scratch",
            timeout=timeout,
            grace=grace,
        )

    async def run(self, job: Job) -> tuple[StepResult, ...]:
        with anyio.fail_after(90):
            return await LocalRunner(self.environ).run(job, self.worktree, self.watcher)

    async def step(self, *argv: str) -> StepResult:
        (result,) = await self.run(self.job(argv))
        return result

    async def until(self, name: str) -> None:
        with anyio.fail_after(60):
            while not (self.files / name).exists():  # noqa: ASYNC110 - it is a process that is waited for
                await anyio.sleep(0.01)


@pytest.fixture
def machine(user_environ: Mapping[str, str], bare_worktree: Worktree, pids: Path, tmp_path: Path) -> Machine:
    return Machine(user_environ, bare_worktree, pids, tmp_path / "run")


class TestEnvironment:
    async def test_environment_is_the_user_s_without_tokens(self, machine: Machine) -> None:
        machine.environ.update(
            EDITOR="vi", GITHUB_TOKEN="a", GH_TOKEN="b", GH_ENTERPRISE_TOKEN="c", GITHUB_ENTERPRISE_TOKEN="d"
        )
        job = machine.job(["env", "-0"])
        (result,) = await machine.run(job)
        found = dict(line.split("=", 1) for line in result.tail.replace("\0", "\n").splitlines() if "=" in line)
        assert result.ok
        assert "a" not in found.values()
        names = (await self._names(machine)) - {"PWD", "SHLVL", "_", "OLDPWD"}
        assert names == {
            "EDITOR",
            "GIT_CEILING_DIRECTORIES",
            "GIT_CONFIG_NOSYSTEM",
            "HOME",
            "LANG",
            "PATCHYARD_ATTEMPT",
            "PATCHYARD_JOB",
            "PATCHYARD_ROUND",
            "PATCHYARD_RUN",
            "PATCHYARD_SLOT",
            "PATCHYARD_TASK",
            "PATCHYARD_WORKTREE",
            "PATH",
            "PIDS",
        }

    @staticmethod
    async def _names(machine: Machine) -> set[str]:
        machine.watcher.results.clear()
        await machine.run(machine.job("env | sed 's/=.*//' > names"))
        return set((machine.files / "names").read_text().split())

    async def test_a_secret_of_the_job_reaches_the_task_and_tokens_do_not(self, machine: Machine) -> None:
        machine.environ.update(API_KEY="of-the-user", GH_TOKEN="ghp_another")
        job = replace(
            machine.job('printf "%s" "$API_KEY,$GH_TOKEN" > t'), secrets=Secrets({"API_KEY": "of-the-user"})
        )
        await machine.run(job)
        assert (machine.files / "t").read_text() == "of-the-user,"

    async def test_the_plan_s_variables_win_over_the_user_s(self, machine: Machine) -> None:
        machine.environ.update(COLOUR="red", SIZE="9")
        job = replace(machine.job("echo $COLOUR $SIZE"), environment={"COLOUR": "blue"})
        assert (await machine.run(job))[0].tail == "blue 9\n"

    async def test_git_works_on_the_worktree_whatever_the_user_s_variables_say(
        self, machine: Machine, tmp_path: Path
    ) -> None:
        other = tmp_path / "other"
        for path in (machine.files, other):
            init = ["git", "init", "-q", str(path)]
            await anyio.run_process(init, env=machine.environ)
        machine.environ.update(dict.fromkeys(LOCATIONS, "/nowhere"))
        machine.environ.update(
            GIT_DIR=str(other / ".git"),
            GIT_WORK_TREE=str(other),
            GIT_CONFIG_COUNT="1",
            GIT_CONFIG_KEY_0="core.bare",
            GIT_CONFIG_VALUE_0="true",
            GIT_AUTHOR_NAME="Ann",
        )
        job = machine.job("git rev-parse --show-toplevel && git var GIT_AUTHOR_IDENT; env | grep ^GIT_")
        job = replace(job, environment={"GIT_AUTHOR_EMAIL": "ann@example.org"})
        (result,) = await machine.run(job)
        top, identity, *names = result.tail.splitlines()
        assert Path(top) == machine.files.resolve()
        assert identity.startswith("Ann <ann@example.org> ")
        assert {name.split("=")[0] for name in names} == {
            "GIT_AUTHOR_EMAIL",
            "GIT_AUTHOR_NAME",
            "GIT_CEILING_DIRECTORIES",
            "GIT_CONFIG_NOSYSTEM",
        }

    async def test_every_variable_that_git_calls_local_is_known(self) -> None:
        git = await anyio.run_process(["git", "rev-parse", "--local-env-vars"])
        assert set(git.stdout.decode().split()) <= LOCATIONS


WAIT = "while [ ! -e ready ]; do sleep 0.01; done"
TREES = [
    pytest.param("echo $$ >> $PIDS; touch ready; sleep 60", id="the process itself"),
    pytest.param("(echo $$ >> $PIDS; sleep 60 & echo $! >> $PIDS; touch ready; wait)", id="grandchildren"),
    pytest.param(
        "sh -c 'sh -c \"sleep 60 & echo \\$! >> $PIDS; touch ready\" & wait'; sleep 60", id="an orphan below"
    ),
    pytest.param("sleep 60 & echo $! >> $PIDS; kill -STOP $!; touch ready; wait", id="a stopped one"),
    pytest.param(
        "timeout 60 sh -c 'echo $$ >> $PIDS; touch ready; sleep 60 > /dev/null'",
        id="below timeout, in a group of its own",
        marks=linux,
    ),
    pytest.param(
        "setsid sh -c 'echo $$ >> $PIDS; touch ready; sleep 60' > /dev/null 2>&1 & sleep 60",
        id="a daemon with its output closed",
        marks=linux,
    ),
]


class TestEnding:
    @pytest.mark.parametrize("tree", [TREES[1], TREES[4]])
    async def test_a_timeout_ends_the_whole_tree(self, machine: Machine, running: Running, tree: str) -> None:
        (result,) = await machine.run(machine.job(tree, timeout=3))
        assert (machine.files / "ready").exists()
        assert result.timed_out
        assert running() == []

    @pytest.mark.parametrize("tree", TREES)
    async def test_cancelling_ends_the_whole_tree(self, machine: Machine, running: Running, tree: str) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(machine.run, machine.job(tree))
            await machine.until("ready")
            group.cancel_scope.cancel()
        assert [result.cancelled for result in machine.watcher.results] == [True]
        assert running() == []

    async def test_bare_cancellation_of_the_asyncio_task_ends_processes(
        self, machine: Machine, running: Running
    ) -> None:
        task = asyncio.create_task(machine.run(machine.job("echo $$ >> $PIDS; touch ready; sleep 60")))
        await machine.until("ready")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [result.cancelled for result in machine.watcher.results] == [True]
        assert running() == []

    async def test_term_leaves_time_to_clean_up(self, machine: Machine) -> None:
        trap = "trap 'sleep 0.3; echo cleaned | tee cleaned; exit 9' TERM"
        script = f"{trap}; touch ready; while :; do sleep 0.05; done"
        (result,) = await machine.run(machine.job(script, timeout=3))
        assert (machine.files / "cleaned").read_text() == "cleaned\n"
        assert (result.exit_code, result.timed_out) == (9, True)
        assert result.tail.endswith("cleaned\n")

    async def test_process_that_ignores_term_is_killed_after_the_grace(
        self, machine: Machine, running: Running
    ) -> None:
        script = "trap '' TERM; echo $$ >> $PIDS; touch ready; while :; do sleep 0.05; done"
        began = perf_counter()  # the time limit counts from the creation of the job
        (result,) = await machine.run(machine.job(script, timeout=3, grace=0.3))
        assert (result.exit_code, result.timed_out) == (137, True)
        assert perf_counter() - began >= 3.3
        assert running() == []

    async def test_an_exit_in_time_is_not_a_timeout(self, machine: Machine) -> None:
        (result,) = await machine.run(machine.job("trap 'exit 0' TERM; kill -TERM $$", timeout=30))
        assert result.ok

    async def test_all_files_are_closed_and_processes_reaped(self, machine: Machine) -> None:
        def state() -> tuple[int, set[str]]:
            tasks = Path("/proc/self/task").glob("*/children")
            return len(list(Path("/proc/self/fd").iterdir())), {
                pid for task in tasks for pid in task.read_text().split()
            }

        if sys.platform != "linux":
            pytest.skip("open files and children are counted through /proc")
        await machine.run(machine.job("true"))
        before = await anyio.to_thread.run_sync(state)
        machine.watcher.results.clear()
        await machine.run(machine.job("true", "sleep 60 &", ["no-such-program"]))
        machine.watcher.results.clear()
        await machine.run(replace(machine.job("cat", "sleep 60", timeout=0.3)))
        assert await anyio.to_thread.run_sync(state) == before


class TestBackground:
    async def test_background_process_runs_until_the_last_step_ends(
        self, machine: Machine, running: Running
    ) -> None:
        server = "(while :; do if [ -e ask ]; then rm ask; echo answer; touch answered; fi; done) &"
        client = "touch ask; while [ ! -e answered ]; do sleep 0.01; done; echo heard"
        results = await machine.run(machine.job(f"{server} echo $! >> $PIDS", client))
        assert [result.ok for result in results] == [True, True]
        assert sorted(results[1].tail.splitlines()) == ["answer", "heard"]
        assert "answer\n" in machine.log
        assert machine.log.endswith("[ending what is still running]\n")
        assert running() == []

    async def test_output_after_term_is_logged(self, machine: Machine) -> None:
        child = "(trap 'echo goodbye; exit' TERM; touch ready; while :; do sleep 0.02; done) &"
        await machine.run(machine.job(f"{child} while [ ! -e ready ]; do sleep 0.01; done"))
        _, after = machine.log.split("[ending what is still running]\n")
        assert after.endswith("goodbye\n")  # after what the shell itself says of its `sleep`

    async def test_endless_background_output_does_not_delay_a_step(self, machine: Machine) -> None:
        results = await machine.run(machine.job("yes & sleep 0.1", "true"))
        assert [result.ok for result in results] == [True, True]

    async def test_output_before_the_exit_is_logged(self, machine: Machine) -> None:
        script = "sleep 60 & echo $! >> $PIDS; head -c 60000 /dev/zero | tr '\\0' z"
        (result,) = await machine.run(machine.job(script))
        assert machine.log.count("z") == 60_000
        assert result.ok

    @linux
    async def test_process_in_another_session_with_open_output_is_terminated(
        self, machine: Machine, running: Running
    ) -> None:
        script = "setsid sh -c 'echo $$ >> $PIDS; touch ready; sleep 60' & " + WAIT
        (result,) = await machine.run(machine.job(script))
        assert result.ok
        assert running() == []

    @linux
    @pytest.mark.parametrize(
        "start",
        [
            "setsid sh -c '{}' > /dev/null 2>&1 < /dev/null &",
            "(setsid nohup sh -c '{}' > /dev/null 2>&1 &)",
            'env -i PATH="$PATH" PIDS="$PIDS" setsid sh -c \'{}\' > /dev/null 2>&1 < /dev/null &',
            '(env -i PATH="$PATH" PIDS="$PIDS" setsid sh -c \'trap "" TERM; {}\' > /dev/null 2>&1 &)',
        ],
    )
    async def test_daemon_that_closed_its_output_is_terminated(
        self, machine: Machine, running: Running, start: str
    ) -> None:
        """Otherwise it would write into the worktree of the next task."""
        script = start.format("echo $$ >> $PIDS; touch ready; exec sleep 60") + "\n" + WAIT
        (result,) = await machine.run(machine.job(script))
        assert result.ok
        assert running() == []

    @linux
    async def test_another_task_s_processes_are_left_alone(self, machine: Machine, running: Running) -> None:
        """Also those of a task with the same name and run, as in another repository."""
        async with anyio.create_task_group() as group:
            other = replace(machine.job("echo $$ >> $PIDS; touch ready; sleep 60"), log=machine.files / "other")
            group.start_soon(LocalRunner(machine.environ).run, other, machine.worktree, Silent())
            await machine.until("ready")
            await machine.run(machine.job("sleep 60", timeout=0.2))
            assert len(running()) == 1
            group.cancel_scope.cancel()
        assert running() == []


class TestNotStarted:
    async def test_a_path_that_is_not_there(self, machine: Machine) -> None:
        result = await machine.step("./missing.sh")
        assert (result.exit_code, result.error) == (127, "there is no program ./missing.sh")

    async def test_a_path_below_a_file(self, machine: Machine) -> None:
        (machine.files / "a").touch()
        result = await machine.step("a/b")
        assert (result.exit_code, result.error) == (127, "there is no program a/b")

    async def test_a_file_that_is_not_executable(self, machine: Machine) -> None:
        (machine.files / "a b.sh").write_text("#!/bin/sh\n")
        result = await machine.step("./a b.sh")
        assert (result.exit_code, result.error) == (126, "'./a b.sh' is not executable")

    async def test_an_interpreter_that_is_not_there(self, machine: Machine) -> None:
        script = machine.files / "a.sh"
        script.write_text("#!/no/such/interpreter\n")
        script.chmod(0o755)
        result = await machine.step("./a.sh")
        assert result.exit_code == 126
        assert result.error == "./a.sh names an interpreter in its first line that does not exist"

    async def test_a_script_without_a_first_line(self, machine: Machine) -> None:
        script = machine.files / "a.sh"
        script.write_text("echo hello\n")
        script.chmod(0o755)
        result = await machine.step("./a.sh")
        assert result.exit_code == 126
        assert str(result.error).startswith("./a.sh is not a program for this system")

    async def test_arguments_that_are_too_long(self, machine: Machine) -> None:
        result = await machine.step("true", "x" * 5_000_000)
        assert result.exit_code == 126
        assert (
            result.error == "true cannot be started: its arguments and variables are too long for this system"
        )

    async def test_a_directory_that_is_gone(self, machine: Machine) -> None:
        machine.files.rmdir()
        result = await machine.step("true")
        assert (result.exit_code, result.error) == (None, f"its directory {machine.files} is gone")

    async def test_a_byte_that_no_argument_can_have(self, machine: Machine) -> None:
        result = await machine.step("echo", "a\0b")
        assert (result.exit_code, result.error) == (None, "echo could not be started: embedded null byte")
        assert not result.ok

    async def test_empty_argument_vector(self, machine: Machine) -> None:
        result = await machine.step()
        assert (result.exit_code, result.error) == (None, "'' could not be started: there is no command")

    async def test_a_prompt_that_cannot_be_written(self, machine: Machine, tmp_path: Path) -> None:
        job = replace(machine.job("true"), scratch=tmp_path / "file" / "scratch")
        (tmp_path / "file").touch()
        (result,) = await machine.run(replace(job, steps=(replace(job.steps[0], stdin="hello"),)))
        assert (result.exit_code, result.error) == (None, "its prompt could not be written: Not a directory")


class TestOutput:
    async def test_memory_stays_flat_however_much_there_is(self, machine: Machine) -> None:
        size = 256 * 1024 * 1024
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        job = replace(machine.job(f"head -c {size} /dev/zero"), secrets=Secrets({"KEY": "0123456789abcdef"}))
        (result,) = await machine.run(job)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert result.ok
        assert (await anyio.Path(job.log).stat()).st_size > size
        assert grown < 32 * 1024  # KiB on Linux; bytes on macOS, where it is stricter

    @linux
    async def test_a_full_disk_does_not_stop_a_step(self, machine: Machine) -> None:
        job = machine.job("echo hello; touch done")
        job.log.parent.mkdir()
        job.log.symlink_to("/dev/full")
        (result,) = await machine.run(job)
        assert result.ok
        assert result.tail == "hello\n[the log is not complete: No space left on device]\n"
        assert (machine.files / "done").exists()

    async def test_a_prompt_s_file_is_for_the_user_alone_and_quoted(
        self, machine: Machine, tmp_path: Path
    ) -> None:
        command = "ls -l {prompt_file} | cut -c1-10; cat '{prompt_file}'; basename {prompt_file}"
        step = Step(StepKind.AGENT, "agent", ("sh", "-c", command), stdin="do it\n", prompt_file=True)
        job = replace(machine.job(), steps=(step,), scratch=tmp_path / "it's a directory")
        (result,) = await machine.run(job)
        assert result.tail == "-rw-------\ndo it\nprompt-1.md\n"
        assert not job.scratch.exists()


async def test_a_hundred_tasks_run_concurrently(machine: Machine, tmp_path: Path) -> None:
    """Each waits for all the others: more threads than the event loop's default limit allows."""
    count = 100
    shared = tmp_path / "shared"
    shared.mkdir()
    script = f"touch {shared}/$PATCHYARD_TASK; while [ ! -e {shared}/all ]; do sleep 0.1; done"
    watchers = [Silent() for _ in range(count)]

    async def run(number: int) -> None:
        job = machine.job(script, timeout=80)
        job = replace(job, task=str(number), log=tmp_path / "logs" / f"{number}.log")
        await LocalRunner(machine.environ).run(job, machine.worktree, watchers[number])

    async with anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(run, number)
        with anyio.fail_after(80):
            arrived = 0
            while arrived < count:
                arrived = len([path async for path in anyio.Path(shared).iterdir()])
                await anyio.sleep(0.05)
        (shared / "all").touch()
    assert [watcher.results[0].exit_code for watcher in watchers] == [0] * count


def test_a_parent_that_ignores_its_children_hides_no_failure(tmp_path: Path) -> None:
    """With SIGCHLD ignored, as some supervisors start programs, the system forgets exit codes."""
    program = """
import signal
from pathlib import Path
from containers.processes import Group
from containers.process_marks import ProcessMark
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
with open("out", "wb") as out:
    path = {"PATH": "/bin:/usr/bin"}
    group = Group(["false"], directory=Path(), environment=path, stdin=None, output=out.fileno(),
                  mark=ProcessMark({}))
    while group.exit_code() is None:
        pass
    group.release()
print(group.exit_code())
"""
    if sys.platform != "linux":
        pytest.skip("elsewhere Python itself cannot tell")
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "255\n"
