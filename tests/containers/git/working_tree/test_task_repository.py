"""Test which files of a task's repository are written again when its worktree is reset."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from containers.git.working_tree.task_repository import TaskRepositoryTemplate

COMMIT, OTHER = "a" * 40, "b" * 40


@pytest.fixture
def template(tmp_path: Path) -> TaskRepositoryTemplate:
    """A template with one ref."""
    refs = f"{COMMIT} refs/heads/main\n".encode()
    return TaskRepositoryTemplate(tmp_path / "objects", b"[core]\n", refs, b"*.log\n", None)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """The index after a reset."""
    path = tmp_path / "index"
    path.write_bytes(b"DIRC")
    return path


@pytest.fixture
def directory(template: TaskRepositoryTemplate, index: Path, tmp_path: Path) -> Path:
    """The git directory of a new repository."""
    path = tmp_path / ".git"
    template.create(path, COMMIT, index, keeps_modes=True)
    return path


def content(directory: Path) -> dict[str, bytes | None]:
    """Return the files of a directory with their content, and its directories with `None`."""
    found = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*")}
    return {name: None if path.is_dir() else path.read_bytes() for name, path in found.items()}


def numbers(directory: Path) -> dict[str, int]:
    """Return the inode of everything in a directory."""
    return {path.relative_to(directory).as_posix(): path.lstat().st_ino for path in directory.rglob("*")}


def kept(directory: Path, write: Callable[[], None]) -> set[str]:
    """Return the names of what is as it was, after something was written."""
    # Held open, so that the file system gives no new file the number of one that is removed.
    before = {name: os.open(directory / name, os.O_RDONLY) for name in numbers(directory)}
    try:
        write()
        after = numbers(directory)
        return {name for name, opened in before.items() if after.get(name) == os.fstat(opened).st_ino}
    finally:
        for opened in before.values():
            os.close(opened)


def test_only_changed_files_are_written_again(
    template: TaskRepositoryTemplate, index: Path, directory: Path
) -> None:
    created = content(directory)
    later = replace(template, packed_refs=template.packed_refs + f"{OTHER} refs/heads/new\n".encode())

    left = kept(directory, lambda: later.create(directory, OTHER, index, keeps_modes=True))

    assert left == created.keys() - {"packed-refs", "HEAD"}
    expected = {"packed-refs": later.packed_refs, "HEAD": f"{OTHER}\n".encode()}
    assert content(directory) == created | expected


def test_files_that_a_task_changed_are_restored(
    template: TaskRepositoryTemplate, index: Path, directory: Path
) -> None:
    created = content(directory)
    (directory / "config").write_text("[core]\n\thooksPath = /tmp/evil\n")
    (directory / "index").write_bytes(b"DIRC of the task")

    left = kept(directory, lambda: template.create(directory, COMMIT, index, keeps_modes=True))

    assert left == created.keys() - {"config", "index"}
    assert content(directory) == created
    assert (directory / "index").stat().st_mtime_ns == index.stat().st_mtime_ns


def _add_hook(directory: Path) -> None:
    (directory / "hooks" / "post-checkout").write_text("#!/bin/sh\n")


def _remove_directory(directory: Path) -> None:
    (directory / "hooks").rmdir()


def _link_file(directory: Path) -> None:
    (directory / "HEAD").unlink()
    (directory / "HEAD").symlink_to(directory.parent / "index")


def _name_file_twice(directory: Path) -> None:
    (directory / "config").unlink()
    os.link(directory.parent / "index", directory / "config")


def _link_directory(directory: Path) -> None:
    (directory / "refs" / "heads").rmdir()
    (directory / "refs" / "heads").symlink_to(directory.parent)


def _make_directory_of_file(directory: Path) -> None:
    (directory / "packed-refs").unlink()
    (directory / "packed-refs").mkdir()


def _open_to_others(directory: Path) -> None:
    (directory / "config").chmod(0o666)


@pytest.mark.parametrize(
    "harm",
    [
        _add_hook,
        _remove_directory,
        _link_file,
        _name_file_twice,
        _link_directory,
        _make_directory_of_file,
        _open_to_others,
    ],
)
def test_everything_is_created_again_if_anything_else_was_changed(
    template: TaskRepositoryTemplate, index: Path, directory: Path, harm: Callable[[Path], None]
) -> None:
    created, given = content(directory), index.read_bytes()
    harm(directory)

    left = kept(directory, lambda: template.create(directory, COMMIT, index, keeps_modes=True))

    assert left == set()
    assert content(directory) == created
    assert index.read_bytes() == given
