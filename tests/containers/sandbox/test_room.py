"""The sandbox of one task, without the program around it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sandboxes import require_sandbox

from containers.process_marks import ProcessMark
from containers.sandbox.mounter import Mounter
from containers.sandbox.mounts import Places
from containers.sandbox.policy import Policy
from containers.sandbox.room import Room, open_room

SECRET = "s3cr3t-of-the-user"


@contextmanager
def opened(
    directory: Path, *, hidden: tuple[Path, ...] = (), home: Path | None = None, write: tuple[str, ...] = ()
) -> Iterator[Room]:
    """Make the sandbox of a task which can write to `directory/shared`, and to more."""
    for name in ("checkout/.git/objects", "worktrees/wt-1", "shared", "room"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    places = Places(
        worktree=directory / "worktrees" / "wt-1",
        worktrees=directory / "worktrees",
        checkout=directory / "checkout",
        common=directory / "checkout" / ".git",
        room=directory / "room",
        home=home,
        write=(str(directory / "shared"), *write),
        hidden=hidden,
    )
    with (
        closing(Mounter()) as mounter,
        open_room(require_sandbox(), Policy(), places, ProcessMark({}), mounter) as room,
    ):
        yield room


def start(room: Room, *argv: str) -> "subprocess.Popen[str]":
    """Start a command in the sandbox."""
    command = room.command(argv)
    pipe = subprocess.PIPE
    return room.start(
        lambda: subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, pass_fds=room.descriptors)
    )


def output(room: Room, script: str) -> str:
    """Run a script in the sandbox, and return what it writes."""
    with start(room, "sh", "-c", script) as process:
        text, errors = process.communicate()
    assert process.returncode == 0, errors
    return text


def _write(path: Path) -> None:
    path.write_text(SECRET)


def _replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_text(SECRET)
    other.replace(path)


def _make_directory(path: Path) -> None:
    path.mkdir()
    (path / "file").write_text(SECRET)


@pytest.mark.parametrize(
    ("before", "change"),
    [(None, _write), ("", _replace), (None, _make_directory)],
    ids=["a file appears", "a file is replaced", "a directory appears"],
)
def test_what_appears_where_a_task_can_write_is_hidden_from_its_next_step(
    tmp_path: Path, before: str | None, change: Callable[[Path], None]
) -> None:
    """Also from processes of its earlier steps, from then on."""
    secret, go = tmp_path / "shared" / "secret", tmp_path / "shared" / "go"
    secret.parent.mkdir()
    if before is not None:
        secret.write_text(before)
    with opened(tmp_path, hidden=(secret,)) as room:
        waits = (
            f"touch {go}-begun; until test -e {go}; do sleep 0.05; done; cat {secret} {secret}/* || echo hidden"
        )
        with start(room, "sh", "-c", waits) as earlier:
            _wait(go.with_name("go-begun").exists)
            change(secret)
            assert SECRET not in output(room, f"cat {secret} {secret}/* || echo hidden")
            go.touch()
            assert SECRET not in earlier.communicate()[0]
        assert output(room, f"echo x > {go}; cat {go}") == "x\n"


def test_what_links_lead_to_is_hidden(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    directory, link, gone = shared / "keys", shared / "link", shared / "gone"
    shared.mkdir()
    _make_directory(directory)
    link.symlink_to(directory)
    gone.symlink_to(tmp_path / "nowhere")
    with opened(tmp_path, hidden=(link, gone)) as room:
        assert output(room, f"ls {directory} {link}/") == f"{directory}:\n\n{link}/:\n"
        assert output(room, f"test -L {link} && test -L {gone} && echo both") == "both\n"


@pytest.mark.parametrize("name", ["~/.cache", "~/.cache/tool", "~/data"])
def test_what_a_task_changes_for_good_is_reached_through_links(tmp_path: Path, name: str) -> None:
    """Also where a directory is not in the home directory of a task, since it is a cache."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    (elsewhere / "tool").mkdir(parents=True)
    home.mkdir()
    for link in (".cache", "data"):
        (home / link).symlink_to(elsewhere)
    where = name.replace("~", str(home))
    with opened(tmp_path, home=home, write=(name, str(Path(where).resolve()))) as room:
        output(room, f"echo new > {where}/file")
        assert output(room, f"cat {where}/file") == "new\n"
    assert (Path(where).resolve() / "file").read_text() == "new\n"


def test_what_appears_behind_a_link_is_left(tmp_path: Path) -> None:
    secret, outside = tmp_path / "shared" / "way" / "secret", tmp_path / "outside"
    outside.mkdir()
    with opened(tmp_path, hidden=(secret,)) as room:
        assert output(room, f"ln -s ../../outside {secret.parent}; echo done") == "done\n"
        (outside / "secret").write_text(SECRET)
        assert output(room, "echo next") == "next\n"
    assert (outside / "secret").read_text() == SECRET


def test_steps_after_the_end_of_all_processes_have_the_same_files(tmp_path: Path) -> None:
    with opened(tmp_path) as room:
        with start(room, "sh", "-c", "echo x > /tmp/made; exec sleep 600") as sleeping:
            _wait((tmp_path / "room" / "tmp" / "made").exists)
            room.end_processes()
        assert sleeping.returncode
        assert output(room, "cat /tmp/made") == "x\n"
        assert 0 < int(output(room, "ls /proc | grep -c '^[0-9]'")) < 8
        settings = "/proc/sys/vm/drop_caches"
        assert "kept" in output(room, f"(echo 1 > {settings}) 2> /dev/null || echo kept")


def test_nothing_is_left_of_it(tmp_path: Path) -> None:
    def state() -> tuple[list[str], list[str]]:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        found = os.listdir("/proc/self/fd")  # noqa: PTH208 - names
        return found, [line for line in mounts if str(tmp_path) in line]

    home = tmp_path / "home"
    (home / ".config").mkdir(parents=True)
    before = state()
    with opened(tmp_path, home=home) as room:
        assert output(room, f"mkdir {home}/.config/gh; ls {home}/.config") == "gh\n"
        assert state()[1] == before[1]
    assert state() == before
    assert list((home / ".config").iterdir()) == []


def test_the_process_that_mounts_ends_with_this_one() -> None:
    code = (
        "import os, signal, sys\n"
        "from containers.sandbox.mounter import FileSystem, Mounter, SandboxError\n"
        "mounter = Mounter()\n"
        "try: mounter.make_file_system(0, 0, FileSystem())\n"
        "except SandboxError as error: print(error)\n"
        "print(mounter._process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    reason, pid = done.stdout.splitlines()
    assert reason.startswith("the sandbox cannot be made: ")
    _wait(lambda: not Path("/proc", pid).exists() or " Z " in Path("/proc", pid, "stat").read_text())


def _wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not until():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def test_the_directory_of_what_is_hidden_is_not_moved(tmp_path: Path) -> None:
    """Else a link in its place would lead to what appears in it later."""
    database = tmp_path / "shared" / "d" / "runs.db"
    journal = database.with_name("runs.db-journal")
    database.parent.mkdir(parents=True)
    database.write_text(SECRET)
    with opened(tmp_path, hidden=(database, journal)) as room:
        moved = f"cd {tmp_path}/shared; mv d e && ln -s e d; rm -rf d; cat d/runs.db e/runs.db; echo moved"
        assert output(room, moved) == "moved\n"
        journal.write_text(SECRET)
        assert output(room, f"cd {tmp_path}/shared; cat d/* e/*; echo read") == "read\n"
    assert database.read_text() == journal.read_text() == SECRET
