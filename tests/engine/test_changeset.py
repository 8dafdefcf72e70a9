"""The changes of a run as one changeset, applied to a directory with untracked files."""

import shutil
from pathlib import Path

import pytest
from repositories import Clone, contents

from containers.dagger_engine.client.api import Changeset
from containers.dagger_engine.client.values import as_text, as_texts
from containers.dagger_engine.session import Session
from containers.git.repository import Repository
from pipeline.dagger_module.changeset import MergedOutcomes, write_changeset

pytestmark = [pytest.mark.engine, pytest.mark.anyio]

OLD = {
    "plain": "plain\n",
    "edited": "old\n",
    "dir/edited": "old\n",
    "dir/removed": "gone\n",
    "dir/plain": "plain\n",
    "emptied/last": "gone\n",
    "mode": "#!/bin/sh\n",
    "odd/st*r [a]?": "gone\n",
    "odd/stir a": "stays\n",
    "odd/[a]?": "gone\n",
    "odd/a": "stays\n",
    "odd/edited *[a]": "old\n",
    "Grüße": "gone\n",
    "becomes-dir": "file\n",
    "becomes-file/a": "a\n",
    "becomes-link": "file\n",
}
NEW = {
    "edited": "new\n",
    "dir/edited": "new\n",
    "new/deep/file": "new\n",
    "odd/edited *[a]": "new\n",
    "odd/new ?\n{a,b}": "new\n",
    "becomes-dir/a": "a\n",
    "becomes-file": "file\n",
}
MINE = dict.fromkeys(
    ("plain", "dir/plain", "dir/untracked", "emptied/untracked", "new/untracked"), "only at the caller\n"
)
REMOVED = ("dir/removed", "emptied/last", "odd/st*r [a]?", "odd/[a]?", "Grüße", "becomes-dir")


def changes(session: Session, merged: MergedOutcomes) -> Changeset:
    """Return the changes as a changeset of the engine."""
    host = session.client.host()
    before, after = (host.directory(str(path), no_cache=True) for path in (merged.before, merged.after))
    return after.changes(before)


async def test_only_what_changed_is_written(clone: Clone, session: Session, tmp_path: Path) -> None:
    clone.commit(OLD)
    (clone.path / "link").symlink_to("plain")
    base = clone.commit()
    shutil.rmtree(clone.path / "becomes-file")
    for name in (*REMOVED, "becomes-link", "link"):
        (clone.path / name).unlink()
    clone.write(NEW)
    (clone.path / "mode").chmod(0o755)
    (clone.path / "becomes-link").symlink_to("plain")
    (clone.path / "link").symlink_to("edited")
    result = clone.commit()
    clone.write(MINE)
    wanted = contents(clone.path)

    clone.git("reset", "--quiet", "--hard", base)
    clone.write(MINE)
    repository = Repository.open(clone.path, clone.user.environ)
    merged = write_changeset(repository, base, result, tmp_path / "changes")
    changeset = changes(session, merged)
    written = await changeset.layer().value(as_texts, "glob", pattern="**/*")
    await changeset.value(as_text, "export", path=str(clone.path))

    assert contents(clone.path) == wanted
    assert (clone.path / "mode").stat().st_mode & 0o777 == 0o755
    changed = set(clone.git("diff", "-z", "--name-only", base, result).split("\0"))
    assert {name for name in written if not name.endswith("/")} <= changed


@pytest.mark.parametrize("files", [{}, {"new": "newer\n"}])
async def test_known_tree_is_not_written_again(
    clone: Clone, session: Session, tmp_path: Path, files: dict[str, str]
) -> None:
    base = clone.head
    result = clone.commit(files)
    repository = Repository.open(clone.path, clone.user.environ)
    merged = write_changeset(repository, base, result, tmp_path / "changes")
    changeset = changes(session, merged)
    assert await changeset.added_paths() == list(files)
    assert await changeset.layer().value(as_texts, "entries") == list(files)
