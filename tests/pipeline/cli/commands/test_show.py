"""The commands that inspect stored runs: status, runs, logs, diff and patches."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from project import Done, Project, fingerprint, wait_for
from terminal import on_terminal

SCRIPTS = {
    "1.1": "echo one > one.txt; printf '\\000\\001' > blob.bin; chmod +x src/app.py; echo said",
    "1.2": "git mv README.md LIESMICH.md; printf 'crlf\\r\\n' > 'ü name.txt'",
    "1.3": "echo broken > broken.txt; echo last words; exit 6",
    "1.4": "true",
    "2.1": "cat one.txt > two.txt",
}


@pytest.fixture
def ended(project: Project) -> Done:
    """A run of two batches with a failed task."""
    return project.run(project.tasks(SCRIPTS), "--keep-going").expect(1)


def test_status_shows_the_newest_run_or_one_by_id_prefix(project: Project, ended: Done) -> None:
    second = project.run(project.tasks({"1.1": "true"}, "second.md", title="Second")).expect(0)

    newest = project.call("status").expect(0).out
    first = project.call("status", ended.run[:-1]).expect(0).out

    assert f"run {second.run}: Second: succeeded" in newest
    assert f"run {ended.run}: Demo: failed" in first
    assert re.search(r"1\.3 +Do 1\.3 +failed +\d+\.\d s +wt-\d +1 +\+1 .0 +run step 1 `echo broken", first)
    assert "last words" in first
    both = project.call("status", "2").expect(2)
    assert re.fullmatch(r"patchyard: 2 matches 2 runs; use a longer prefix\n", both.err)


def test_runs_lists_every_run_the_newest_last(project: Project, ended: Done) -> None:
    second = project.run(project.tasks({"1.1": "true"}, "second.md", title="Second")).expect(0)

    lines = project.call("runs").expect(0).out.splitlines()

    assert [line.split()[:2] for line in lines[1:]] == [[ended.run, "failed"], [second.run, "succeeded"]]
    assert lines[-1].rstrip().endswith("Second")


def test_logs_prints_what_a_task_printed(project: Project, ended: Done) -> None:
    log = project.call("logs", ended.run, "1.1").expect(0).out

    assert "said\n" in log
    assert log == project.log(ended.run, "1.1")
    raw = project.call("logs", ended.run, "1.1", "--raw").expect(2).err
    assert raw == (
        f"patchyard: task 1.1 of run {ended.run} has no raw log: "
        "it has no agent whose output is shown otherwise, so `patchyard logs` prints all of it\n"
    )
    assert project.call("logs", "latest", "1.3", "--follow").expect(0).out.count("last words\n") == 1


def test_logs_of_all_tasks_are_printed_in_the_order_of_their_lines(project: Project) -> None:
    turn = 'while [ ! -e "$SHARED/{}" ]; do sleep 0.01; done; echo {}; sleep 0.05; touch "$SHARED/{}"\n'
    scripts = {
        "1.1": "touch $SHARED/a\n" + turn.format("a", "ping 1", "b") + turn.format("c", "ping 2", "d"),
        "1.2": turn.format("b", "pong 1", "c") + turn.format("d", "pong 2", "e") + "printf unended",
    }
    done = project.run(project.tasks(scripts)).expect(0)

    printed = project.call("logs", "--timestamps").expect(0).out
    alone = project.call("logs", "1.2", "-t").expect(0).out

    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
    said = [
        line[24:] for line in printed.splitlines() if re.match(rf"{time} 1\.\d \| (ping|pong|unended)", line)
    ]
    assert said == ["1.1 | ping 1", "1.2 | pong 1", "1.1 | ping 2", "1.2 | pong 2", "1.2 | unended"]
    assert re.search(rf"^{time} pong 2\n{time} unended", alone, re.MULTILINE)
    assert project.call("logs", done.run, "--follow").expect(0).out.count("| ping") == 2
    assert "need a TASK" in project.call("logs", "--raw").expect(2).err
    assert "there is no run 7.7" in project.call("logs", "7.7").expect(2).err


def test_logs_does_not_wait_for_a_pipe_in_place_of_a_log(project: Project, ended: Done) -> None:
    """A task of this machine knows where its log is, and can replace it."""
    log = project.state / "runs" / ended.run / "1.1.log"
    log.unlink()
    os.mkfifo(log)

    said = project.call("logs", "latest", "1.1").expect(2).err

    assert "1.1.log is not a plain file, so it is not printed" in said


def test_logs_follows_a_task_until_it_has_ended(project: Project) -> None:
    script = """
echo first
touch "$SHARED/in"
while [ ! -e "$SHARED/go" ]; do sleep 0.01; done
echo second
"""
    with project.start("run", project.tasks({"1.1": script, "2.1": "true"}), "--json") as run:
        wait_for((project.shared / "in").exists)
        wait_for(lambda: project.call("runs", "--json").records)
        assert project.call("runs", "--json").records[0]["status"] == "running"
        assert "first" in project.call("logs", "latest", "1.1").expect(0).out
        with project.start("logs", "latest", "1.1", "--follow") as follower:
            assert follower.process.stdout is not None
            lines = [follower.process.stdout.readline() for _ in range(6)]
            assert (lines[0], lines[-1]) == ("$ echo first (+3 lines)\n", "first\n")
            (project.shared / "go").touch()
            rest = follower.done().expect(0)
        run.done().expect(0)

    assert "second\n" in rest.out
    assert "exit code 0" in rest.out


def test_diff_prints_one_patch_or_all(project: Project, ended: Done) -> None:
    one = project.call("diff", ended.run, "2.1").expect(0).out
    every = project.call("diff", "latest").expect(0).out

    assert one.startswith("diff --git a/two.txt b/two.txt\nnew file mode 100644\n")
    assert every.count("diff --git ") == 8
    assert one in every
    assert "broken.txt" in every, "what a failed task changed is shown"


def test_git_applies_the_patches_on_the_commits_that_their_tasks_started_from(
    project: Project, ended: Done, tmp_path: Path
) -> None:
    output = tmp_path / "some" / "where"

    written = project.call("patches", ended.run, "--output", output).expect(0).out.splitlines()

    assert written == [str(output / f"{task}.patch") for task in ("1.1", "1.2", "2.1")]
    assert sorted(path.name for path in output.glob("*.patch")) == ["1.1.patch", "1.2.patch", "2.1.patch"]
    scratch = tmp_path / "scratch"
    project.clone.git("clone", "--quiet", project.root, scratch)
    for task in ("1.1", "1.2", "2.1"):
        branch = f"origin/patchyard/demo/{task}"
        _git(scratch, "checkout", "--quiet", "--detach", f"{branch}^")
        _git(scratch, "apply", "--index", str(output / f"{task}.patch"))
        assert _git(scratch, "write-tree") == _git(scratch, "rev-parse", f"{branch}^{{tree}}")
        _git(scratch, "reset", "--quiet", "--hard")


def _git(cwd: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=cwd, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_user_tree_is_unchanged(project: Project) -> None:
    before = fingerprint(project.root, ".git")
    done = project.run(project.tasks(SCRIPTS), "--keep-going").expect(1)

    for command in (["status"], ["runs"], ["logs", done.run, "1.1"], ["diff", done.run], ["clean"]):
        project.call(*command).expect(0)

    assert fingerprint(project.root, ".git") == before
    assert project.clone.git("status", "--porcelain", "--ignored") == ""


WRONG = [
    (["status"], "this repository has no runs yet; start one with `patchyard run PLAN`"),
    (["diff", "latest"], "this repository has no runs yet; start one with `patchyard run PLAN`"),
    (["logs", "latest", "1.1"], "this repository has no runs yet; start one with `patchyard run PLAN`"),
]


@pytest.mark.parametrize(("command", "message"), WRONG)
def test_missing_run_is_reported_in_one_sentence(project: Project, command: list[str], message: str) -> None:
    done = project.call(*command).expect(2)

    assert (done.out, done.err) == ("", f"patchyard: {message}\n")


def test_unknown_run_or_task(project: Project, ended: Done) -> None:
    message = project.call("status", "nosuch").expect(2).err
    assert message == "patchyard: there is no run nosuch in this repository; `patchyard runs` lists them\n"
    for command in ("diff", "logs"):
        message = project.call(command, ended.run, "9.9").expect(2).err
        hint = f"`patchyard status {ended.run}` lists its tasks"
        assert message == f"patchyard: run {ended.run} has no finished task 9.9; {hint}\n"


def test_logs_of_a_task_that_did_not_run_explain_why(project: Project) -> None:
    plan = project.tasks({"1.1": "true"}, fields={"1.1": "**Status:** completed"})
    run = project.run(plan).expect(0).run

    for more in ([], ["--follow"]):
        message = project.call("logs", run, "1.1", *more).expect(2).err
        assert message == (
            f"patchyard: task 1.1 of run {run} has no log (skipped): the plan says that it is completed\n"
        )


def test_patches_of_a_run_that_changed_nothing(project: Project, tmp_path: Path) -> None:
    run = project.run(project.tasks({"1.1": "true"})).expect(0).run

    done = project.call("patches", run, "--output", tmp_path / "out").expect(0)

    assert (done.out, done.err) == ("", f"no task of run {run} succeeded with changes\n")


def test_unwritable_patches(project: Project, ended: Done, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    done = project.call("patches", ended.run, "--output", tmp_path / "file" / "below").expect(2)

    assert done.err == f"patchyard: cannot write to {tmp_path / 'file' / 'below'}: Not a directory\n"


HOSTILE = r"printf 'a \033]52;c;UFdORUQ=\007 \033[2J\033[31mred\033[0m\b\342\200\256cba\302\233x\rb\n'"


def test_a_terminal_gets_no_control_sequence_of_a_task(project: Project) -> None:
    done = project.run(project.tasks({"1.1": f"{HOSTILE} | tee f.txt"})).expect(0)

    log = on_terminal(project, "logs", done.run, "1.1")
    patch = on_terminal(project, "diff", done.run, "1.1")

    for shown in (log, patch):
        assert [one for one in shown if one not in "\r\n\t" and not one.isprintable()] == []
        assert "<U+202E>cba<U+009B>x" in shown
    assert "a  red<U+0008><U+202E>" in log
    assert "+a <U+001B>]52;c;UFdORUQ=<U+0007> <U+001B>[2J" in patch


def test_a_pipe_gets_every_byte_of_a_task(project: Project) -> None:
    done = project.run(project.tasks({"1.1": f"{HOSTILE} | tee f.txt"})).expect(0)
    written = project.clone.git("show", "patchyard/demo/1.1:f.txt")

    assert written.removesuffix("\n") in project.call("logs", done.run, "1.1").expect(0).out
    assert written.removesuffix("\n") in project.call("diff", done.run, "1.1").expect(0).out


def test_bidirectional_marks_are_visible_in_tables(project: Project) -> None:
    plan = project.tasks({"1.1": "printf 'b\\342\\200\\256a' >&2; exit 1"}, title="Re\u202eversed")
    done = project.call("run", plan).expect(1)
    assert "\u202e" not in done.out + done.err
    shown = project.call("status").expect(0).out + project.call("runs").out
    assert "\u202e" not in shown
    assert "Re<U+202E>versed" in shown
    assert "b<U+202E>a" in shown


def test_the_newest_run_is_meant_if_none_is_named(project: Project, tmp_path: Path) -> None:
    project.run(project.tasks({"1.1": "echo older > a.txt"})).expect(0)
    newest = project.run(project.tasks({"1.1": "echo newest > a.txt"})).expect(0).run

    project.call("patches", "--output", tmp_path / "out").expect(0)

    assert "+newest" in (tmp_path / "out" / "1.1.patch").read_text()
    assert project.call("resume").expect(0).err == f"run {newest} is complete: nothing left to do\n"
