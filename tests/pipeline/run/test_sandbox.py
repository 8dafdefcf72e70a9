"""What a task in the sandbox sees, changes and reaches, with a real bubblewrap."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from project import Project
from sandboxes import ON, fill_home, sandbox_log, serving, without_layers

from containers.sandbox.home import SMALL
from containers.sandbox.system import RootFiles

HIDDEN = (
    *(".ssh/id_ed25519", ".gnupg/private", ".netrc", ".config/gh/hosts.yml", ".aws/credentials", ".npmrc"),
    *(".git-credentials", ".docker/config.json", ".config/google-chrome/Default/Cookies", ".bash_history"),
    *(".claude/.credentials.json", ".codex/auth.json", ".local/share/keyrings/login", ".kube/config"),
)


def test_what_is_secret_in_the_home_directory_is_not_there(sandboxed: Project) -> None:
    home = fill_home(
        sandboxed, dict.fromkeys(HIDDEN, "s3cr3t") | {".profile": "plain", ".config/tool/x": "plain"}
    )
    log = sandbox_log(sandboxed, "cd ~; cat .profile .config/tool/x; find . -type f | sort")
    assert log.count("plain") == 2
    assert not [name for name in HIDDEN if f"./{name}" in log]
    assert (home / ".ssh/id_ed25519").read_text() == "s3cr3t"


def test_only_its_worktree_can_be_changed(sandboxed: Project, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    home = fill_home(sandboxed, {".profile": "before"})
    script = f"""
        echo x > ~/.profile
        echo x > {outside}/f || echo outside is read-only
        echo x > ~/new && echo x > ~/.config/new && echo x > /tmp/t && test ! -e {sandboxed.root}/README.md
        ls -A {sandboxed.root.parent}/*-worktrees; echo x > made.txt
    """
    log = sandbox_log(sandboxed, script)
    assert "outside is read-only" in log
    assert [line for line in log.splitlines() if line.startswith("wt-")] == ["wt-1"]
    assert not list(outside.iterdir())
    assert (home / ".profile").read_text() == "before"
    assert not (home / "new").exists()
    assert sandboxed.show("patchyard/demo/1:made.txt") == "x"


HOME = {
    ".profile": "before\n",
    ".config/tool/x": "before\n",
    ".bashrc": "",
    "docs/a": "",
    "docs/b": "",
    ".ssh/id": "s3cr3t",
    ".cache/pip/x": "s3cr3t",
    ".config/gh/x": "s3cr3t",
    "large": "y" * (SMALL + 1),
}
IN_FILES = "cd ~; echo after >> .profile; rm .bashrc; git config --global user.name Other"
BELOW = "echo after > .config/tool/x; mv docs/a docs/c; rm docs/b; echo z >> large; mkdir .ssh; touch .ssh/own"
LOOKS = (
    "cd ~; cat .profile .config/tool/x; git config user.name; ls -A .ssh docs || true; grep -r s3cr3t . || true"
)


def test_files_of_the_home_directory_are_changed_for_the_task_alone(sandboxed: Project) -> None:
    home = fill_home(sandboxed, HOME)
    before = _contents(home)
    sandboxed.configure(f"[worktree]\nsetup = ['''{IN_FILES}; {BELOW}''']\n")
    shown = " ".join(sandbox_log(sandboxed, LOOKS).split())
    assert "before after after Other .ssh: own docs: c" in shown.replace(
        "docs: c .ssh: own", ".ssh: own docs: c"
    )
    assert "s3cr3t" not in shown
    assert ".ssh/id" not in shown
    assert _contents(home) == before


def test_small_files_are_copies_where_the_kernel_has_no_layer(sandboxed: Project, tmp_path: Path) -> None:
    home = fill_home(sandboxed, HOME)
    before = _contents(home)
    sandboxed.configure(f"[worktree]\nsetup = ['''{IN_FILES}''']\n")
    with without_layers(sandboxed, tmp_path):
        log = sandbox_log(sandboxed, f"touch ~/large ~/docs/a || true; {LOOKS}")
    assert log.count("Read-only file system") == 2
    assert "before after before Other" in " ".join(log.split())
    assert "s3cr3t" not in log
    assert ".ssh/id" not in log
    assert _contents(home) == before


def _contents(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_git_works_and_the_user_s_repository_is_not_seen(sandboxed: Project) -> None:
    script = """
        git log --oneline; echo a >> README.md; git stash -q; git stash pop -q; git commit -qam inside
        git checkout -qb other; git status --short; git fsck --no-dangling 2>&1 | grep -i missing || true
    """
    before = sandboxed.branches()
    log = sandbox_log(sandboxed, script)
    assert "missing" not in log
    assert set(sandboxed.branches()) == {*before, "patchyard/demo/1"}


def test_steps_of_a_task_share_processes_and_files(sandboxed: Project) -> None:
    setup = "[worktree]\nsetup = ['sleep 300 & echo $! > /tmp/pid; touch ~/made']\n"
    sandboxed.configure(setup)
    log = sandbox_log(sandboxed, "kill -0 $(cat /tmp/pid) && test -e ~/made && echo shared")
    assert "shared" in log


def test_steps_of_a_task_share_memory_which_ends_with_it(sandboxed: Project) -> None:
    show = "ls -l /proc/self/ns | grep -oE '(ipc|uts):.*'"
    sandboxed.configure(f'[worktree]\nsetup = ["ipcmk --shmem 4096 > /dev/null; {show}"]\n')
    log = sandbox_log(sandboxed, f'echo "segments: $(ipcs --shmems | grep -c ^0x)"; {show}')
    assert "segments: 1" in log
    first, second = (sorted(found) for found in (log.split()[:2], log.partition("segments")[2].split()[2:4]))
    assert first == second
    assert [name.split(":")[0] for name in first] == ["ipc", "uts"]
    assert not {_namespace(path) for path in Path("/proc").glob("[0-9]*/ns/ipc")} & set(first)


def _namespace(path: Path) -> str:
    """Return what the link of a process to its namespace says; nothing if the process has ended."""
    try:
        return str(path.readlink())
    except OSError:
        return ""


def test_a_cache_beside_one_that_is_shared_is_on_the_disk(sandboxed: Project, tmp_path: Path) -> None:
    """The directory on the way to it is the task's own; what is written there may be large."""
    home = fill_home(sandboxed, {".cache/pip/x": "x"})
    environ = {"PATCHYARD_SANDBOX_WRITE": "~/.cache/pip"}
    script = f"stat -fc 'type: %T' {home} {home}/.cache {tmp_path} {tmp_path}/.."
    log = sandbox_log(sandboxed, f"{script}; touch ~/.cache/a && ln ~/.cache/a ~/.cache/b", **environ)
    types = [line for line in log.splitlines() if line.startswith("type: ")]
    assert types[0] == types[1]
    assert "type: tmpfs" not in types


def test_the_layer_over_the_home_directory_is_not_synced(sandboxed: Project) -> None:
    """Else the kernel writes all of the disk's files out when it ends."""
    home = fill_home(sandboxed, {".profile": "plain"})
    log = sandbox_log(sandboxed, f"grep ' {home} ' /proc/self/mountinfo")
    assert "volatile" in log


def test_closed_directories_are_empty_and_take_no_files(sandboxed: Project) -> None:
    """All of them show the same empty file system, in which nothing may be left."""
    found = [path for path in RootFiles().find()[1] if Path(path).is_dir()] if os.geteuid() == 0 else []
    closed = ["/dev/.nothing", *found[:2]]
    script = f"""
        for directory in {" ".join(closed)}; do
            touch $directory/new || echo refused; mkdir $directory/d || echo refused
            chmod 777 $directory || echo refused; ls -A $directory
        done
    """
    log = sandbox_log(sandboxed, f"{{ {script} }} 2> /dev/null || true")
    assert log.partition("[exit")[0].split() == ["refused"] * 3 * len(closed)


def test_no_other_process_is_seen_and_none_is_left(sandboxed: Project) -> None:
    mark = f"{os.getpid()}.{time.monotonic_ns() % 10**6}"
    script = f"""
        (setsid sleep 300{mark} &)
        echo "processes: $(ps -e -o pid= | wc -l)"
        cat /proc/*/root{sandboxed.root}/README.md || echo no way out
    """
    log = sandbox_log(sandboxed, script)
    assert "no way out" in log
    (count,) = [line for line in log.splitlines() if line.startswith("processes: ")]
    assert int(count.split()[1]) < 12
    assert not _running(f"sleep 300{mark}")


def test_nothing_is_left_after_the_program_was_killed(sandboxed: Project) -> None:
    mark = f"{os.getpid()}.{time.monotonic_ns() % 10**6}"
    plan = sandboxed.tasks({"1": f"(setsid sleep 300{mark} &) ; sleep 301{mark}"})
    with sandboxed.start("run", plan, environ=ON) as run:
        _wait(lambda: _running(f"sleep 301{mark}"))
        os.killpg(run.process.pid, signal.SIGKILL)
        run.process.wait()
        _wait(lambda: not _running(f"sleep 30.{mark}"))
    sandboxed.call("clean").expect()
    assert not list(sandboxed.state.rglob("*-room*"))


def test_a_timeout_ends_everything(sandboxed: Project) -> None:
    mark = f"{os.getpid()}.{time.monotonic_ns() % 10**6}"
    script = f"(setsid sleep 300{mark} &) ; sleep 302{mark}"
    done = sandboxed.run(sandboxed.tasks({"1": script}), environ={**ON, "PATCHYARD_TIMEOUT": "1s"})
    assert done.expect(1).statuses == {"1": "timed_out"}
    assert not _running(f"sleep 30.{mark}")


@pytest.mark.parametrize("network", ["off", "example.test"])
def test_steps_share_a_loopback_interface_of_their_own(sandboxed: Project, network: str) -> None:
    sandboxed.configure("[worktree]\nsetup = ['python3 -m http.server 18099 --bind 127.0.0.1 & sleep 1']\n")
    script = """
        python3 -c 'import socket; print([name for _, name in socket.if_nameindex()])'
        python3 -c 'import urllib.request; print(urllib.request.urlopen("http://127.0.0.1:18099").status)'
        echo "user $(id -u) of $(stat -c %u .)"
    """
    log = sandbox_log(sandboxed, script, "--sandbox-network", network)
    assert "['lo']" in log
    assert "200" in log.splitlines()
    assert f"user {os.geteuid()} of {os.geteuid()}" in log


def test_only_hosts_of_the_list_are_reached(sandboxed: Project, tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "file").write_text("from outside")
    with serving(tmp_path / "served") as port:
        script = f"""
            python3 -c 'import urllib.request as u; print(u.urlopen("http://localhost:{port}/file").read())'
            for url in http://localhost:{port + 1}/ https://example.test/; do
                python3 -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1])' $url || true
            done
        """
        plan = sandboxed.tasks({"1": script})
        done = sandboxed.run(plan, "--no-cache", "--sandbox-network", f"localhost:{port}", environ=ON).expect()
    log = sandboxed.log(done.run, "1")
    assert "from outside" in log
    assert f"the sandbox refused 1 request to localhost:{port + 1}" in log
    assert "the sandbox refused 1 request to example.test" in log
    refused = [{"host": f"localhost:{port + 1}", "requests": 1}, {"host": "example.test", "requests": 1}]
    assert done.outcome("1")["refused"] == refused
    words = f"2 requests to 2 hosts refused: localhost:{port + 1}, example.test"
    assert f"task 1: {words}" in sandboxed.call("status", done.run).expect().out
    for kind in ("markdown", "html"):
        assert words in sandboxed.call("report", done.run, "--format", kind).expect().out
    (task,) = json.loads(sandboxed.call("report", done.run, "--format", "json").expect().out)["tasks"]
    assert task["refused"] == refused


LATE = """
python3 - <<'END' &
import contextlib, pathlib, signal, urllib.request
def ask(*_):
    with contextlib.suppress(OSError): urllib.request.urlopen("http://late.test/")
    raise SystemExit
signal.signal(signal.SIGTERM, ask); pathlib.Path("/tmp/ready").touch(); signal.pause()
END
until test -e /tmp/ready; do sleep 0.05; done
"""


def test_what_is_refused_after_the_last_step_is_counted(sandboxed: Project) -> None:
    plan = sandboxed.tasks({"1": LATE})
    done = sandboxed.run(plan, "--no-cache", "--sandbox-network", "other.test", environ=ON).expect()
    assert done.outcome("1")["refused"] == [{"host": "late.test", "requests": 1}]


def test_mounts_cannot_be_taken_away(sandboxed: Project) -> None:
    script = f"""
        for command in 'umount {sandboxed.root}' 'mount -o remount,rw,bind /' 'mount -t tmpfs x /mnt'; do
            $command && echo possible
            unshare -Urm $command && echo possible
        done
        test -e {sandboxed.root}/README.md && echo seen; true
    """
    log = sandbox_log(sandboxed, "set +e\n" + script)
    assert "seen" not in log.splitlines()
    assert log.count("possible") <= 1  # a file system of its own, in namespaces of its own


def test_sockets_of_the_session_are_not_reached(sandboxed: Project) -> None:
    log = sandbox_log(
        sandboxed, "env; ls -A /run", SSH_AUTH_SOCK="/run/x", DBUS_SESSION_BUS_ADDRESS="unix:path=/run/y"
    )
    assert "SSH_AUTH_SOCK" not in log
    assert "DBUS_SESSION" not in log


def test_a_path_that_the_user_opens_is_changed_for_good(sandboxed: Project) -> None:
    home = fill_home(sandboxed, {".npm/x": ""})
    sandbox_log(sandboxed, "echo kept > ~/.npm/y", "--sandbox-write", "~/.npm")
    assert (home / ".npm/y").read_text() == "kept\n"


def test_no_input_is_put_into_a_terminal(sandboxed: Project) -> None:
    script = """python3 -c '
import fcntl
try: fcntl.ioctl(0, 0x5412, b"x")
except OSError as error: print("errno", error.errno)'"""
    assert "errno 1" in sandbox_log(sandboxed, script)


def test_an_agent_has_its_own_log_in_and_renews_it(sandboxed: Project) -> None:
    home = fill_home(
        sandboxed, {".claude/.credentials.json": "old", ".claude/projects/p": "x", ".codex/auth.json": "other"}
    )
    command = "cat ~/.claude/.credentials.json; ls -A ~ ~/.claude; echo renewed > ~/.claude/.credentials.json"
    sandboxed.configure(f"agent = 'claude'\nrepairs = 0\n[agents.claude]\ncommand = '''{command}'''\n")
    done = sandboxed.run(sandboxed.tasks({"1": ""}), "--trust", environ=ON)
    log = sandboxed.log(done.expect().run, "1")
    assert "old" in log
    assert ".codex" not in log
    assert "projects" not in log
    assert (home / ".claude/.credentials.json").read_text() == "renewed\n"


def test_an_agent_has_its_log_in_where_a_variable_names_it(sandboxed: Project, tmp_path: Path) -> None:
    own, other, home = tmp_path / "own", tmp_path / "other", fill_home(sandboxed, {".codex/auth.json": "usual"})
    for path in (own / ".credentials.json", own / "projects/p", other / "auth.json", home / "g/.gemini/x"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"at {path.parent.name}")
    moved = {"CLAUDE_CONFIG_DIR": str(own), "CODEX_HOME": str(other), "GEMINI_CLI_HOME": str(home / "g")}
    command = f"cat {own}/.c* {other}/* ~/g/.gemini/*; ls {own}; echo new > {own}/.credentials.json"
    sandboxed.configure(f"agent = 'claude'\nrepairs = 0\n[agents.claude]\ncommand = '''{command}'''\n")
    sandboxed.environ |= moved
    done = sandboxed.run(sandboxed.tasks({"1": ""}), "--trust", environ=ON)
    log = sandboxed.log(done.expect().run, "1")
    assert (own / ".credentials.json").read_text() == "new\n"
    assert "at own" in log
    assert "at other" not in log
    assert "at .gemini" not in log
    assert "projects" not in log


def test_where_there_is_none_on_refuses_and_auto_says_so(project: Project, tmp_path: Path) -> None:
    path = _path_without_bubblewrap(tmp_path)
    plan = project.tasks({"1": "true"})
    done = project.run(plan, environ={**ON, "PATH": path})
    assert done.code != 0
    assert "install bubblewrap" in done.err
    done = project.run(plan, "--sandbox", "auto", environ={"PATH": path}).expect()
    notices = [event["message"] for event in done.events("notice")]
    assert len([message for message in notices if "without a sandbox" in message]) == 1


@pytest.mark.parametrize("setting", ["sandbox = 'off'", "sandbox_write = ['~']"])
def test_a_repository_cannot_open_it(project: Project, setting: str) -> None:
    project.configure(setting, trusted=False)
    del project.environ["PATCHYARD_SANDBOX"]
    done = project.run(project.tasks({"1": "true"}))
    assert done.code == 2
    assert "sandbox" in done.err


def test_a_dry_run_says_with_which_rights_tasks_run(project: Project) -> None:
    plan = project.tasks({"1": "true"})
    assert "tasks have your rights: the sandbox is off" in project.call("run", plan, "--dry-run").expect().out
    shown = project.call("run", plan, "--dry-run", environ=ON).expect().out
    assert "tasks run in the sandbox" in shown or "tasks run without a sandbox" in shown


def test_a_plan_asks_for_more_but_not_for_less(project: Project) -> None:
    del project.environ["PATCHYARD_SANDBOX"]
    done = project.run(project.tasks({"1": "true"}, front='sandbox: "off"'))
    assert done.code == 2
    assert "sandbox" in done.err
    project.call("check", project.tasks({"1": "true"}, front='sandbox: "on"')).expect()


def _path_without_bubblewrap(directory: Path) -> str:
    """Return a PATH with everything but bubblewrap."""
    programs = directory / "programs"
    programs.mkdir()
    for folder in reversed(os.environ["PATH"].split(":")):
        for program in Path(folder).iterdir() if Path(folder).is_dir() else ():
            link = programs / program.name
            link.unlink(missing_ok=True)
            if program.name != "bwrap":
                link.symlink_to(program)
    return str(programs)


def _running(pattern: str) -> list[str]:
    done = subprocess.run(["pgrep", "-f", f"^{pattern}"], capture_output=True, text=True, check=False)
    return done.stdout.split()


def _wait(until: object, seconds: float = 30) -> None:
    assert callable(until)
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)
