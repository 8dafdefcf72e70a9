"""Patches on top of a commit, merged one after another; what is there already is found, also taken together."""

from pathlib import Path

from repositories import Clone, CountedGit

from containers.git.repository import Repository
from pipeline.run.results.applying import combine
from tasks.outcome import Patch
from tasks.patch_data import InlineData


def patch_of(clone: Clone, start: str, files: dict[str, str]) -> tuple[str, Patch]:
    """Return the commit of a change, and its patch."""
    clone.git("checkout", "--quiet", "--detach", start)
    commit = clone.commit(files)
    tree = clone.git("rev-parse", f"{commit}^{{tree}}")
    clone.git("checkout", "--quiet", "main")
    return commit, Patch(start, tree, InlineData(b""), tuple(files))


def test_what_is_there_is_found_although_later_tasks_changed_the_same_lines(clone: Clone) -> None:
    repository, base = Repository.open(clone.path, clone.user.environ), clone.head
    first, one = patch_of(clone, base, {"a": "1\n"})
    second, two = patch_of(clone, first, {"a": "1\n2\n"})
    _, three = patch_of(clone, second, {"a": "1\n2\n3\n", "b": "b\n"})
    patches = [("1", one), ("2", two), ("3", three)]
    clone.commit({"a": "1\n2\n", "mine": "x\n"})

    found = combine(repository, clone.head, patches, base)

    assert (found.already, found.applied, found.conflict) == (("1", "2"), ("3",), None)
    assert clone.git("ls-tree", "--name-only", found.tree).split()[-3:] == ["b", "mine", "src"]
    assert combine(repository, clone.head, patches).conflict == "1"


def test_the_first_conflict_is_named_with_what_was_applied_before(clone: Clone) -> None:
    repository, base = Repository.open(clone.path, clone.user.environ), clone.head
    _, one = patch_of(clone, base, {"a": "1\n"})
    _, two = patch_of(clone, base, {"README.md": "theirs\n"})
    clone.commit({"README.md": "mine\n"})

    found = combine(repository, clone.head, [("1", one), ("2", two)], base)

    assert (found.applied, found.conflict, found.files) == (("1",), "2", ("README.md",))


def test_patches_of_different_files_need_no_merge_each(clone: Clone, tmp_path: Path) -> None:
    git = CountedGit.at(tmp_path / "bin", clone.user)
    start = clone.head
    patches = [(str(number), patch_of(clone, start, {f"{number}.txt": "x\n"})[1]) for number in range(12)]
    clone.commit({"mine": "x\n", "3.txt": "x\n"})
    calls = {}
    for count in (6, 12):
        repository = Repository.open(clone.path, git.environ)
        git.calls()
        found = combine(repository, clone.head, patches[:count], start)
        calls[count] = [call.split()[0] for call in git.calls()]
        assert (found.already, len(found.applied)) == (("3",), count - 1)
        names = clone.git("ls-tree", "--name-only", found.tree).split()
        assert {"mine", *(f"{number}.txt" for number in range(count))} <= set(names)
    assert calls[6] == calls[12]
    assert "merge-tree" not in calls[12]
