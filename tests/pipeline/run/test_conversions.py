"""What git's conversions change right after a checkout is not a change of the task."""

import pytest
from project import Done, Project

CRLF = {"f1.txt": "a\r\nb\r\n", "f2.txt": "a\r\nb\r\n", "dir/f3.txt": "a\r\nb\r\n"}
TOUCH = "find . -type f -not -path './.git/*' -exec touch {} +"
"""With new times, git reads the files again, whatever the clock was at the checkout."""


@pytest.fixture
def crlf(project: Project) -> Project:
    """The project with files that were committed with CRLF before they were called text."""
    project.clone.commit(CRLF)
    (project.root / ".gitattributes").write_text("*.txt text\n")
    project.clone.git("add", ".gitattributes")
    project.clone.git("commit", "--quiet", "--message", "attributes")
    return project


def files(done: Done, task: str) -> list[str]:
    """Return the files of a task's patch."""
    return list(done.outcome(task)["files"])


def test_committed_crlf_is_not_a_change(crlf: Project) -> None:
    scripts = {
        "1.1": TOUCH,
        "1.2": f"{TOUCH}; echo new > new.md",
        "1.3": f'{TOUCH}; printf "c\\r\\n" >> f1.txt',
        "1.4": f"{TOUCH}; git commit --quiet --all --message all || :; chmod +x f2.txt; rm dir/f3.txt",
    }
    done = crlf.run(crlf.tasks(scripts)).expect(0)

    assert done.statuses["1.1"] == "unchanged"
    assert [files(done, task) for task in ("1.2", "1.3")] == [["new.md"], ["f1.txt"]]
    assert files(done, "1.4") == ["dir/f3.txt", "f2.txt"]
    branch = done.outcome("1.4")["branch"]
    assert crlf.clone.git("diff", "--raw", "--abbrev=1", "main", branch, "--", "f2.txt").startswith(
        ":100644 100755"
    )
    assert crlf.clone.git("rev-parse", f"{branch}:f2.txt") == crlf.clone.git("rev-parse", "main:f2.txt")


def test_attributes_that_a_task_adds_change_no_other_file(project: Project) -> None:
    project.clone.commit(CRLF)

    done = project.run(project.tasks({"1.1": f"echo '*.txt text' > .gitattributes; {TOUCH}"})).expect(0)

    assert files(done, "1.1") == [".gitattributes"]


@pytest.mark.parametrize("where", [".gitattributes", ".git/info/attributes"])
def test_a_keyword_that_was_committed_expanded_is_not_a_change(project: Project, where: str) -> None:
    project.clone.commit({"id.md": "$Id: by hand $\n"})
    project.clone.write({where: "*.md ident\n"})
    if where == ".gitattributes":
        project.clone.git("add", where)
        project.clone.git("commit", "--quiet", "--message", "attributes")

    done = project.run(project.tasks({"1.1": TOUCH, "1.2": f"{TOUCH}; echo more >> id.md"})).expect(0)

    assert done.statuses["1.1"] == "unchanged"
    assert files(done, "1.2") == ["id.md"]


def test_a_file_that_a_filter_would_store_otherwise_is_not_a_change(project: Project) -> None:
    project.clone.user.configure(filter_upper_clean="tr a-z A-Z", filter_upper_smudge="tr A-Z a-z")
    project.clone.commit({"a.up": "Mixed\n"})
    (project.root / ".gitattributes").write_text("*.up filter=upper\n")
    project.clone.git("add", ".gitattributes")
    project.clone.git("commit", "--quiet", "--message", "attributes")

    done = project.run(project.tasks({"1.1": TOUCH, "1.2": "echo new > b.up"})).expect(0)

    assert done.statuses["1.1"] == "unchanged"
    assert files(done, "1.2") == ["b.up"]
    assert project.show(f"{done.outcome('1.2')['branch']}:b.up") == "NEW"
