"""What comes back from containers is as git has it, whatever a task did to its files."""

import os
import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from engine_stage import Ran, Stage
from repositories import Clone
from small_disk import as_root, grow, mounted

from containers.dagger_engine.client.api import Directory
from containers.dagger_engine.config import HostFiles
from containers.dagger_engine.runner import EngineRunner
from containers.dagger_engine.session import Session

pytestmark = [pytest.mark.engine, pytest.mark.anyio, pytest.mark.timeout(300)]

ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in ((1, 7, 2**32 - 1), (2, 7, 1234), (4, 5, 2**32 - 1), (16, 7, 2**32 - 1), (32, 5, 2**32 - 1))
)
"""An access control list that lets user 1234 write: see `linux/posix_acl_xattr.h`."""


@pytest.fixture
def stage(session: Session, clone: Clone, tmp_path: Path, test_image: str) -> Stage:
    return Stage(session.client, clone, tmp_path, test_image)


def modes(ran: Ran) -> dict[str, str]:
    """Return the permissions of everything in the worktree but `.git`, by path."""
    root = ran.worktree.path
    paths = [path for path in root.rglob("*") if path.relative_to(root).parts[0] != ".git"]
    return {str(path.relative_to(root)): stat.filemode(path.lstat().st_mode) for path in paths}


def python(text: str) -> str:
    """Return a script that runs a Python program."""
    return f"python3 - <<'END'\n{text}\nEND"


async def test_permissions_owners_and_set_id_bits(stage: Stage) -> None:
    ran = await stage.run(
        "cp /bin/true tool; chmod 6755 tool; echo n > new; chmod 666 new; mkdir d; echo x > d/x; chmod 1777 d; "
        "chown -R 1234:1234 .; chmod 6777 src; chmod 4755 src/app.py"
    )
    found = modes(ran)
    assert {name: found[name] for name in ("README.md", "d", "d/x", "new", "src", "src/app.py", "tool")} == {
        "README.md": "-rw-r--r--",
        "d": "drwxr-xr-x",
        "d/x": "-rw-r--r--",
        "new": "-rw-r--r--",
        "src": "drwxr-xr-x",
        "src/app.py": "-rwxr-xr-x",
        "tool": "-rwxr-xr-x",
    }
    assert {path.lstat().st_uid for path in ran.worktree.path.rglob("*")} == {os.getuid()}


async def test_a_directory_of_which_only_the_permissions_changed(stage: Stage) -> None:
    ran = await stage.run("chmod 6777 src; echo n > new")
    assert modes(ran)["src"] == "drwxr-xr-x"
    assert ran.patch().files == ("new",)


@pytest.mark.skipif(sys.platform != "linux", reason="attributes as on Linux")
async def test_access_control_lists_and_other_attributes(stage: Stage) -> None:
    ran = await stage.run(
        python(
            "import os\n"
            f"acl = {ACL!r}\n"
            "os.mkdir('d'); open('d/x', 'w').close(); open('README.md', 'a').write('more\\n')\n"
            "for path in ('d', 'd/x', 'src', 'README.md'):\n"
            "    os.setxattr(path, 'system.posix_acl_access', acl); os.setxattr(path, 'user.note', b'x')\n"
            "for path in ('d', 'src', '.'):\n"
            "    os.setxattr(path, 'system.posix_acl_default', acl)\n"
            "open('src/new', 'w').close()"
        )
    )
    assert ran.last.ok, ran.log
    found = {str(path): os.listxattr(path) for path in (ran.worktree.path, *ran.worktree.path.rglob("*"))}
    assert {name: names for name, names in found.items() if "/.git" not in name and names} == {}
    assert ran.patch().files == ("README.md", "d/x", "src/new")


async def test_special_files(stage: Stage) -> None:
    ran = await stage.run(
        "mkfifo pipe src/.gitattributes src/.gitignore; mknod disk b 8 0; mknod zero c 1 5; "
        "mkdir d; mkfifo d/.git; "
        + python("import socket; s = socket.socket(socket.AF_UNIX); s.bind('d/socket')")
        + "\nrm -rf .git; mkfifo .git; echo n > new"
    )
    assert ran.last.ok, ran.log
    assert ran.patch().files == ("new",)
    assert {name for name, mode in modes(ran).items() if mode[0] not in "-dl"} == set()
    assert not {"pipe", "disk", "zero", "d/socket"} & modes(ran).keys()


async def test_links_to_this_machine(stage: Stage, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (stage.clone.path / "out").symlink_to(outside)
    (stage.clone.path / "back").symlink_to("../..")
    stage.clone.git("add", "-A")
    stage.clone.git("commit", "-q", "-m", "links")
    ran = await stage.run(
        "for d in out back; do rm $d; mkdir $d; echo evil > $d/evil; echo '*.log' > $d/.gitignore; "
        f"echo l > $d/x.log; done; rm -r src; ln -s {outside} src; ln -s {outside}/none new; ln README.md hard"
    )
    assert ran.last.ok, ran.log
    assert list(outside.iterdir()) == []
    assert not (tmp_path / "evil").exists()
    patch = ran.patch()
    assert set(patch.files) == {
        *("out", "out/evil", "out/.gitignore", "back", "back/evil", "back/.gitignore"),
        *("src", "src/app.py", "src/lib/util.py", "new", "hard"),
    }


async def test_a_file_with_holes_does_not_fill_this_machine(stage: Stage) -> None:
    ran = await stage.run("truncate -s 900G big; echo n > new", patch_limit=1_000_000)
    assert ran.last.error is not None
    assert "than max_patch allows, 1 MB" in ran.last.error
    arrived = sum(path.lstat().st_size for path in ran.worktree.path.rglob("*") if path.is_file())
    assert arrived < 2_000_000_000


@pytest.mark.parametrize("borrows", [False, True], ids=["own objects", "borrowed objects"])
async def test_files_that_a_filter_changes(stage: Stage, tmp_path: Path, *, borrows: bool) -> None:
    """A task gets what a checkout has, as Git LFS writes it, and not what git stores."""
    clone = stage.clone
    settings = {
        "smudge": "git rev-parse main && tr a-z A-Z",
        "clean": "tail -n 1 | tr A-Z a-z",
        "required": "true",
    }
    for name, value in settings.items():
        clone.git("config", "--global", f"filter.loud.{name}", value)
    loud = {"a [1]*.loud": "one\n", "d/b.loud": "two\n"}
    clone.commit({".gitattributes": "*.loud filter=loud\n", "c": "c\n", **loud})
    if borrows:
        clone.git("clone", "--shared", clone.path, tmp_path / "borrower")
        stage = Stage(stage.client, Clone(clone.user, tmp_path / "borrower"), tmp_path / "other", stage.image)
    ran = await stage.run("tail -q -n 1 *.loud d/*.loud c > seen; echo THREE >> d/b.loud")
    assert ran.text("seen") == "ONE\nTWO\nc\n"
    patch = ran.patch()
    assert patch.files == ("d/b.loud", "seen")
    assert b"-two\n+three\n" in b"".join(patch.diff.blocks())


class Stalled(HostFiles):
    """Files that never come back."""

    async def export(self, directory: Directory, path: Path) -> None:
        del directory, path
        await anyio.sleep_forever()


async def test_a_copy_that_stops_in_the_middle(stage: Stage) -> None:
    """An engine stops so, without an error, when another copy has filled the disk."""
    stage.settings(files=Stalled())
    stage.runner = EngineRunner(stage.client, stage.place, patience=2)
    ran = await stage.run("echo n > new")
    assert ran.last.error is not None
    assert "nothing has arrived from the engine for 2 s" in ran.last.error


@as_root
async def test_a_full_disk_of_the_worktrees(stage: Stage) -> None:
    pool = stage.directory / "pool"
    with mounted(pool, "8m"):
        ran = await stage.run("head -c 20000000 /dev/urandom > big")
        assert ran.last.error is not None
        assert f"; the disk of {pool / 'wt-1'} may be full (" in ran.last.error
        grow(pool, "64m")
        ran.worktree.checkout.reset(ran.start)
        assert (await stage.run("echo n > new", worktree=ran.worktree)).patch().files == ("new",)


async def test_directories_deeper_than_a_path_may_be(stage: Stage) -> None:
    text = "import os\nfor _ in range(3000):\n    os.mkdir('abcdefgh'); os.chdir('abcdefgh')"
    ran = await stage.run(python(text))
    assert ran.last.error is not None
    assert "it made directories deeper than a path may be long" in ran.last.error
    assert (await stage.run("echo n > new", worktree=ran.worktree)).patch().files == ("new",)


async def test_git_files_of_every_kind(stage: Stage, make_repository: Callable[..., Clone]) -> None:
    other = make_repository("other", {"f": "1\n"})
    mark = other.path / "ran"
    inside = f"git init -q $d; git -C $d config core.fsmonitor 'touch {mark}'; echo x > $d/x"
    ran = await stage.run(
        f"for d in one two/three; do {inside}; done; mkdir four five; "
        f"echo 'gitdir: {other.path}/.git' > four/.git; "
        f"ln -s {other.path}/.git five/.git; echo x > four/x; echo x > five/x; "
        "printf '[submodule \"one\"]\\n\\tpath = one\\n\\turl = ./one\\n' > .gitmodules; "
        "rm -rf .git; ln -s /etc .git"
    )
    assert ran.last.ok, ran.log
    assert {"four/x", "five/x", "two/three/x"} <= set(ran.patch().files)
    assert not mark.exists()


async def test_a_container_without_its_work_directory(stage: Stage) -> None:
    ran = await stage.run("cd /; rm -rf /work 2> /dev/null || true; mv /work /other 2> /dev/null || true")
    assert ran.last.ok, ran.log
    assert set(ran.patch().files) == {".gitignore", "README.md", "src/app.py", "src/lib/util.py"}


async def test_files_that_swap_places(stage: Stage) -> None:
    """In a container all files of the start have the same time, and these the same size."""
    stage.clone.commit({"one": "aaaa\n", "two": "bbbb\n"})
    ran = await stage.run("mv one t; mv two one; mv t two")
    assert ran.patch().files == ("one", "two")


async def test_names_that_are_patterns_of_ignored_files(stage: Stage) -> None:
    ran = await stage.run(
        r"printf '\\*\n\\[ab]\nq\\?\n' > .gitignore; for f in '*' '[ab]' 'q?' qq a other; do echo x > $f; done"
    )
    assert set(ran.patch().files) == {".gitignore", "qq", "a", "other"}
