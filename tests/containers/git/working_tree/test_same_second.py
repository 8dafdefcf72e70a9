"""Files that a task writes in the very second in which its worktree was made: git looks at no less."""

import time
from pathlib import Path

import pytest
from repositories import Clone
from stages import Stage

from tasks.secrets import Secrets


@pytest.fixture
def stage(clone: Clone, tmp_path: Path) -> Stage:
    clone.commit({"file": "x = 1\n"})
    return Stage(clone, tmp_path)


@pytest.mark.parametrize("secrets", [Secrets(), Secrets({"KEY": "a-secret-value"})])
def test_an_edit_of_the_same_size_is_seen(stage: Stage, secrets: Secrets) -> None:
    path = stage.path / "file"
    path.write_text("x = 3\n")
    stage.checkout.reset(stage.start)
    with path.open("r+b", buffering=0) as file:
        file.write(b"x = 2")
    while time.time() < path.stat().st_ctime + 1.1:  # the patch is taken in another second
        time.sleep(0.05)
    assert stage.checkout.patch(stage.start, secrets=secrets).files == ("file",)
    assert stage.clone.user.git("status", "--short", cwd=stage.path) == " M file"
