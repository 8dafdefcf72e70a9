"""The programs that make the sandbox are those of the system, whatever an earlier step has put in their way."""

import os
import shutil
from pathlib import Path

import pytest
from project import Project
from sandboxes import ON, fill_home, require_sandbox, sandbox_log

PROGRAMS = ("nsenter", "bwrap", "setpriv", "unshare")


def _second_step(project: Project, first: str, **environ: str) -> str:
    """Run a step in a worktree, and another one after it; return the log of both."""
    (project.clone.path / "first").write_text(first)
    project.clone.commit()
    project.configure("[worktree]\nsetup = ['sh first']\n")
    return sandbox_log(project, 'echo "second step $LD_LIBRARY_PATH"', **environ)


@pytest.mark.parametrize("entry", ["bin", "./bin", ""])
def test_no_program_of_a_worktree_is_started_outside(sandboxed: Project, tmp_path: Path, entry: str) -> None:
    """An entry of PATH that is relative leads into the worktree, as `node_modules/.bin` does."""
    mark, directory = tmp_path / "ran", entry or "."
    first = f"mkdir -p {directory}\n" + "\n".join(
        f"printf '#!/bin/sh\\ntouch {mark}\\n' > {directory}/{name}; chmod +x {directory}/{name}"
        for name in PROGRAMS
    )
    log = _second_step(sandboxed, first, PATH=f"{entry}:{sandboxed.environ['PATH']}")
    assert "second step " in log.splitlines()
    assert not mark.exists()


@pytest.mark.parametrize("is_relative", [False, True])
def test_no_library_of_a_task_is_loaded_by_them(sandboxed: Project, *, is_relative: bool) -> None:
    """What the linker cannot load makes it fail."""
    home = fill_home(sandboxed, {"lib/x": ""})
    place = "lib" if is_relative else f"{home}/lib"
    first = f"mkdir -p {place}; touch {place}/libcap.so.2 {place}/libselinux.so.1 {place}/libpcre2-8.so.0"
    log = _second_step(sandboxed, first, LD_LIBRARY_PATH=place)
    assert f"second step {place}" in log.splitlines()


def test_variables_of_the_linker_hold_for_the_task(sandboxed: Project) -> None:
    log = sandbox_log(sandboxed, "cd /; LD_DEBUG= sh -c 'echo $LD_DEBUG_OUTPUT'", LD_DEBUG_OUTPUT="/tmp/of-it")
    assert "/tmp/of-it" in log.splitlines()


@pytest.mark.parametrize("is_opened", [False, True])
def test_bubblewrap_where_tasks_write_is_refused(
    sandboxed: Project, tmp_path: Path, *, is_opened: bool
) -> None:
    directory = fill_home(sandboxed, {"bin/x": ""}) / "bin"
    shutil.copy2(require_sandbox(), directory / "bwrap")
    if is_opened:
        sandboxed.environ["HOME"] = str(tmp_path / "other")
    written = ("--sandbox-write", str(directory)) if is_opened else ()
    path = f"{directory}{os.pathsep}{sandboxed.environ['PATH']}"
    done = sandboxed.run(sandboxed.tasks({"1": "true"}), *written, environ={**ON, "PATH": path}).expect(1)
    assert f"{directory}/bwrap is where tasks can write; install bubblewrap" in done.err
