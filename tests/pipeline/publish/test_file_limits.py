"""Files that GitHub does not take are reported before a push, and only their tasks are not published."""

import pytest
from github_server import GitHubServer
from project import Project
from repositories import Clone

from containers.git.repository import Repository
from pipeline.forge.base import FileLimits
from pipeline.forge.github_urls import file_limits
from pipeline.publish.file_limits import refusal, warning

NAME = "octo/demo"
SCRIPTS = {
    "1.1": "truncate -s 106000000 big.bin",
    "1.2": "echo small > small.txt",
    "1.3": "truncate -s 60000000 half.bin",
    "1.4": "echo more > more.txt",
}
FIELDS = {"1.4": "**Dependencies:** Task 1.1\n"}
OVER = "GitHub takes no file over 100 bytes"
ADVICE = "store such a file with Git LFS, or leave it out"
LIMITS = FileLimits("GitHub", most=100, advised=50, is_fixed=True)


def test_task_with_a_file_over_the_limit_is_not_pushed_and_the_others_are(
    hosted: Project, github: GitHubServer
) -> None:
    """Neither is a task that builds on it."""
    hosted.configure('max_patch = "200MB"')

    done = hosted.run(hosted.tasks(SCRIPTS, fields=FIELDS), "--publish").expect(3)

    assert {pull.head for pull in github.pull_requests(NAME)} == {"patchyard/demo/1.2", "patchyard/demo/1.3"}
    pushed = Clone(hosted.clone.user, github.repository(NAME).path).git("branch", "--format=%(refname:short)")
    assert sorted(pushed.split()) == ["main", "patchyard/demo/1.2", "patchyard/demo/1.3"]
    notices = [record["message"] for record in done.events("notice")]
    assert (
        "task 1.1 (patchyard/demo/1.1) was not published: GitHub takes no file over 100 MiB, so its branch was "
        f"not pushed: big.bin (106 MB); {ADVICE}"
    ) in notices
    assert (
        "task 1.4 (patchyard/demo/1.4) was not published: it builds on task 1.1, which cannot be published"
    ) in notices
    assert any(
        notice.endswith("GitHub advises against files over 50 MiB: half.bin (60 MB)") for notice in notices
    )


def test_limit_of_an_enterprise_server_may_be_another() -> None:
    assert file_limits("https://api.github.com").is_fixed
    assert file_limits("https://api.octo.ghe.com").is_fixed
    assert not file_limits("https://github.example.org/api/v3").is_fixed


def test_large_files_of_commits_are_found_with_their_sizes_as_stored(clone: Clone) -> None:
    old = clone.commit({"old": "x" * 200})
    one = clone.commit({"a b": "x" * 101, "small": "x"})
    two = clone.commit({"old": "y" * 300, "größe": "z" * 102})
    clone.git("rm", "-q", "a b")
    three = clone.commit({"small": "y"})

    history = Repository.open(clone.path, clone.user.environ).history

    assert history.large_files([one, two, three], 100) == {
        one: {"a b": 101},
        two: {"old": 300, "größe": 102},
    }
    assert history.large_files([one], 101) == history.large_files([], 1) == {}
    assert old != one


@pytest.mark.parametrize(
    ("files", "refused", "warned"),
    [
        ({}, None, None),
        ({"a": 60}, None, "GitHub advises against files over 50 bytes: a (60 bytes)"),
        (
            {"a": 60, "b": 101},
            f"{OVER}, so its branch was not pushed: b (101 bytes); {ADVICE}",
            f"{OVER} unless its administrator allows it: b (101 bytes), a (60 bytes)",
        ),
    ],
)
def test_sentences_name_the_files(files: dict[str, int], refused: str | None, warned: str | None) -> None:
    assert refusal(files, LIMITS) == refused
    assert warning(files, LIMITS) == warned
