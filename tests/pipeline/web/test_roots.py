"""Repositories and plans below the roots of a server."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from repositories import Clone

from containers.git.repository import NotARepositoryError, Repository
from pipeline.store.store import Store, StoreError
from pipeline.web.roots import PathError, PathOutsideRootsError, Repositories, Roots


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a file, and a directory beside it that has another."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "plan.md").write_text("# P\n")
    (tmp_path / "rooted").mkdir()
    (tmp_path / "rooted" / "plan.md").write_text("# P\n")
    return tmp_path / "root"


@pytest.mark.parametrize("path", ["plan.md", "./plan.md", "x/../plan.md", "{root}/plan.md", "later.md", "."])
def test_path_below_a_root_is_accepted(root: Path, path: str) -> None:
    resolved = Roots([root]).inside(path.format(root=root))
    assert resolved == Path(os.path.normpath(root / path.format(root=root)))


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../rooted/plan.md",
        "{root}/../rooted/plan.md",
        "{root}ed/plan.md",
        "/",
        "/etc/passwd",
        "x/../../rooted",
    ],
)
def test_path_outside_of_the_roots_is_refused(root: Path, path: str) -> None:
    with pytest.raises(PathOutsideRootsError, match="outside of"):
        Roots([root]).inside(path.format(root=root))


def test_links_are_resolved(root: Path) -> None:
    beside = root.parent / "rooted"
    (root / "out").symlink_to(beside)
    (root / "out.md").symlink_to(beside / "plan.md")
    (root / "in.md").symlink_to("plan.md")
    (root / "loop").symlink_to("loop")
    (root.parent / "link").symlink_to(root)
    roots = Roots([root])
    for path in ("out", "out/plan.md", "out.md", "out/../plan.md"):
        with pytest.raises(PathOutsideRootsError):
            roots.inside(path)
    assert roots.inside("in.md") == root / "plan.md"
    assert Roots([root.parent / "link"]).inside("plan.md") == root / "plan.md"
    assert roots.inside(root.parent / "link" / "plan.md") == root / "plan.md"
    with pytest.raises(PathError):
        roots.inside("loop/plan.md")


@pytest.mark.parametrize("path", ["a\0b", "\ud800", "0" * 5_000])
def test_invalid_path_is_reported(root: Path, path: str) -> None:
    with pytest.raises(PathError):
        Roots([root]).inside(path)


def test_message_does_not_reveal_whether_an_outside_path_exists(root: Path) -> None:
    messages = set()
    for name in ("plan.md", "nothing.md", "x/y/z.md"):
        with pytest.raises(PathOutsideRootsError) as raised:
            Roots([root]).inside(f"../rooted/{name}")
        messages.add(str(raised.value).replace(name, ""))
    assert len(messages) == 1


def test_message_is_utf_8_for_any_file_name(root: Path) -> None:
    with pytest.raises(PathOutsideRootsError) as raised:
        Roots([root]).inside(os.fsdecode(b"../\xff"))
    assert str(raised.value).encode()


def test_repositories_are_found_up_to_two_levels_below_the_roots(
    make_repository: Callable[..., Clone], tmp_path: Path
) -> None:
    names = ["one", "some/two", "some/more/three", ".hidden/four"]
    clones = {name: make_repository(f"root/{name}", {"a": "a"}) for name in names}
    outside = make_repository("outside", {"a": "a"})
    clones["one"].git("worktree", "add", "--quiet", str(tmp_path / "root" / "linked"), "-b", "linked")
    (tmp_path / "root" / "link").symlink_to(outside.path)
    (tmp_path / "root" / "broken" / ".git").mkdir(parents=True)
    environ = clones["one"].user.environ
    repositories = Repositories(Roots([tmp_path / "root"]), environ, lambda found: Store.beside(found.common))

    assert {found.root for found in repositories.all()} == {clones["one"].path, clones["some/two"].path}
    three = repositories.named("some/more/three")
    assert three.root == clones["some/more/three"].path
    assert three in repositories.all()
    assert repositories.named(str(tmp_path / "root" / "linked")).common == clones["one"].path / ".git"
    assert repositories.named("one") is repositories.named("./one")
    for path in ("link", "../outside"):
        with pytest.raises(PathOutsideRootsError):
            repositories.named(path)
    with pytest.raises(NotARepositoryError):
        repositories.named(None)


def test_repository_that_contains_a_root_is_refused(clone: Clone) -> None:
    roots = Roots([clone.path / "src"])
    repositories = Repositories(roots, clone.user.environ, lambda found: Store.beside(found.common))
    with pytest.raises(PathOutsideRootsError):
        repositories.named(None)
    with pytest.raises(PathOutsideRootsError):
        repositories.named("lib")
    assert repositories.all() == ()


def test_repository_has_one_store(clone: Clone) -> None:
    repositories = Repositories(
        Roots([clone.path]), clone.user.environ, lambda found: Store.beside(found.common)
    )
    store = repositories.store(repositories.named(None))
    assert repositories.store(repositories.named("src")) is store
    repositories.close()


def test_broken_store_does_not_hide_the_others(make_repository: Callable[..., Clone], tmp_path: Path) -> None:
    good, bad = (make_repository(f"root/{name}", {"a": "a"}) for name in ("good", "bad"))
    (bad.path / ".git" / "patchyard").write_text("in the way")
    environ = good.user.environ
    both = Repositories(Roots([tmp_path / "root"]), environ, lambda found: Store.beside(found.common))
    assert [repository.root for repository, _ in both.stores()] == [good.path]
    both.close()
    alone = Repositories(Roots([bad.path]), environ, lambda found: Store.beside(found.common))
    with pytest.raises(StoreError):
        alone.stores()


def test_directory_is_a_plan_unless_a_file_of_it_is_elsewhere_or_it_is_too_large(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository.open(clone.path, clone.user.environ)
    folder = clone.path / "changes"
    folder.mkdir()
    (folder / "tasks.md").write_text("- [ ] a\n")
    roots = Roots([clone.path])
    assert roots.plan("changes", repository) == folder
    monkeypatch.setattr("pipeline.web.roots.MAX_PLAN", 10)
    (folder / "more.md").write_text("- [ ] b\n")
    with pytest.raises(PathError, match="longer than 10 bytes"):
        roots.plan("changes", repository)
    (folder / "more.md").unlink()
    outside = clone.path.parent / "secret.md"
    outside.write_text("secret")
    (folder / "out.md").symlink_to(outside)
    with pytest.raises(PathOutsideRootsError):
        roots.plan("changes", repository)
