"""A patch holds exactly what a task left, whatever the task did with git, and applies to a fresh clone."""

import os
from collections.abc import Callable
from contextlib import suppress
from time import sleep, time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from repositories import contents, write
from stages import FILES, Stage

from containers.filesystem import remove
from tasks.secrets import Secrets

CHANGES = {
    "nothing": (":", []),
    "an edit": ("echo more >> README.md", ["README.md"]),
    "a delete": ("rm src/app.py", ["src/app.py"]),
    "a rename": ("mv README.md READYOU.md", ["README.md", "READYOU.md"]),
    "a rename of a directory": (
        "mv src lib",
        ["lib/app.py", "lib/lib/util.py", "src/app.py", "src/lib/util.py"],
    ),
    "an empty file": ("> new; > empty2; echo x > empty", ["empty", "empty2", "new"]),
    "a binary": ("head -c 5000 /dev/zero > zero.bin; printf '\\0\\1' >> blob.bin", ["blob.bin", "zero.bin"]),
    "a mode": ("chmod 755 README.md; chmod 644 run.sh", ["README.md", "run.sh"]),
    "links": (
        "ln -s nowhere dangling; ln -sf README.md link; rm run.sh; ln -s /x run.sh",
        ["dangling", "link", "run.sh"],
    ),
    "a link made a file": ("rm link; echo f > link", ["link"]),
    "a directory made a file": ("rm -r src; echo f > src", ["src", "src/app.py", "src/lib/util.py"]),
    "a file made a directory": (
        "rm README.md; mkdir README.md; echo f > README.md/f",
        ["README.md", "README.md/f"],
    ),
    "odd names": (
        r"""for n in 'a b' $'new\nline' ünï $'tab\t"quote"\\' -dash; do echo x > "./$n"; done; rm docs/*""",
        ["-dash", "a b", "docs/a b\nü.txt", "new\nline", 'tab\t"quote"\\', "ünï"],
    ),
    "names that are not UTF-8": (
        r"echo x > $'\xff\xfe'; mkdir $'d\xe9'; echo x > $'d\xe9/f'",
        ["d\udce9/f", "\udcff\udcfe"],
    ),
    "line endings": (r"printf 'one\r\n2\r\n' > crlf.txt; printf 'a\r\nb\n' > mixed", ["crlf.txt", "mixed"]),
    "no newline at the end": ("printf x > README.md; printf 'x\n\n\n' > n", ["README.md", "n"]),
    "ignored files": ("echo l > x.log; mkdir build; > build/o; echo x > y", ["y"]),
    "an ignored file that was added": (
        "echo l > x.log; git add -f x.log; git commit -qm log; echo x > y",
        ["y"],
    ),
    "a commit": ("echo more >> README.md; git commit -qam mine; echo new > new", ["README.md", "new"]),
    "a commit taken back": ("echo more >> README.md; git commit -qam mine; git revert -n HEAD", []),
    "another branch": (
        "git checkout -q -b b; rm README.md; git commit -qam b; git checkout -q main~0; echo x > y",
        ["y"],
    ),
    "an amended start": ("echo x > y; git add y; git commit -q --amend -m other", ["y"]),
    "an orphan": (
        "git checkout -q --orphan o; git rm -rqf src; git commit -qm o",
        ["src/app.py", "src/lib/util.py"],
    ),
    "only staged": ("echo x > y; git add y; git rm -q --cached README.md", ["y"]),
    "staged and taken away": ("echo x > y; git add y; rm y", []),
    "intent to add": ("echo x > y; git add -N y", ["y"]),
    "assume-unchanged": (
        "git update-index --assume-unchanged README.md; echo more >> README.md",
        ["README.md"],
    ),
    "skip-worktree": ("git update-index --skip-worktree README.md; echo more >> README.md", ["README.md"]),
    "times set back": (
        "touch -r README.md ../t; sed -i s/Sample/sAMPLE/ README.md; touch -r ../t README.md",
        ["README.md"],
    ),
    "locks": ("touch $(git rev-parse --git-path index.lock); echo x > y", ["y"]),
    "a broken index": ("echo junk > $(git rev-parse --git-path index); echo x > y", ["y"]),
    "no .git": ("rm -rf .git; echo x > y", ["y"]),
    "a repository in place of .git": (
        "rm -rf .git; git init -q; echo x > y; git add -A; git commit -qm own",
        ["y"],
    ),
    "no administration": ("rm -r $(git rev-parse --git-dir); echo x > y", ["y"]),
    "a merge half-done": (
        """
        git checkout -q -b a; echo a > README.md; git commit -qam a
        git checkout -q -b b HEAD~1; echo b > README.md; git commit -qam b
        git merge a || true; echo settled > README.md
        """,
        ["README.md"],
    ),
    "a file without access": ("echo x > y; chmod 000 y; mkdir d; echo x > d/f; chmod 000 d", ["d/f", "y"]),
    "a directory without access": ("echo more >> src/app.py; chmod 000 src", ["src/app.py"]),
    "the root without access": ("echo x > y; chmod 300 .", ["y"]),
    "a new ignore file": ("echo '*.tmp' >> .gitignore; > a.tmp; > a.txt", [".gitignore", "a.txt"]),
    "everything gone": ("rm -rf * .gitignore", [*sorted([*FILES, "link"])]),
    "a pipe": ("mkfifo pipe; echo x > y", ["y"]),
}

NESTED = {
    "with commits": (
        "git init -q n; echo f > n/f; git -C n add f; git -C n commit -qm n; echo g > n/g",
        ["n/f", "n/g"],
    ),
    "without a commit": ("git init -q n; echo f > n/f; echo x > y", ["n/f", "y"]),
    "empty": ("git init -q n; echo x > y", ["y"]),
    "with a commit, but empty": ("git init -q n; git -C n commit -q --allow-empty -m n; echo x > y", ["y"]),
    "over tracked files": (
        "git init -q src; git -C src add -A; git -C src commit -qm n; echo x >> src/app.py; echo x > src/new",
        ["src/app.py", "src/new"],
    ),
    "over tracked files, without a commit": ("git init -q src; echo x > src/new", ["src/new"]),
    "in one another": (
        """
        git init -q n; echo f > n/f; git init -q n/m; echo f > n/m/f
        git -C n/m add f; git -C n/m commit -qm m; git -C n add f; git -C n commit -qm n
        """,
        ["n/f", "n/m/f"],
    ),
    "in place of a file": (
        "rm README.md; git init -q README.md; cd README.md; echo f > f; git add f; git commit -qm n",
        ["README.md", "README.md/f"],
    ),
    "with ignored files": (
        "git init -q n; cd n; echo '*.o' > .gitignore; > a.o; > a.c; > x.log; git add -A; git commit -qm n",
        ["n/.gitignore", "n/a.c"],
    ),
    "in an ignored directory": ("git init -q build/n; > build/n/f; echo x > y", ["y"]),
    "a worktree": (
        "git worktree add -q --detach n; rm -r n/src n/docs; echo x > n/y",
        [
            "n/.gitignore",
            "n/README.md",
            "n/blob.bin",
            "n/crlf.txt",
            "n/empty",
            "n/link",
            "n/run.sh",
            "n/y",
        ],
    ),
    "added as if it were a submodule": (
        "git init -q n; > n/f; git -C n add f; git -C n commit -qm n; git add n; git commit -qm n",
        ["n/f"],
    ),
    "with odd names": (
        r"git init -q $'n\n\xffü'; echo f > $'n\n\xffü/f'; git init -q 'q q'; echo f > 'q q/f'",
        ["n\n\udcffü/f", "q q/f"],
    ),
    "cloned": (
        "git clone -q ../../repo n; rm -r n/src n/docs n/link",
        [
            "n/.gitignore",
            "n/README.md",
            "n/blob.bin",
            "n/crlf.txt",
            "n/empty",
            "n/run.sh",
        ],
    ),
}


@pytest.mark.parametrize(("script", "files"), CHANGES.values(), ids=CHANGES)
def test_files_of_a_task_are_its_patch(stage: Stage, script: str, files: list[str]) -> None:
    stage.sh(script)
    patch = stage.patch()
    assert sorted(patch.files) == sorted(files)
    assert stage.patch() == patch
    assert (patch.tree == stage.repository.tree(stage.start)) is (not files)
    assert bool(patch.diff) is bool(files)


@pytest.mark.parametrize(("script", "files"), NESTED.values(), ids=NESTED)
def test_nested_repository_becomes_ordinary_files(stage: Stage, script: str, files: list[str]) -> None:
    stage.sh(script)
    before = sorted(path.relative_to(stage.path) for path in stage.path.rglob("*"))
    patch = stage.patch()
    assert sorted(patch.files) == sorted(files)
    assert b"Subproject" not in patch.diff.read()
    assert stage.patch() == patch
    assert sorted(path.relative_to(stage.path) for path in stage.path.rglob("*")) == before
    stage.checkout.reset(stage.start)
    assert contents(stage.path) == contents(stage.clone.path)
    assert not list(stage.path.rglob("*/.git"))


def test_declared_repository_without_a_remote_becomes_ordinary_files(stage: Stage) -> None:
    """Nobody could fetch it as a submodule. No command of its configuration runs."""
    stage.sh(
        f"""
        git init -q sub; cd sub; echo x > x.txt; git add x.txt; git commit -qm x
        git config filter.e.clean 'touch {stage.path}/ran; cat'
        git config core.fsmonitor 'touch {stage.path}/ran'
        echo '* filter=e' > .gitattributes; echo z > x.txt; touch -d 2001-01-01 x.txt; cd ..
        git init -q other; echo y > other/y; git -C other add y; git -C other commit -qm y
        git config -f .gitmodules submodule.sub.path sub; git config -f .gitmodules submodule.sub.url ./sub
        """
    )
    patch = stage.patch()
    assert patch.files == (".gitmodules", "other/y", "sub/.gitattributes", "sub/x.txt")
    assert stage.content(patch, "sub/x.txt") == "z"
    assert b"Subproject" not in patch.diff.read()
    assert not (stage.path / "ran").exists()


NAMES = st.sampled_from(
    ["a", "b", "c/a", "c/b", "c/d/e", "README.md", "src", "src/app.py", "src/lib", "x y", "é\n"]
)
OPERATION = st.one_of(
    st.tuples(st.just("write"), NAMES, st.sampled_from([b"", b"x\n", b"x\r\ny", b"\0\1\2", b"long\n" * 50])),
    st.tuples(
        st.sampled_from(["remove", "mkdir", "init", "commit", "executable", "stage"]), NAMES, st.just(b"")
    ),
    st.tuples(st.sampled_from(["link", "move"]), NAMES, NAMES.map(os.fsencode)),
)


@settings(
    max_examples=50, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(operations=st.lists(OPERATION, max_size=12), patched=st.booleans())
def test_any_change_gives_an_applicable_patch_and_a_clean_reset(
    stage: Stage, operations: list[tuple[str, str, bytes]], *, patched: bool
) -> None:
    stage.checkout.reset(stage.start)
    for operation in operations:
        do(stage, *operation)
    if patched:
        patch = stage.patch()
        kept = {
            name: content for name, content in contents(stage.path).items() if content != b"(empty directory)"
        }
        assert stage.tree(patch) == set(kept)
    stage.checkout.reset(stage.start)
    assert contents(stage.path) == contents(stage.clone.path)
    assert not list(stage.path.rglob("*/.git"))


def do(stage: Stage, what: str, name: str, more: bytes) -> None:
    """Do one thing to the worktree, where it can be done."""
    path, other, user = stage.path / name, stage.path / os.fsdecode(more), stage.clone.user

    def begin() -> None:
        if path.is_dir():
            user.git("init", "-q", ".", cwd=path)

    def commit() -> None:
        if path.is_dir():
            user.git("init", "-q", ".", cwd=path)
            user.git("add", "-A", cwd=path, check=False)
            user.git("commit", "-q", "--allow-empty", "-m", "x", cwd=path)

    actions: dict[str, Callable[[], object]] = {
        "write": lambda: write(stage.path, {name: more}),
        "remove": lambda: remove(path),
        "mkdir": lambda: path.mkdir(parents=True),
        "link": lambda: path.symlink_to(os.fsdecode(more)),
        "move": lambda: path.rename(other),
        "executable": lambda: path.chmod(0o755),
        "init": begin,
        "commit": commit,
        "stage": lambda: user.git("add", "-f", "--", name, cwd=stage.path, check=False),
    }
    with suppress(OSError):
        actions[what]()


def test_edit_right_after_a_reset_is_detected(stage: Stage) -> None:
    """Git compares whole seconds: an edit in the second of the checkout looks like none to a younger index."""
    sleep(1.02 - time() % 1)
    stage.checkout.reset(stage.start)
    path = stage.path / "README.md"
    path.unlink()
    stage.checkout.reset(stage.start)
    path.write_bytes(path.read_bytes().upper())
    sleep(1.2)
    assert stage.patch().files == ("README.md",)
    stage.checkout.reset(stage.start)
    path.write_bytes(path.read_bytes().upper())
    sleep(1.2)
    assert stage.patch(secrets=Secrets({"KEY": "not in it"})).files == ("README.md",)
