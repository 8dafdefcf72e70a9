"""The script that runs all steps of a task: run by a real shell, and its report read."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from containers.dagger_engine import step_script as driver
from containers.dagger_engine.step_limits import UNSET
from containers.dagger_engine.step_script import Record, Report
from containers.limits.limits import UNLIMITED, Limits
from tasks.model import Step, StepKind

SHELLS = [shell for shell in (("sh",), ("dash",), ("bash",), ("busybox", "sh")) if shutil.which(shell[0])]
Run = Callable[..., Report]


@pytest.fixture(params=SHELLS, ids=" ".join)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Run steps in a directory, as a container would."""
    shell: tuple[str, ...] = request.param

    def run_steps(  # noqa: PLR0913 - the parts of a script, by name
        *steps: str | Step,
        limit: float | None = None,
        path: str | None = None,
        room: int = driver.OUTPUT_LIMIT,
        variables: Mapping[str, str] | None = None,
        known: str = "",
        limits: Limits = UNLIMITED,
    ) -> Report:
        made = [_script(step) if isinstance(step, str) else step for step in steps]
        numbered = dict(enumerate(made, 1))
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        text = driver.script(
            numbered, timeout=limit, grace=1, variables=variables, output_limit=room, limits=limits
        )
        files = {driver.SCRIPT: text, **driver.inputs(numbered)}
        files[driver.RUN] = driver.run_line("run-7", "mark-1") + known
        for name, text in files.items():
            (home / Path(name).name).write_text(text.replace(driver.HOME, str(home)))
        work = tmp_path / "work"
        work.mkdir(exist_ok=True)
        program = shutil.which(shell[0]) or ""
        done = subprocess.run(
            [program, *shell[1:], str(home / Path(driver.SCRIPT).name)],
            cwd=work,
            env={"PATH": path or "/usr/local/bin:/usr/bin:/bin"},
            capture_output=True,
            check=True,
        )
        assert done.stderr == b""
        return driver.report(done.stdout.decode(errors="replace"))

    return run_steps


def _script(text: str) -> Step:
    return Step(StepKind.RUN, text, ("sh", "-e", "-c", text))


def codes(report: Report) -> dict[int, int | None]:
    return {number: record.exit_code for number, record in report.records.items()}


def test_steps_run_until_one_fails(run: Run, tmp_path: Path) -> None:
    report = run("echo one; printf 'no newline'", "echo two >&2; exit 3", "touch never")
    assert report.run == "run-7"
    assert codes(report) == {1: 0, 2: 3}
    assert report.outputs == {1: "one\nno newline", 2: "two\n"}
    assert not any(record.timed_out for record in report.records.values())
    assert not (tmp_path / "work" / "never").exists()


def test_they_know_their_run(run: Run) -> None:
    assert run('echo "$PATCHYARD_RUN"').outputs == {1: "run-7\n"}


def test_they_know_the_variables_of_their_task_alone(run: Run) -> None:
    known = driver.task_line("1.1", {"PATCHYARD_SLOT": "2", "PATCHYARD_PORT": "20010"})
    known += driver.task_line("1.10", {"PATCHYARD_SLOT": "4"}) + driver.task_line("2", {"PATCHYARD_SLOT": "5"})
    report = run(
        'echo "$PATCHYARD_SLOT ${PATCHYARD_PORT-none}"', variables={"PATCHYARD_TASK": "1.10"}, known=known
    )
    assert (report.outputs, report.run, report.mark) == ({1: "4 none\n"}, "run-7", "mark-1")


@pytest.mark.parametrize("code", [1, 124, 127, 128, 143, 255])
def test_an_exit_code_is_kept(run: Run, code: int) -> None:
    for limit in (None, 60):
        report = run(f"exit {code}", limit=limit)
        assert report.records[1].exit_code == code
        assert not report.records[1].timed_out


def test_seconds_are_the_steps_own(run: Run) -> None:
    report = run("sleep 0.3", "true")
    assert report.records[1].seconds >= 0.29
    assert report.records[2].seconds < report.records[1].seconds


def test_the_time_is_that_of_all_steps(run: Run, tmp_path: Path) -> None:
    report = run("sleep 0.4", "echo began; sleep 60; touch never", "touch never", limit=1)
    assert codes(report)[1] == 0
    assert report.records[2].timed_out
    assert report.outputs[2] == "began\n"
    assert 3 not in report.records
    assert not (tmp_path / "work" / "never").exists()


def test_step_that_does_not_exit_is_killed(run: Run) -> None:
    report = run("trap '' TERM; while :; do sleep 0.1; done", limit=1)
    assert report.records[1].timed_out


def test_a_step_that_would_begin_too_late_does_not(run: Run) -> None:
    # The first one ends in time by its own count, and what it leaves takes the rest of the time.
    report = run("trap 'exit 0' TERM; while :; do sleep 0.1; done", "touch never", limit=0.5)
    assert report.records[1].timed_out or report.records[2] == Record(None, 0.0, timed_out=True, why="late")


def test_a_missing_program(run: Run) -> None:
    report = run("true", Step(StepKind.RUN, "x", ("no-such-program", "--fast")), "touch never", limit=60)
    assert report.records[2] == Record(127, 0.0, why="missing")
    assert 3 not in report.records


def test_without_timeout_there_can_be_no_limit(run: Run, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "chmod"):
        (tools / name).symlink_to(shutil.which(name) or "")
    assert run("true", path=str(tools)).records[1].exit_code == 0
    assert run("true", path=str(tools), limit=5).records == {1: Record(None, 0.0, why="untimed")}


def test_standard_input_and_the_prompt_file(run: Run) -> None:
    text = "déjà vu 'quoted' \"twice\" $HOME `x`\\n\n"
    prompt = Step(StepKind.AGENT, "agent", ("sh", "-c", 'cat; cat "{prompt_file}"'), text, prompt_file=True)
    assert run("cat; echo empty", prompt).outputs == {1: "empty\n", 2: text + text}


def test_arguments_are_as_they_are(run: Run) -> None:
    odd = ("a b", "'", '"', "$HOME", "`x`", "\\", "*", "-n", "", "new\nline", "ü")
    step = Step(StepKind.RUN, "x", ("sh", "-c", 'for a; do printf "<%s>" "$a"; done', "sh", *odd))
    assert run(step).outputs == {1: "".join(f"<{argument}>" for argument in odd)}


def test_background_process_does_not_delay_the_script(run: Run) -> None:
    report = run("(sleep 0.2; echo late) > /dev/null & echo done", "echo next")
    assert report.outputs == {1: "done\n", 2: "next\n"}


def test_a_long_output_is_cut_with_a_note(run: Run) -> None:
    report = run("yes | head -c 500000; sleep 1; yes | head -c 5000000; echo end; exit 3", room=100_000)
    assert codes(report) == {1: 3}
    beginning, note, end = report.outputs[1].partition(f"\n{driver.CUT}\n")
    assert note
    assert set(beginning.splitlines()) == {"y"}
    assert 100_000 < len(beginning) < 5_000_000
    assert end == "y\n" * ((driver.TAIL - 4) // 2) + "end\n"


def test_an_output_below_the_limit_is_complete(run: Run) -> None:
    report = run("yes | head -c 50000; sleep 0.5; echo end", "echo next", room=200_000)
    assert report.outputs == {1: "y\n" * 25_000 + "end\n", 2: "next\n"}


def test_a_process_that_keeps_the_output_open_does_not_delay_the_script_for_long(run: Run) -> None:
    report = run("(sleep 5; echo late) & echo done", "echo next")
    assert report.outputs[1] == "done\n"
    assert report.outputs[2].startswith("next\n")


def test_output_can_be_opened_again(run: Run) -> None:
    assert run("echo one > /dev/stdout; echo two > /dev/stderr").outputs == {1: "one\ntwo\n"}


def test_directories_can_be_written_to_at_the_end(run: Run, tmp_path: Path) -> None:
    """An engine writes their files after it has given them their permissions."""
    run("mkdir -p 'a b/c' d; echo f > 'a b/c/f'; chmod 555 'a b/c'; chmod 000 'a b'; chmod 1777 d")
    work = tmp_path / "work"
    found = {name: (work / name).stat().st_mode & 0o7777 for name in ("a b", "a b/c", "d")}
    assert found == {"a b": 0o700, "a b/c": 0o755, "d": 0o1777}


def test_sockets_are_removed_at_the_end(run: Run, tmp_path: Path) -> None:
    bind = "import socket; socket.socket(socket.AF_UNIX).bind('d/socket')"
    run(f'mkdir d; python3 -c "{bind}"; echo x > d/file; exit 1')
    assert [path.name for path in (tmp_path / "work/d").iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("output", "report"),
    [
        ("", Report()),
        ("sh: not found\n", Report()),
        (f"{driver.MARK}run r\n{driver.MARK}step 1\nhalf", Report("r", {}, {1: "half"})),
        (
            f"{driver.MARK}step 2\nx{driver.MARK}end 2 137 100 250 late\n",
            Report(None, {2: Record(137, 1.5, timed_out=True)}, {2: "x"}),
        ),
        (f"{driver.MARK}end 1 no such thing\n{driver.MARK}end x 1 2 3\n{driver.MARK}odd\n", Report()),
        (f"{driver.MARK}step 1\n{driver.MARK}end 1 0 1 ***\n", Report(None, {}, {1: ""})),
    ],
)
def test_a_report_is_read_as_far_as_it_goes(output: str, report: Report) -> None:
    assert driver.report(output) == report


def test_limits_hold_for_each_process(run: Run) -> None:
    limits = Limits(memory=400_000_000, files=1_000_000)
    report = run(
        "grep -E 'Max (data|file) size' /proc/self/limits",
        "exec head -c 2000000 /dev/zero > big",
        limits=limits,
        limit=60,
    )
    rows = {line.split()[1]: line.split()[3:5] for line in report.outputs[1].splitlines()}
    assert rows == {"file": ["999936", "999936"], "data": ["400000000", "400000000"]}
    assert report.records[2].exit_code not in {0, None}


def test_tasks_side_by_side_get_other_processors(run: Run) -> None:
    """Those of the script itself, from the number of the worktree on, and around."""
    there = sorted(os.sched_getaffinity(0))
    for slot in range(1, len(there) + 2):
        known = driver.task_line("1", {"PATCHYARD_SLOT": str(slot)})
        report = run(
            "grep Cpus_allowed_list /proc/self/status",
            variables={"PATCHYARD_TASK": "1"},
            known=known,
            limits=Limits(cpus=1),
        )
        assert report.outputs[1].split()[1] == str(there[(slot - 1) % len(there)])
    report = run("grep Cpus_allowed_list /proc/self/status; nproc", limits=Limits(cpus=1000))
    assert report.outputs[1].split()[2] == str(len(there))


def test_limits_that_cannot_be_set_are_said(run: Run, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("cat", "tail", "sleep", "mkfifo", "rm", "id", "sh", "echo"):
        (programs / name).symlink_to(shutil.which(name) or "")
    report = run("echo fine", limits=Limits(cpus=1, processes=100), path=str(programs))
    said = f"[{UNSET}: processes (none for root), cpus (its image has no taskset)]\nfine\n"
    assert report.outputs == {1: said if os.getuid() == 0 else said.replace("processes (none for root), ", "")}


def test_processes_are_limited_for_ordinary_users(run: Run) -> None:
    limited = run("grep 'Max processes' /proc/self/limits", limits=Limits(processes=123))
    assert ("123 " in limited.outputs[1]) is (os.getuid() != 0)
