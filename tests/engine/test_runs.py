"""Whole runs in containers, with the real command."""

import os
import re
import signal
import time
import uuid
from collections.abc import Callable

import engine_access
import pytest
from project import Done, Project
from repositories import Clone

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

KEY = "s3cr3t-value-of-a-key"


@pytest.fixture
def project(clone: Clone, test_image: str) -> Project:
    project = Project(clone, engine_access.variables(os.environ))
    project.configure(f'mode = "dagger"\nimage = "{test_image}"\n')
    return project


def unique() -> str:
    """Return unique text, which no engine has cached."""
    return uuid.uuid4().hex


def test_batches_build_on_each_other(project: Project) -> None:
    scripts = {
        "1.1": "echo 1 > one",
        "1.2": "echo 2 > two",
        "2.1": "cat one two > both; git log --format=%s -1",
    }
    done = project.run(project.tasks(scripts)).expect(0)
    assert project.show("patchyard/demo/2.1:both") == "1\n2"
    assert project.clone.git("status", "--porcelain") == "?? patchyard.toml"
    # The start point of batch 2 is a merge that was on no branch when the task started.
    parents = project.clone.git("rev-list", "--parents", "-1", "patchyard/demo/2.1~1").split()
    assert len(parents) == 3
    assert done.statuses == dict.fromkeys(scripts, "changed")


def test_timed_out_task_keeps_its_files(project: Project) -> None:
    plan = project.tasks({"1.1": "echo so far > far; sleep 100; touch never"})
    done = project.run(plan, "--timeout", "3s")
    assert done.code == 1
    assert done.statuses == {"1.1": "timed_out"}
    assert done.outcome("1.1")["files"] == ["far"]
    assert str(done.outcome("1.1")["error"]).startswith("timed out after 3 s in run step 1")


def printed_time(project: Project, done: Done) -> str:
    """Return what `date +%s%N` printed in task 1.3, in its last attempt."""
    found = re.search(r"^[0-9]{19}$", project.call("logs", done.run, "1.3").out, re.MULTILINE)
    assert found
    return found[0]


def test_unchanged_task_is_cached_and_failed_task_runs_again(project: Project) -> None:
    cache, mark = f"/cache/{unique()}", unique()
    project.configure(f'{(project.root / "patchyard.toml").read_text()}[container]\ncaches = ["{cache}"]\n')
    works_later = f"test -e {cache}/there && echo 1 > two"
    plan = project.tasks({"1.1": f"echo {mark} > one", "1.2": works_later, "1.3": "date +%s%N; exit 7"})

    def cached(done: Done) -> list[object]:
        return [outcome["cached"] for outcome in done.finished["outcomes"]]

    first = project.run(plan)
    assert first.statuses == {"1.1": "changed", "1.2": "failed", "1.3": "failed"}
    assert cached(first) == [False, False, False]
    project.run(project.tasks({"9": f"touch {cache}/there"}, name="other.md"))
    second = project.run(plan)
    assert second.statuses == {"1.1": "changed", "1.2": "changed", "1.3": "failed"}
    assert cached(second) == [True, False, False]
    times = [printed_time(project, first), printed_time(project, second)]
    assert project.call("retry", second.run, "1.3").code == 1
    assert len({*times, printed_time(project, second)}) == 3
    assert cached(project.run(plan, "--fresh")) == [False, False, False]

    shown = project.call("run", plan)
    assert "changed, cached" in shown.out
    stored = project.call("status", second.run)
    assert "changed, cached" in stored.out
    assert "failed, cached" not in stored.out


def test_secrets_are_not_in_logs_or_patches(project: Project) -> None:
    project.configure(f'{(project.root / "patchyard.toml").read_text()}secrets = ["KEY"]\n')
    plan = project.tasks(
        {"1.1": 'echo "$KEY"; printf %s "$KEY" | base64; echo fine > f', "1.2": 'echo "$KEY" > leaked'}
    )
    done = project.call("run", plan, "--json", environ={"KEY": KEY})
    assert done.statuses == {"1.1": "changed", "1.2": "failed"}
    assert "KEY" in str(done.outcome("1.2")["error"])
    assert "***\n***\n" in project.log(done.run, "1.1")
    assert KEY not in done.out + done.err
    for path in project.state.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path


def test_text_that_is_not_utf_8_is_replaced_or_rejected(
    project: Project, make_repository: Callable[..., Clone], test_image: str
) -> None:
    project.clone.git("config", "user.name", "J\udcf6rg")
    project.configure(f'mode = "dagger"\nimage = "{test_image}"\nsecrets = ["KEY"]\n')
    plan = project.tasks({"1.1": "echo 1 > one; git commit -qm one --allow-empty"})
    done = project.call("run", plan, "--json", environ={"KEY": KEY}).expect(0)
    assert project.clone.git("log", "-1", "--format=%an", "patchyard/demo/1.1") == "Jörg"
    done = project.call("run", plan, "--json", "--fresh", environ={"KEY": "\udcffabcdefgh"}).expect(1)
    assert "the value of KEY is not UTF-8" in done.outcome("1.1")["error"]

    odd = Project(
        make_repository("repo\udcff", {"README.md": "# Sample\n"}), engine_access.variables(os.environ)
    )
    done = odd.run(odd.tasks({"1.1": "true"}), "--mode", "dagger", "--image", test_image).expect(1)
    assert "is not UTF-8, and a Dagger engine takes nothing else" in done.outcome("1.1")["error"]


def test_pool_size_limits_the_number_of_containers(project: Project) -> None:
    cache = f"/cache/{unique()}"
    project.configure(f'{(project.root / "patchyard.toml").read_text()}[container]\ncaches = ["{cache}"]\n')
    script = (
        f"mkdir {cache}/$PATCHYARD_TASK; sleep 1.5; ls {cache} | wc -l > seen-$PATCHYARD_TASK; "
        f"rmdir {cache}/$PATCHYARD_TASK"
    )
    scripts = {f"1.{number}": script for number in range(1, 6)}
    project.run(project.tasks(scripts), "--pool-size", "2").expect(0)
    seen = [int(project.show(f"patchyard/demo/{task}:seen-{task}")) for task in scripts]
    assert max(seen) == 2


def test_setup_copied_files_and_environment(project: Project) -> None:
    (project.root / ".env").write_text("TOKEN=1\n")
    project.configure(
        f'{(project.root / "patchyard.toml").read_text()}[environment]\nCOLOUR = "dark green"\n'
        '[worktree]\ncopy = [".env"]\nsetup = ["echo generated > lock; echo set up >> README.md"]\n'
    )
    script = 'cat .env lock; echo "$COLOUR"; echo mine >> mine; sed -i "1i top" README.md'
    done = project.run(project.tasks({"1.1": script})).expect(0)
    assert done.outcome("1.1")["files"] == ["README.md", "mine"]
    assert project.show("patchyard/demo/1.1:README.md") == "top\n# Sample"
    assert "TOKEN=1\ngenerated\ndark green\n" in project.log(done.run, "1.1")


def test_interruption_ends_the_containers(project: Project) -> None:
    cache = f"/cache/{unique()}"
    project.configure(f'{(project.root / "patchyard.toml").read_text()}[container]\ncaches = ["{cache}"]\n')
    loop = f"trap '' INT TERM; while :; do echo beat >> {cache}/beats; sleep 0.1; done"
    beats = f"test -s {cache}/beats; a=$(wc -l < {cache}/beats); sleep 1; test $a = $(wc -l < {cache}/beats)"
    plan = str(project.tasks({"1.1": loop, "1.2": "echo 1 > one"}))
    with project.start("run", plan, "--json") as started:
        for line in started.process.stdout or ():
            if '"task_finished"' in line:
                break
        time.sleep(1)
        began = time.monotonic()
        started.signal(signal.SIGINT)
        done = started.done()
    assert time.monotonic() - began < 50
    assert done.code == 130
    assert '"status": "cancelled"' in done.out
    assert "Traceback" not in done.err
    project.run(project.tasks({"1.1": beats}, "look.md")).expect(0)


def test_verification_is_checked_before_any_change(project: Project) -> None:
    """Each command once on each start commit, after the set-up; what it changes stays in its container."""
    more = '[worktree]\nsetup = ["echo $PATCHYARD_ROUND > ready"]\nteardown = ["cat ready > /dev/null"]\n'
    project.configure((project.root / "patchyard.toml").read_text() + more)
    command = f"test -e ready; echo round $PATCHYARD_ROUND {unique()}; touch left; test -e made"
    checks = f"**Verification:**\n- `{command}`\n- `! test -e lost`\n\n"
    scripts = {"1.1": "touch made", "1.2": "touch made other", "2.1": "touch last"}
    plan = project.tasks(scripts, fields=dict.fromkeys(scripts, checks))
    done = project.call("run", plan, "--check-base", "--json", patience=240).expect(0)

    first, second = done.events("base_check_finished")
    assert [one["exit_code"] for one in first["results"]] == [1, 0]
    assert [one["exit_code"] for one in second["results"]] == [0, 0]
    assert [len(done.outcome(task).get("fails_before", [])) for task in scripts] == [1, 1, 0]
    assert done.outcome("1.2")["files"] == ["left", "made", "other"]
    assert project.call("logs", done.run, "1.2", "--base").expect(0).out.count("\nround 0 ") == 1
    assert "\nround 1 " in project.log(done.run, "1.2")
    assert done.events("notice") == []


def test_missing_image_fails_only_its_task(project: Project) -> None:
    plan = project.plan(
        "# Images\n### Task 1: Here\n**Run:**\n- `echo 1 > one`\n"
        "### Task 2: Elsewhere\n**Image:** registry.invalid/no/such:image\n**Run:**\n- `echo 2 > two`\n"
    )
    done = project.call("run", plan, "--json")
    assert done.code == 1
    assert done.statuses == {"1": "changed", "2": "failed"}
    assert "registry.invalid/no/such:image" in str(done.outcome("2")["error"])


def test_missing_dagger_command_line_is_reported(project: Project) -> None:
    environ = {"_EXPERIMENTAL_DAGGER_CLI_BIN": "", "PATH": "/usr/bin:/bin"}
    done = project.call("run", project.tasks({"1.1": "true"}), environ=environ)
    assert done.code == 4
    assert done.err.startswith("patchyard: mode dagger needs the dagger command line: install it (https://")
