"""What a task does to leave the sandbox: by links, namespaces, processes, devices, and what is read back."""

import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from project import Project
from sandboxes import ON, fill_home, sandbox_log, without_layers

from containers.sandbox.home import SMALL

SECRET = "s3cr3t-of-the-user"


def _steps(project: Project, first: str, second: str, *arguments: str, **environ: str) -> str:
    """Run two steps of a task, of which the first may leave processes; return the log."""
    for name, script in (("first", first), ("second", second)):
        (project.clone.path / name).write_text(script)
    project.clone.commit()
    project.configure("[worktree]\nsetup = ['bash first']\n")
    return sandbox_log(project, "bash second", *arguments, **environ)


@pytest.fixture(params=["layer", "copies"])
def _home_kind(request: pytest.FixtureRequest, sandboxed: Project, tmp_path: Path) -> Iterator[None]:
    """Make the home directory a layer of the kernel, or let it have copies."""
    with without_layers(sandboxed, tmp_path) if request.param == "copies" else nullcontext():
        yield


REPLACES = """
import ctypes, os, sys
place, outside = sys.argv[1:]
libc, parent, name = ctypes.CDLL(None), os.open(os.path.dirname(place), os.O_RDONLY), os.path.basename(place)
os.makedirs("/tmp/new/old", exist_ok=True)
target = "../" * 20 + "oldroot" + outside
def replace():
    try: os.rename(name, name + "-moved", src_dir_fd=parent, dst_dir_fd=parent)
    except FileNotFoundError: pass
    os.symlink(target, name, dir_fd=parent)
    print("replaced", place)
try: replace()
except OSError as error: print(place, error)
else: sys.exit()
# Where it is mounted on: from a mount namespace without these mounts.
libc.unshare(0x10000000 | 0x20000)
libc.mount(b"/tmp/new", b"/tmp/new", None, 4096, None)
libc.syscall(155 if os.uname().machine == "x86_64" else 41, b"/tmp/new", b"/tmp/new/old")
libc.umount2(b"/old", 2)
try: replace()
except OSError as error: print(place, error)
"""


def _replacing(places: Iterable[Path | str], outside: Path) -> str:
    lines = [f"cat > /tmp/replaces.py <<'END'\n{REPLACES}\nEND"]
    lines += [f"python3 /tmp/replaces.py {place} {outside}" for place in places]
    return "\n".join([*lines, "true"])


@pytest.mark.usefixtures("_home_kind")
def test_links_in_its_home_directory_lead_no_mount_outside(sandboxed: Project, tmp_path: Path) -> None:
    """Bubblewrap sees the system outside at `/oldroot` while it mounts, and follows links."""
    outside = tmp_path / "outside"
    outside.mkdir()
    large = "x" * (SMALL + 1)
    files = {".config/tool/x": "", ".config/large": large, ".local/share/y/z": large, ".cache/a/pip/x": "kept"}
    home = fill_home(sandboxed, files)
    (home / ".config/link").symlink_to("/etc/passwd")
    places = [home / name for name in (".local/share", ".local", ".config", ".cache/a", ".cache")]
    second = "cat ~/.cache/a/pip/x; echo second step"
    first = "rm -rf ~/.local ~/.config\n" + _replacing(places, outside)
    log = _steps(sandboxed, first, second, "--sandbox-write", "~/.cache/a/pip")
    assert "keptsecond step" in log.splitlines()
    assert list(outside.iterdir()) == []
    assert (home / ".cache/a/pip").is_dir()


@pytest.mark.usefixtures("_home_kind")
def test_links_in_its_temporary_directory_lead_no_mount_outside(sandboxed: Project, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    places = [path for path in sandboxed.worktrees.parents if path.is_relative_to(tempfile.gettempdir())][:-1]
    assert places
    second = "ls /tmp; cat README.md; echo second step"
    log = _steps(sandboxed, _replacing(places, outside), second)
    assert "second step" in log.splitlines()
    assert "replaced" not in log
    assert list(outside.iterdir()) == []


EXCHANGES = """
python3 - <<'END'
import ctypes, os
libc, home = ctypes.CDLL(None), os.environ["HOME"].encode()
os.makedirs(home + b"/other", exist_ok=True)
if os.fork(): os._exit(0)
os.setsid(); os.closerange(0, 100)
while True: libc.renameat2(-100, home + b"/.config", -100, home + b"/other", 2)
END
sleep 0.2
"""


def test_a_directory_that_is_exchanged_meanwhile_reveals_nothing(sandboxed: Project) -> None:
    fill_home(sandboxed, {".config/git/credentials": SECRET, ".config/git/config": ""})
    second = "cat ~/.config/git/credentials ~/other/git/credentials || true; echo second step"
    log = _steps(sandboxed, EXCHANGES, second)
    assert "second step" in log.splitlines()
    assert SECRET not in log


NESTED = """
python3 - ROOT <<'END'
import ctypes, os, sys
libc, root = ctypes.CDLL(None), sys.argv[1]
print("own namespaces", libc.unshare(0x10000000 | 0x20000))  # CLONE_NEWUSER, CLONE_NEWNS
points = [line.split()[4] for line in open("/proc/self/mountinfo")]
for point in reversed(points):
    for flags in (0, 2):
        if libc.umount2(point.encode(), flags) == 0: print("taken away", point)
os.makedirs("/tmp/n", exist_ok=True)
def mount(source, target, kind, flags, data=None):
    return libc.mount(source and source.encode(), target.encode(), kind, flags, data)
def look(place):
    if os.path.exists(f"{place}{root}/README.md"): print("seen by", place)
    try: os.close(os.open(f"{place}/etc/made", os.O_WRONLY | os.O_CREAT))
    except OSError: return
    print("written by", place)
mount("/", "/tmp/n", None, 4096); look("/tmp/n")
mount("/", "/tmp/n", None, 4096 | 16384); look("/tmp/n")
for place in ("/", "/tmp/n"):
    mount(None, place, None, 4096 | 32); look(place)
mount(root, "/mnt", None, 8192); look("/mnt")
for kind in (b"proc", b"sysfs", b"ext4", b"overlay"):
    mount("lower", "/mnt", kind, 0, b"lowerdir=/:/tmp"); look("/mnt")
for flags in (1, 1 | 0x8000):
    tree = libc.syscall(428, -100, b"/", flags)
    if tree >= 0: look(f"/proc/self/fd/{tree}")
for number in range(3, 64):
    if libc.setns(number, 0) == 0: print("joined", number)
look(""); print("looked")
END
"""


def test_namespaces_of_its_own_reveal_nothing(sandboxed: Project) -> None:
    log = sandbox_log(sandboxed, NESTED.replace("ROOT", str(sandboxed.root)))
    assert "looked" in log.splitlines()
    found = [line for line in log.splitlines() if line.startswith(("taken", "seen", "written", "joined"))]
    assert found == []


HOLDER = """
python3 - <<'END'
import ctypes, os
libc = ctypes.CDLL(None)
own = {os.getpid(), os.getppid()}
def reach(what, do):
    try: done = do()
    except OSError: return
    if done not in (-1, None): print("reached", what, done)
for name in filter(str.isdecimal, os.listdir("/proc")):
    if int(name) > 2: continue
    for link in ("root", "cwd", "exe", "fd/0", "fd/1", "ns/mnt", "ns/user"):
        reach(f"{name}/{link}", lambda: os.readlink(f"/proc/{name}/{link}"))
    for file in ("mem", "environ", "maps", "auxv", "syscall"):
        reach(f"{name}/{file}", lambda: len(open(f"/proc/{name}/{file}", "rb").read(1)))
    reach("trace " + name, lambda: libc.ptrace(0x4206, int(name), 0, 0))
    holder = os.pidfd_open(int(name))
    for number in range(16): reach("descriptor", lambda: libc.syscall(438, holder, number, 0))
    iovec = (ctypes.c_size_t * 2)(ctypes.addressof(ctypes.create_string_buffer(8)), 8)
    reach("memory", lambda: libc.process_vm_readv(int(name), iovec, 1, iovec, 1, 0))
print("tried")
END
"""


def test_the_process_that_holds_its_namespaces_is_not_reached(sandboxed: Project) -> None:
    log = sandbox_log(sandboxed, HOLDER)
    assert "tried" in log.splitlines()
    assert [line for line in log.splitlines() if line.startswith("reached")] == []


def test_a_task_that_kills_its_sandbox_ends_with_it(sandboxed: Project) -> None:
    plan = sandboxed.tasks(
        {"1.1": "kill -9 2; kill -9 1; kill -9 -1; sleep 5; echo x > x", "1.2": "echo y > y"}
    )
    done = sandboxed.run(plan, "--no-cache").expect(1)
    assert done.statuses == {"1.1": "failed", "1.2": "changed"}


def test_no_device_and_no_file_of_others_comes_into_a_worktree(sandboxed: Project, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text(SECRET)
    script = f"""
        set +e; ln /etc/passwd linked && echo FAULT; ln {outside}/file linked && echo FAULT
        mknod null c 1 3 && echo FAULT; mknod disk b 254 0 && echo FAULT; cat /dev/mem /dev/vda /dev/kmsg
        ln -s {outside} soft; echo x > soft/made; cat soft/file; rm soft; ln -s {outside}/file link
        python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'; mkfifo pipe; echo y > y
    """
    done = sandboxed.run(sandboxed.tasks({"1": script}), "--no-cache").expect()
    log = "\n".join(line for line in sandboxed.log(done.run, "1").splitlines() if not line.startswith("$"))
    assert "FAULT" not in log
    assert SECRET not in log
    assert sorted(done.outcome("1")["files"]) == ["link", "y"]
    assert sandboxed.show("patchyard/demo/1:link") == f"{outside}/file"
    assert [path.name for path in outside.iterdir()] == ["file"]


def test_a_sparse_file_is_not_read_in_full(sandboxed: Project) -> None:
    done = sandboxed.run(sandboxed.tasks({"1": "truncate -s 100G big"}), "--no-cache").expect(1)
    assert "max_patch" in done.outcome("1")["error"]


@pytest.mark.parametrize("made", ["echo 'gitdir: {git}' > .git", "ln -s {git} .git", "mkfifo .git"])
def test_its_git_directory_leads_the_program_nowhere(sandboxed: Project, made: str) -> None:
    git = sandboxed.root / ".git"
    before = (git / "config").read_bytes(), sorted((git / "hooks").iterdir()), sandboxed.clone.head
    script = f"rm -rf .git; {made.format(git=git)}; echo y > y"
    done = sandboxed.run(sandboxed.tasks({"1": script}), "--no-cache").expect()
    assert done.outcome("1")["files"] == ["y"]
    assert ((git / "config").read_bytes(), sorted((git / "hooks").iterdir()), sandboxed.clone.head) == before


PLANTS = """
git config core.fsmonitor "touch {mark}"; git config core.hooksPath $PWD/hooks
git config filter.x.clean "touch {mark}"; git config diff.external "touch {mark}"
git config core.sshCommand "touch {mark}"; git config include.path $PWD/more
echo '* filter=x' > .gitattributes; mkdir hooks
for hook in pre-commit post-checkout post-index-change reference-transaction fsmonitor-watchman; do
    printf '#!/bin/sh\\ntouch {mark}\\n' > hooks/$hook; chmod +x hooks/$hook; cp hooks/$hook .git/hooks/
done
echo {objects} > .git/objects/info/alternates; echo y > y
"""


def test_nothing_that_it_plants_in_git_runs_outside(sandboxed: Project, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    script = PLANTS.format(mark=mark, objects=tmp_path)
    done = sandboxed.run(
        sandboxed.tasks({"1.1": script, "2.1": "echo z > z"}), "--no-cache", "--pool-size", "1"
    )
    assert done.statuses["2.1"] == "changed"
    sandboxed.call("clean")
    assert not mark.exists()


def test_memory_and_queues_of_others_are_not_reached(sandboxed: Project) -> None:
    made = subprocess.run(["ipcmk", "-M", "4096", "-p", "0666"], capture_output=True, text=True, check=True)
    number = made.stdout.split()[-1]
    try:
        log = sandbox_log(sandboxed, "ipcs -m; ipcrm -m " + number + " || echo not there")
    finally:
        subprocess.run(["ipcrm", "-m", number], check=True)  # it is still there
    assert "not there" in log.splitlines()
    assert number not in log.split()


def test_keys_of_the_kernel_and_its_log_are_not_read(sandboxed: Project) -> None:
    script = """
python3 - <<'END'
import ctypes
libc = ctypes.CDLL(None)
calls = {"add_key": (248, b"user", b"x", b"y", 1, -3), "keyctl": (250, 0, -3, 1)}
calls |= {"request_key": (249, b"user", b"x", 0, 0)}
calls |= {"syslog": (103, 3, ctypes.create_string_buffer(100), 100), "sethostname": (170, b"x", 1)}
calls |= {"bpf": (321, 0, ctypes.create_string_buffer(72), 72), "perf": (298, 0, 0, -1, -1, 0)}
calls |= {"reboot": (169, 0xFEE1DEAD, 672274793, 0), "chroot": (161, b"/tmp")}
calls |= {"pivot_root": (155, b"/", b"/tmp"), "io_uring_setup": (425, 1, ctypes.create_string_buffer(120))}
for name, call in calls.items(): print(name, libc.syscall(*call))
END
"""
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers of the system calls are those of x86-64")
    lines = [line.split() for line in sandbox_log(sandboxed, script).splitlines()]
    assert len([line for line in lines if line[-1] == "-1"]) == 11


def test_what_it_leaves_in_its_own_directories_is_removed(sandboxed: Project) -> None:
    script = """
        mkdir -p /tmp/a/b ~/go/pkg/mod/c; touch /tmp/a/b/c ~/go/pkg/mod/c/d
        chmod 0 /tmp/a/b; chmod 0500 /tmp/a ~/go/pkg/mod/c ~/go/pkg/mod; mkfifo /tmp/pipe
        python3 -c 'import os; os.chdir("/tmp"); [(os.mkdir("d"), os.chdir("d")) for _ in range(2500)]'
        chmod 0 ~ /tmp; true
    """
    sandbox_log(sandboxed, script)
    assert not list(sandboxed.state.rglob("*-room*"))


def test_a_log_in_is_not_taken_through_a_link(sandboxed: Project) -> None:
    home = fill_home(sandboxed, {".claude/.credentials.json": "old", ".other/.credentials.json": SECRET})
    command = f"rm -rf ~/.claude; ln -s {home}/.other ~/.claude"
    sandboxed.configure(f"agent = 'claude'\nrepairs = 0\n[agents.claude]\ncommand = '''{command}'''\n")
    sandboxed.run(sandboxed.tasks({"1": ""}), "--trust", environ=ON).expect()
    assert (home / ".claude/.credentials.json").read_text() == "old"


def test_every_process_in_it_is_under_the_filter(sandboxed: Project) -> None:
    """Also those that make the sandbox: a task may trace what has no more rights than itself."""
    script = "for process in /proc/[0-9]*; do grep Seccomp: $process/status || true; done"
    found = [line.split() for line in sandbox_log(sandboxed, script).splitlines() if "Seccomp:" in line]
    assert len(found) > 2
    assert {line[1] for line in found} == {"2"}
