"""Commits read from one repository and made again in another."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from repositories import Clone, Content, User, make_repository

from containers.git.repository import GitError, Repository
from tasks.patch_data import InlineData

Make = Callable[..., Clone]
KINDS: dict[str, dict[str, Content]] = {
    "text": {"a.txt": "changed\n", "new/deep/file": "x\n"},
    "no newline at the end": {"a.txt": "changed"},
    "binary": {"image.bin": bytes(range(256)) * 40},
    "empty": {"empty": ""},
    "CRLF": {"crlf.txt": "one\r\ntwo\r\n"},
    "names": {"with space": "1", 'quote"d': "2", "größe/日本": "3", "tab\tand\nline": "4", "-dash": "5"},
}


def clone_of(clone: Clone, path: Path) -> Clone:
    """Return another clone, as it is on another machine."""
    clone.user.git("clone", "--quiet", "--no-local", clone.path, path, cwd=clone.path.parent)
    return Clone(clone.user, path)


def opened(clone: Clone) -> Repository:
    return Repository.open(clone.path, clone.user.environ)


def test_commits_are_read_whole_parents_first(clone: Clone) -> None:
    base = clone.head
    one = clone.commit({"one": "1"}, "one\n\nwith a body: ä\n\nTrailer: yes")
    clone.git("checkout", "-q", "--detach", base)
    two = clone.commit({"two": "2"}, "two")
    clone.git("merge", "-q", "--no-edit", one)
    merged = clone.head

    commits = opened(clone).history.since(base, [merged, one])

    assert [commit.id for commit in commits][-1] == merged
    assert {commit.id for commit in commits} == {one, two, merged}
    by_id = {commit.id: commit for commit in commits}
    assert by_id[one].parents == (base,)
    assert by_id[merged].parents == (two, one)
    assert by_id[one].tree == clone.git("rev-parse", f"{one}^{{tree}}")
    assert by_id[one].message == "one\n\nwith a body: ä\n\nTrailer: yes\n"
    assert by_id[one].author.startswith("Uma User <uma@example.com> ")
    assert opened(clone).history.since(base, []) == ()
    assert opened(clone).history.since(base, [base]) == ()


def test_missing_commit_is_an_error(clone: Clone) -> None:
    with pytest.raises(GitError):
        opened(clone).history.since(clone.head, ["1" * 40])


def test_a_commit_written_as_it_was_read_has_the_same_id(clone: Clone, tmp_path: Path) -> None:
    base = clone.head
    other = opened(clone_of(clone, tmp_path / "other"))
    made = clone.commit({"a": "1"}, "Größe\n\n  indented\n\n")
    (commit,) = opened(clone).history.since(base, [made])
    diff = clone.git("diff", "--binary", "--full-index", base, made) + "\n"

    assert other.history.apply(base, InlineData(diff.encode())) == commit.tree
    assert other.history.write(commit) == made
    assert other.history.write(replace(commit, message="another")) != made


@pytest.mark.parametrize("kind", KINDS)
def test_patches_of_every_kind_give_the_tree_that_they_were_taken_of(
    kind: str, clone: Clone, tmp_path: Path
) -> None:
    base = clone.commit({"a.txt": "before\n", "gone.txt": "x\n", "run.sh": "#!/bin/sh\n", "old name": "y\n"})
    other = opened(clone_of(clone, tmp_path / "other"))
    clone.git("rm", "-q", "gone.txt")
    clone.git("mv", "old name", "new name")
    (clone.path / "run.sh").chmod(0o755)
    (clone.path / "link").symlink_to("a.txt")
    clone.commit(KINDS[kind])
    made = opened(clone)
    checkout = made.add_worktree(tmp_path / "wt-1", base)
    checkout.reset(clone.head)
    patch = checkout.patch(base)

    assert other.history.apply(base, patch.diff) == patch.tree == clone.git("rev-parse", "HEAD^{tree}")


def test_user_settings_do_not_change_apply(clone: Clone, user: User, tmp_path: Path) -> None:
    base = clone.commit({"a.txt": "one\ntwo\n"})
    wanted = clone.commit({"a.txt": "one  \r\ntwo\t\n \t\nend\n"})
    diff = clone.git("diff", "--binary", "--full-index", base, wanted) + "\n"
    other = opened(clone_of(clone, tmp_path / "other"))
    user.configure(apply_whitespace="fix", apply_ignoreWhitespace="change", core_autocrlf="true")
    assert other.history.apply(base, InlineData(diff.encode())) == clone.git("rev-parse", f"{wanted}^{{tree}}")


def test_an_empty_patch_is_the_tree_itself_and_a_wrong_one_an_error(clone: Clone) -> None:
    history = opened(clone).history
    assert history.apply(clone.head, InlineData(b"")) == clone.git("rev-parse", "HEAD^{tree}")
    wrong = b"diff --git a/README.md b/README.md\n--- a/README.md\n+++ b/README.md\n@@ -1 +1 @@\n-no\n+yes\n"
    with pytest.raises(GitError, match="patch"):
        history.apply(clone.head, InlineData(wrong))
    outside = b"diff --git a/../x b/../x\nnew file mode 100644\n--- /dev/null\n+++ b/../x\n@@ -0,0 +1 @@\n+x\n"
    with pytest.raises(GitError, match="invalid path"):
        history.apply(clone.head, InlineData(outside))
    assert list((clone.path / ".git" / "patchyard").iterdir()) == []


def test_statistic_has_whole_names(clone: Clone) -> None:
    name = "a folder with a long name/" * 6 + "naïve 日本.txt"
    old, new = clone.head, clone.commit({name: "1\n", "tab\tend": "2\n"})
    lines = opened(clone).history.stat(old, new).splitlines()
    assert [line.partition(" |")[0].strip() for line in lines[:2]] == [name, r'"tab\tend"']
    assert lines[2:] == [" 2 files changed, 2 insertions(+)"]


def test_two_commits_are_merged_or_conflict(user: User, tmp_path: Path) -> None:
    clone = make_repository(user, tmp_path / "merging", {"a": "1\n2\n3\n4\n5\n"})
    base = clone.head
    one = clone.commit({"a": "one\n2\n3\n4\n5\n"})
    clone.git("checkout", "-q", "--detach", base)
    two = clone.commit({"a": "1\n2\n3\n4\nfive\n"})
    clone.git("checkout", "-q", "--detach", base)
    three = clone.commit({"a": "three\n2\n3\n4\n5\n"})
    history = opened(clone).history
    assert clone.git("show", f"{history.merged_tree(one, two)}:a") == "one\n2\n3\n4\nfive"
    with pytest.raises(GitError, match=r"conflict in a$"):
        history.merged_tree(one, three)
