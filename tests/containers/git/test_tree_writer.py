"""Trees written without git are those that git writes."""

import random
import subprocess
from pathlib import Path

import pytest
from repositories import Clone, CountedGit, User, write

from containers.git.repository import Repository
from containers.git.working_tree.checkout import Checkout

START = {
    "a": "a",
    "a.b": "a.b",
    "a0": "a0",
    "dir/one": "1",
    "dir/sub/deep/er/x": "x",
    "dir-2/y": "y",
    "dir.x/y": "y",
    "ü/n\nl": "z",
    "only/one": "1",
}
NAMES = ("a", "a.b", "dir", "dir-2", "dir.x", "only", "new", "ü", "sub", "deep", "x\ny", "b c")
OLD_MODE = r"""
git cat-file tree "HEAD^{tree}" | sed '1s/^100644 a/100664 a/' > ../tree
tree=$(git hash-object -t tree -w --literally ../tree)
git update-ref HEAD $(git commit-tree -m old "$tree")
"""
"""Makes a tree with a mode that only old versions of git wrote."""


class Stage:
    """A worktree, and a git that logs its calls."""

    def __init__(self, user: User, directory: Path, *options: str) -> None:
        path = directory / "repository"
        path.mkdir()
        self.clone = Clone(user, path)
        self.clone.git("init", "-q", *options)
        self.start = self.clone.commit(START)
        self.counted = CountedGit.at(directory / "bin", user)
        self.repository = Repository.open(path, self.counted.environ)
        self.checkout: Checkout = self.repository.add_worktree(directory / "pool" / "wt-1", self.start)
        self.checkout.reset(self.start)

    @property
    def path(self) -> Path:
        return self.checkout.path

    def calls(self) -> list[str]:
        """Return the names of the git commands since the last time that deal with trees."""
        words = [word for call in self.counted.calls() for word in call.split()]
        return [word for word in words if word in {"write-tree", "cat-file"}]

    def expected(self) -> str:
        """Return the tree that the user's git writes of the worktree."""
        names = {"GIT_DIR": str(self.clone.path / ".git"), "GIT_INDEX_FILE": str(self.path.parent / "index")}
        environ = {**self.clone.user.environ, **names, "GIT_WORK_TREE": str(self.path)}
        for arguments in (["read-tree", self.start], ["add", "-A", "."], ["write-tree"]):
            done = subprocess.run(
                ["git", *arguments], cwd=self.path, env=environ, check=True, capture_output=True, text=True
            )
        return done.stdout.strip()

    def objects(self) -> dict[str, Path]:
        """Return the files of loose objects by their names."""
        found = (self.clone.path / ".git/objects").glob("[0-9a-f][0-9a-f]/*")
        return {path.parent.name + path.name: path for path in found}

    def sh(self, script: str) -> None:
        subprocess.run(["sh", "-e", "-c", script], cwd=self.path, env=self.clone.user.environ, check=True)


@pytest.fixture(params=["sha1", "sha256"])
def stage(user: User, tmp_path: Path, request: pytest.FixtureRequest) -> Stage:
    return Stage(user, tmp_path, f"--object-format={request.param}")


@pytest.mark.parametrize(
    "script",
    [
        "echo n > new",
        "echo A > a; rm a0; chmod +x a.b",
        "echo n > dir/sub/deep/er/new; rm only/one",
        "rm -r dir; echo f > dir",
        "rm a; mkdir -p a/b/c; echo f > a/b/c/d",
        "rm -r dir/sub; ln -s .. dir/sub; ln -s nowhere link",
        "printf 'x\\n' > \"$(printf 'new\\nline')\"; mkdir ./-x; > './-x/\"q\"'",
    ],
)
def test_a_change_needs_no_write_tree(stage: Stage, script: str) -> None:
    stage.sh(script)
    stage.calls()
    patch = stage.checkout.patch(stage.start)
    assert "write-tree" not in stage.calls()
    assert patch.tree == stage.expected()
    stage.clone.git("fsck", "--strict", "--no-dangling", patch.tree)
    assert stage.clone.git("diff", "--name-only", "-z", "--no-renames", stage.start, patch.tree).split("\0")[
        :-1
    ] == list(patch.files)


def test_the_directories_of_a_commit_are_read_once(stage: Stage) -> None:
    for number, wanted in ((1, ["cat-file"]), (2, [])):
        write(stage.path, {"dir/one": f"n{number}", "new": f"{number}"})
        stage.calls()
        assert stage.checkout.patch(stage.start).tree == stage.expected()
        assert stage.calls() == wanted


@pytest.mark.parametrize("seed", range(3))
def test_any_changes_give_the_tree_that_git_writes(stage: Stage, seed: int) -> None:
    choose = random.Random(seed)  # noqa: S311 - repeatable
    for number in range(8):
        stage.checkout.reset(stage.start)
        for _ in range(choose.randint(1, 5)):
            found = [path for path in sorted(stage.path.rglob("*")) if ".git" not in path.parts]
            path = choose.choice([*found, stage.path / choose.choice(NAMES)])
            match choose.randint(0, 3):
                case 0:
                    subprocess.run(["rm", "-rf", path], check=True)
                case 1 if not path.is_dir() and path.parent.is_dir():
                    path.write_text(f"{seed} {number} {choose.random()}")
                case 2 if path.is_dir() and not path.is_symlink():
                    write(path, {choose.choice(NAMES) + "/" + choose.choice(NAMES) + "-f": f"{number}"})
                case _ if path.exists():
                    subprocess.run(["mv", path, path.with_name(choose.choice(NAMES))], check=False)
        assert stage.checkout.patch(stage.start).tree == stage.expected()


@pytest.mark.parametrize(
    "prepare",
    [
        "git config core.sharedRepository group",
        OLD_MODE,
    ],
)
def test_what_is_unusual_is_left_to_git(stage: Stage, prepare: str) -> None:
    subprocess.run(["sh", "-e", "-c", prepare], cwd=stage.clone.path, env=stage.clone.user.environ, check=True)
    stage.start = stage.clone.head
    stage.checkout.reset(stage.start)
    write(stage.path, {"new": "n"})
    stage.calls()
    assert stage.checkout.patch(stage.start).tree == stage.expected()
    assert stage.calls()[-1] == "write-tree"


@pytest.mark.parametrize(
    "script",
    [
        "for d in 1 2 3 4 5 6 7 8; do mkdir $d; echo $d > $d/f; done",
        "mv dir dir-3; mkdir dir; > dir/n",
        "rm -r *",
    ],
)
def test_many_directories_are_left_to_git(stage: Stage, script: str) -> None:
    stage.sh(script)
    stage.calls()
    assert stage.checkout.patch(stage.start).tree == stage.expected()
    assert stage.calls() == ["write-tree"]


def test_content_in_a_pack_is_left_to_git(stage: Stage) -> None:
    stage.clone.git("gc", "-q")
    stage.sh("cp dir/one new")  # the content is in a pack
    assert stage.checkout.patch(stage.start).tree == stage.expected()
    assert stage.calls()[-1] == "write-tree"


def test_a_patch_reads_no_file_of_the_worktree_after_it_was_added(stage: Stage) -> None:
    """Attributes of an ignored file do not say how a file is shown."""
    write(stage.clone.path / ".git", {"info/exclude": ".gitattributes\n"})
    stage.clone.git("gc", "-q")
    write(stage.path, {"a": "text\n"})
    without = stage.checkout.patch(stage.start)
    write(stage.path, {".gitattributes": "a binary\n"})
    assert stage.checkout.patch(stage.start) == without


@pytest.mark.parametrize("directories", [1, 12], ids=["without git", "by git"])
@pytest.mark.parametrize("kind", ["tree", "blob"])
def test_damaged_objects_are_written_again(stage: Stage, directories: int, kind: str) -> None:
    """A loss of power leaves empty files; git takes them for written."""
    files = {f"new-{number}/sub/file": f"new {number}" for number in range(directories)}
    before = stage.objects()
    write(stage.path, files)
    expected = stage.checkout.patch(stage.start).tree
    stage.checkout.reset(stage.start)
    written = {name: path for name, path in stage.objects().items() if name not in before}
    damaged = [path for name, path in written.items() if stage.clone.git("cat-file", "-t", name) == kind]
    assert len(damaged) >= directories
    for path in damaged:
        path.chmod(0o644)
        path.write_bytes(b"")
    write(stage.path, files)

    assert stage.checkout.patch(stage.start).tree == expected

    assert stage.clone.git("fsck", "--strict", "--no-dangling", expected) == ""


def test_what_the_first_patch_needs_can_be_read_before(stage: Stage) -> None:
    stage.repository.prepare_patches(stage.start)
    write(stage.path, {"new": "n"})
    stage.counted.calls()
    patch = stage.checkout.patch(stage.start)
    ran = [word for call in stage.counted.calls() for word in call.split()]
    assert not {"cat-file", "core.sharedRepository", "write-tree"} & set(ran)
    assert patch.tree == stage.expected()
