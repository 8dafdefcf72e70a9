"""The limit for a patch is known before git stores or compares what is too large."""

import re

import pytest
from stages import Stage

from containers.git.repository import GitError
from containers.git.working_tree.patch_size import PatchTooLargeError
from tasks.secrets import Secrets

LIMIT = 100_000


@pytest.mark.parametrize("secrets", [Secrets({}), Secrets({"TOKEN": "s3cr3t-value"})])
def test_large_files_are_named_and_none_is_stored(stage: Stage, secrets: Secrets) -> None:
    """The message names the largest first; the repository gets no object, and the worktree stays."""
    for number in range(5):
        (stage.path / f"big{number}.bin").write_bytes(bytes(60_000 + number * 1000))
    with pytest.raises(PatchTooLargeError) as raised:
        stage.patch(limit=LIMIT, secrets=secrets)
    assert str(raised.value) == (
        "it has 310 KB of files, and max_patch allows 100 KB: big4.bin (64 KB), big3.bin (63 KB), "
        "big2.bin (62 KB) and 2 more; have git ignore what is not part of the result, or set max_patch higher"
    )
    assert stage.patch(secrets=secrets).files == tuple(f"big{number}.bin" for number in range(5))


def test_limit_holds_for_a_patch_that_is_taken_again(stage: Stage) -> None:
    """Also if the first time got so far that git has stored the files."""
    (stage.path / "big.bin").write_bytes(bytes(2 * LIMIT))
    stage.patch()
    for _ in range(2):
        with pytest.raises(PatchTooLargeError):
            stage.patch(limit=LIMIT)


def test_changed_file_counts_with_its_new_size(stage: Stage) -> None:
    """A tracked file that grows past the limit."""
    with (stage.path / "README.md").open("ab") as file:
        file.write(bytes(LIMIT))
    with pytest.raises(GitError, match=re.escape("README.md (100")):
        stage.patch(limit=LIMIT)


def test_file_that_a_filter_makes_small_does_not_count(stage: Stage) -> None:
    """As with Git LFS: the patch has its short form."""
    stage.clone.user.configure(filter_short_clean="wc -c", filter_short_smudge="cat")
    (stage.path / ".gitattributes").write_text("*.bin filter=short\n")
    (stage.path / "big.bin").write_bytes(bytes(2 * LIMIT))
    patch = stage.checkout.patch(stage.start, limit=LIMIT)
    assert stage.content(patch, "big.bin") == "200000"


class TestWithALargeFileInTheRepository:
    @pytest.fixture(autouse=True)
    def large(self, stage: Stage) -> None:
        """A commit with a file of the user's that is larger than the limit."""
        stage.start = stage.clone.commit({"large.bin": bytes(2 * LIMIT)})
        stage.checkout.reset(stage.start)

    def test_touched_and_ignored_files_do_not_count(self, stage: Stage) -> None:
        """A patch has nothing of them."""
        stage.sh("touch large.bin; echo '*.log' > .gitignore; head -c 200000 /dev/zero > a.log; echo a > a.txt")
        assert stage.patch(limit=LIMIT).files == (".gitignore", "a.txt")

    def test_removed_file_counts(self, stage: Stage) -> None:
        """The patch of a binary file has what it removes."""
        (stage.path / "large.bin").unlink()
        with pytest.raises(PatchTooLargeError, match=re.escape("large.bin (200 KB)")):
            stage.patch(limit=LIMIT)

    def test_file_of_the_same_size_with_other_content_counts(self, stage: Stage) -> None:
        """Its size alone does not show that it changed."""
        (stage.path / "large.bin").write_bytes(b"x" * 2 * LIMIT)
        with pytest.raises(PatchTooLargeError, match=re.escape("large.bin (200 KB)")):
            stage.patch(limit=LIMIT)
