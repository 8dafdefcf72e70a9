"""Where the system refuses user namespaces, `auto` runs without a sandbox and says why, and `on` refuses."""

import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from project import COMMAND, Project
from refused_namespaces import APPARMOR, CALLS, FILTERED, NO_MORE, works
from sandboxes import NONE, require_sandbox

UID_MAP = "#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n"
"""What bubblewrap says under AppArmor's restriction, on Ubuntu 24.04."""


def _run(project: Project, way: Sequence[str], mode: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    if way is FILTERED and platform.machine() not in CALLS:
        pytest.skip(f"{NONE} to refuse: the calls of {platform.machine()} are not known")
    if not works(way):
        pytest.skip(f"{NONE} to refuse: {' '.join(way[:2])} fails")
    plan = project.tasks({"1": "touch made"})
    return subprocess.run(
        [*way, *COMMAND, "run", str(plan), "--json", "--no-cache", "--sandbox", mode],
        cwd=project.root,
        env={**project.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("way", "reason", "remedy"),
    [
        pytest.param(FILTERED, "No permissions to create", "--security-opt seccomp=unconfined", id="container"),
        pytest.param(NO_MORE, "namespace", "user.max_user_namespaces = 10000", id="limit"),
    ],
)
def test_one_line_says_why_there_is_none(
    project: Project, way: Sequence[str], reason: str, remedy: str
) -> None:
    require_sandbox()
    done = _run(project, way, "auto")
    assert done.returncode == 0, done.stdout + done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    (notice,) = [one["message"] for one in events if one["event"] == "notice"]
    assert notice.startswith("tasks run without a sandbox, with your rights: ")
    assert reason in notice
    assert remedy in notice
    assert "\n" not in notice
    assert [one["sandbox"] for one in events if one["event"] == "run_started"] == [False]
    assert events[-1]["outcomes"][0]["status"] == "changed"

    refused = _run(project, way, "on")
    assert refused.returncode == 1
    assert reason in refused.stderr
    assert remedy in refused.stderr
    assert not refused.stdout


def test_the_restriction_of_apparmor_is_named(project: Project, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "bwrap"
    program.parent.mkdir()
    program.write_text(UID_MAP)
    program.chmod(0o755)
    path = f"{program.parent}:{project.environ['PATH']}"
    for way in (APPARMOR, [sys.executable, "-c", "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"]):
        done = _run(project, way, "on", PATH=path)
        assert done.returncode == 1
        assert "setting up uid map: Permission denied; AppArmor restricts user namespaces" in done.stderr
        assert "kernel.apparmor_restrict_unprivileged_userns = 0" in done.stderr
