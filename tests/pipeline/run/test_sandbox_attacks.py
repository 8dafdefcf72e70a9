"""What a task in the sandbox tries against its user: each kind of attack that needs the rights of the user."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from project import Project, wait_for
from sandboxes import NONE, ON, fill_home, sandbox_log, without_layers

from containers.sandbox.landlock import has_scopes

SECRET = "s3cr3t-of-the-user"


def _contents(directory: Path, *left_out: str) -> dict[str, str]:
    """Return the digests of all files of a directory."""
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not (name := path.relative_to(directory).as_posix()).startswith(left_out)
    }


@contextmanager
def _process_with_secret() -> Iterator[None]:
    """Run a process of the same user with a secret in its environment and its arguments."""
    command = [sys.executable, "-c", "import time; time.sleep(300)", f"{SECRET}-argument"]
    with subprocess.Popen(command, env={"TOKEN": SECRET}) as process:
        yield
        process.kill()


def test_environments_and_arguments_of_processes_are_not_read(sandboxed: Project) -> None:
    script = """
        ps -ef; for process in /proc/[0-9]*; do
            for file in environ cmdline maps; do tr '\\0' '\\n' < $process/$file || true; done
            ls -l $process/cwd $process/exe $process/fd || true
        done
    """
    kept = {"PATCHYARD_NOTIFY": f"http://127.0.0.1:9/{SECRET}", "GITHUB_TOKEN": SECRET, "GH_TOKEN": SECRET}
    with _process_with_secret():
        log = sandbox_log(sandboxed, script, **kept)
    assert SECRET not in log


WRITES_KERNEL_SETTINGS = r"""
import os, re
found = []
roots = ["/proc/sys", *(f"/proc/{name}/root/proc/sys" for name in os.listdir("/proc") if name.isdecimal())]
for root in roots:
    for directory, _, files in os.walk(root):
        found += [os.path.join(directory, file) for file in files]
found += ["/proc/" + name for name in os.listdir("/proc") if not name.isdecimal()]
names = "sem|shm\w*|(auto_)?msgm\w*|msg_next_id|sem_next_id|ns_last_pid|pid_max"  # of namespaces of its own
own = re.compile(rf".*/sys/(fs/mqueue/.*|kernel/({names}))")
found = [path for path in found if not own.fullmatch(path)]
for path in found:
    try: os.close(os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK))
    except OSError: continue
    print("writable:", path)
print("looked at", len(found))
"""


def test_settings_of_the_kernel_are_not_changed(sandboxed: Project) -> None:
    log = sandbox_log(sandboxed, f"python3 - <<'END'\n{WRITES_KERNEL_SETTINGS}\nEND")
    assert "writable:" not in log
    (looked,) = [line for line in log.splitlines() if line.startswith("looked at")]
    assert int(looked.split()[2]) > 100


def test_what_root_alone_may_read_is_not_read(sandboxed: Project) -> None:
    log = sandbox_log(
        sandboxed,
        "for path in /etc/shadow /etc/gshadow; do cat $path || echo refused; done; ls -A /root || true",
    )
    assert log.count("refused") == 2
    assert "root:" not in log


def test_the_user_s_repository_is_neither_read_nor_changed(sandboxed: Project) -> None:
    git = sandboxed.root / ".git"
    sandboxed.clone.git("config", "http.extraheader", f"Authorization: {SECRET}")
    (sandboxed.root / "README.md").write_text(SECRET)
    sandboxed.clone.git("stash", "--quiet")
    (sandboxed.root / ".env").write_text(SECRET)
    before = _contents(
        git, "patchyard/", "objects/", "worktrees/", "refs/heads/patchyard", "logs/refs/heads/patch"
    )
    script = f"""
        set +e; root={sandboxed.root} git={git}
        cat $root/.env $git/config $git/stash $git/logs/refs/stash $(git rev-parse --git-common-dir)/config
        git config user.email evil@example.com; git config --file $git/config core.hooksPath /tmp
        echo 'exit 1' > $git/hooks/pre-commit; echo '*' > $git/info/exclude; git --git-dir $git stash drop
        echo x > x; git add x; git commit -qm x; git push $git HEAD:refs/heads/main; git push $root HEAD:other
        git --git-dir $git update-ref refs/heads/main HEAD; git --git-dir $git tag v9; git stash list
        for alternate in $(cat .git/objects/info/alternates); do
            echo x > $alternate/x && echo FAULT; rm -rf $alternate/* && ls $alternate
        done; true
    """
    log = sandbox_log(sandboxed, script)
    assert SECRET not in log
    assert "FAULT" not in log
    after = _contents(
        git, "patchyard/", "objects/", "worktrees/", "refs/heads/patchyard", "logs/refs/heads/patch"
    )
    assert after == before
    assert "broken" not in sandboxed.clone.git("fsck", "--no-dangling")
    assert sandboxed.show("patchyard/demo/1:x") == "x"


def test_stored_runs_and_results_are_neither_read_nor_changed(sandboxed: Project) -> None:
    mark = _mark()
    sandboxed.run(sandboxed.tasks({"1": f"echo {mark} > made"}, title="Before")).expect()
    before = _contents(sandboxed.state / "results") | _contents(sandboxed.state / "runs")
    assert before
    script = f"""
        set +e; ls -AR {sandboxed.state}; cat {sandboxed.state}/results/*/*
        mkdir -p {sandboxed.state}/results/00; echo x > {sandboxed.state}/results/00/x; rm -rf {sandboxed.state}
        find {sandboxed.state.parent} -name '*.db' 2> /dev/null; true
    """
    log = sandbox_log(sandboxed, script)
    assert mark not in log
    assert ".db" not in log
    after = _contents(sandboxed.state / "results") | _contents(sandboxed.state / "runs")
    assert {name: after.get(name) for name in before} == before
    assert not (sandboxed.state / "results" / "00" / "x").exists()


@pytest.mark.parametrize("kind", ["variable", "option"])
def test_a_database_elsewhere_is_neither_read_nor_changed(
    sandboxed: Project, tmp_path: Path, kind: str
) -> None:
    database = tmp_path / "elsewhere" / "runs.db"
    database.parent.mkdir()
    url = f"sqlite:///{database}"
    given = {"PATCHYARD_DATABASE": url} if kind == "variable" else {}
    arguments = () if kind == "variable" else ("--database", url)
    script = f"set +e; cat {database}* | wc -c; echo x > {database}; true"
    done = sandboxed.run(sandboxed.tasks({"1": script}), "--no-cache", *arguments, environ=given).expect()
    log = sandboxed.log(done.run, "1").splitlines()
    assert "0" in log
    assert database.stat().st_size > 0
    assert sandboxed.call("status", done.run, *arguments, environ=given).expect()


def test_files_of_tasks_beside_it_are_neither_read_nor_changed(sandboxed: Project) -> None:
    met = str(sandboxed.shared)
    writes = 'echo own > "own-$PATCHYARD_TASK"; touch "$SHARED/$PATCHYARD_TASK"\n'
    waits = 'while [ "$(ls "$SHARED" | wc -l)" -lt 2 ]; do sleep 0.02; done\n'
    looks = f"""
        set +e; cd {sandboxed.worktrees}; ls -A; cat */own-* /proc/[0-9]*/cwd/own-*
        for other in wt-1 wt-2; do echo x > $other/from-$PATCHYARD_TASK; done
        cat /tmp/left /dev/shm/left; echo left > /tmp/left; echo left > /dev/shm/left; sleep 0.2
    """
    script = writes + waits + looks
    plan = sandboxed.tasks({"1.1": script, "1.2": script})
    done = sandboxed.run(plan, "--no-cache", "--pool-size", "2", "--sandbox-write", met).expect()
    for task in ("1.1", "1.2"):
        assert [line for line in sandboxed.log(done.run, task).splitlines() if line == "left"] == []
        files = done.outcome(task)["files"]
        assert sorted(files) == [f"from-{task}", f"own-{task}"]


STAYS = """
(setsid sh -c 'exec > /dev/null 2>&1; while :; do sleep 1{mark}; done' &)
(env -i setsid nohup sleep 300{mark} > /dev/null 2>&1 &)
(prlimit --rttime=unlimited --pid $$ 2> /dev/null; ulimit -c 0; setsid sleep 301{mark} > /dev/null 2>&1 &)
python3 - <<'END'
import os, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.chdir("/"); os.closerange(0, 100)
os.execvp("sleep", ["sleep", "302{mark}"])
END
"""
HOLDS = """
python3 - <<'END' &
import ctypes, os, signal, time
libc = ctypes.CDLL(None)
for name in sorted(filter(str.isdecimal, os.listdir("/proc")), key=int):
    if int(name) in {os.getpid(), os.getppid()}: continue
    for number in range(64):
        try: os.open(f"/proc/{name}/fd/{number}", os.O_RDWR | os.O_NONBLOCK)
        except OSError: pass
    libc.ptrace(0x4206, int(name), 0, 0)
    try: os.kill(int(name), signal.SIGSTOP)
    except OSError: pass
time.sleep(3000)
END
sleep 1
"""


def _mark() -> str:
    return f"{os.getpid()}.{time.monotonic_ns() % 10**6}"


def _running(mark: str) -> list[str]:
    done = subprocess.run(["pgrep", "-f", f"^sleep [0-9]*{mark}"], capture_output=True, text=True, check=False)
    return done.stdout.split()


def test_no_daemon_is_left_for_the_next_task(sandboxed: Project) -> None:
    mark = _mark()
    plan = sandboxed.tasks({"1.1": STAYS.format(mark=mark), "2.1": f"pgrep -f {mark}; ls; true"})
    done = sandboxed.run(plan, "--no-cache", "--pool-size", "1").expect()
    assert not _running(mark)
    assert f"sleep 30{mark}" not in sandboxed.log(done.run, "2.1")


def test_a_task_that_holds_its_sandbox_ends_with_the_killed_program(sandboxed: Project) -> None:
    mark = _mark()
    plan = sandboxed.tasks({"1": STAYS.format(mark=mark) + HOLDS + f"\nsleep 303{mark}"})
    with sandboxed.start("run", plan, environ=ON) as run:
        wait_for(lambda: len(_running(mark)) >= 4, "the task's processes")
        time.sleep(0.5)
        os.killpg(run.process.pid, signal.SIGKILL)
        run.process.wait()
        wait_for(lambda: not _running(mark), "the end of the task's processes")
    sandboxed.call("clean").expect()


def test_a_socket_without_a_file_is_not_reached(sandboxed: Project) -> None:
    if not has_scopes():
        pytest.skip(f"{NONE} that keeps abstract sockets from tasks: Linux before 6.12")
    name = f"patchyard-{_mark()}"
    script = f"""
python3 - <<'END'
import socket
own = socket.socket(socket.AF_UNIX); own.bind("\\0own{name}"); own.listen()
for name in ("own{name}", "{name}"):
    client = socket.socket(socket.AF_UNIX)
    try: client.connect("\\0" + name)
    except OSError as error: print(name, "errno", error.errno)
    else: print(name, "reached")
END
"""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        log = sandbox_log(sandboxed, script)
    assert f"own{name} reached" in log
    assert f"{name} errno 1" in log.splitlines()


CONNECTS = """
python3 - <<'END'
import socket
own = socket.socket(socket.AF_UNIX); own.bind("/tmp/own"); own.listen()
for path in ["/tmp/own", *{paths}]:
    client = socket.socket(socket.AF_UNIX)
    try: client.connect(path)
    except OSError as error: print(path, "errno", error.errno)
    else: print(path, "reached")
END
"""


@pytest.mark.parametrize("is_layered", [True, False])
def test_sockets_in_directories_that_are_seen_are_not_reached(
    sandboxed: Project, tmp_path: Path, *, is_layered: bool
) -> None:
    home = fill_home(sandboxed, {".tool/x": "", ".config/tool/x": ""})
    paths = [home / ".tool/s", home / ".config/tool/s", home / "s"]
    with ExitStack() as stack:
        if not is_layered:
            stack.enter_context(without_layers(sandboxed, tmp_path))
        if os.access("/srv", os.W_OK):
            paths.append(Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/srv")), "s"))
        for one in paths:
            server = stack.enter_context(socket.socket(socket.AF_UNIX))
            server.bind(str(one))
            server.listen()
        log = sandbox_log(sandboxed, CONNECTS.format(paths=[*map(str, paths)]))
    assert [line for line in log.splitlines() if line.endswith("reached")] == ["/tmp/own reached"]
    assert log.count(" errno ") == len(paths)


LINKED = {"dotfiles/ssh/id": SECRET, "dotfiles/gh/hosts.yml": SECRET, ".config/git/credentials": SECRET}


def test_secrets_are_not_found_through_links_and_below_other_directories(sandboxed: Project) -> None:
    home = fill_home(sandboxed, {**LINKED, ".config/git/config": "", ".m2/settings.xml": SECRET})
    (home / ".ssh").symlink_to("dotfiles/ssh")
    (home / ".config/gh").symlink_to(home / "dotfiles/gh")
    log = sandbox_log(sandboxed, "cd ~; find -L . -type f -exec cat {} + || true")
    assert SECRET not in log
    assert (home / "dotfiles/ssh/id").read_text() == SECRET


@pytest.mark.parametrize(
    ("variable", "name", "file"),
    [
        ("XDG_CONFIG_HOME", "", "gh/hosts.yml"),
        ("XDG_DATA_HOME", "", "keyrings/login"),
        ("GNUPGHOME", "", "private"),
        ("KUBECONFIG", "config", "config"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "key.json", "key.json"),
        ("NETRC", "netrc", "netrc"),
        ("XDG_CONFIG_HOME", "", "pip/pip.conf"),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", "credentials"),
    ],
)
def test_secrets_are_not_read_where_a_variable_names_them(
    sandboxed: Project, tmp_path: Path, variable: str, name: str, file: str
) -> None:
    path = tmp_path / "elsewhere" / file
    path.parent.mkdir(parents=True)
    path.write_text(f"https://u:{SECRET}@pypi.example.test/simple")
    value = str(tmp_path / "elsewhere" / name)
    log = sandbox_log(sandboxed, f"cat {path} || true", **{variable: value})
    assert SECRET not in log
    assert SECRET in path.read_text()


def test_inherited_descriptors_give_nothing(sandboxed: Project) -> None:
    script = """
python3 - <<'END'
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for name in os.listdir("/proc/self/fd"):
    try: target = os.readlink(f"/proc/self/fd/{name}")
    except OSError: continue
    print("descriptor", name, target, libc.setns(int(name), 0) if int(name) > 2 else "")
END
"""
    log = sandbox_log(sandboxed, script)
    found = [line.split() for line in log.splitlines() if line.startswith("descriptor")]
    assert found
    assert not [line for line in found if line[-1] == "0" and int(line[1]) > 2]
    assert {line[2].split(":")[0] for line in found if int(line[1]) > 2} <= {
        "user",
        "pid",
        "net",
        "mnt",
        "ipc",
        "uts",
    }


MADE_LATER = {
    ".config/gh/hosts.yml": SECRET,
    ".cargo/credentials.toml": SECRET,
    ".local/share/keyrings/x": SECRET,
}


def test_secrets_that_appear_with_their_directories_are_not_read(sandboxed: Project) -> None:
    home, shared = fill_home(sandboxed, {"x": ""}), sandboxed.shared
    read = f"for path in {' '.join(MADE_LATER)}; do cat ~/$path || true; done"
    script = f"""
        touch {shared}/ready; while ! test -e {shared}/made; do sleep 0.02; done
        {read}; mkdir -p ~/.config/gh ~/.cargo ~/.local/share; {read}; ls -A ~/.config ~/.config/gh
        echo own > ~/.config/gh/own; cat ~/.config/gh/own
    """

    def make() -> None:
        wait_for((shared / "ready").exists, "the task")
        fill_home(sandboxed, MADE_LATER)
        (shared / "made").touch()

    thread = threading.Thread(target=make)
    thread.start()
    log = sandbox_log(sandboxed, script, "--sandbox-write", str(shared))
    thread.join()
    assert (home / ".config/gh/hosts.yml").read_text() == SECRET
    assert SECRET not in log
    assert "own" in log.splitlines()
