"""Where two commits conflict: hunks with both sides, of a real merge."""

import pytest
from repositories import Clone

from containers.git.repository import Repository
from pipeline.run.results.conflict_sides import FileConflict, Pair, pairs_of, places, what_helps
from tasks.outcome import Conflict, Outcome, Status

LINES = [f"line {number}" for number in range(1, 21)]


def changed(clone: Clone, name: str, files: dict[str, str | bytes], removed: tuple[str, ...] = ()) -> Outcome:
    """Return the outcome of a task that changes files of main."""
    clone.git("checkout", "--quiet", "-B", name, "main")
    for path in removed:
        clone.git("rm", "--quiet", path)
    commit = clone.commit(files, name)
    clone.git("checkout", "--quiet", "main")
    return Outcome(name, name, 1, Status.CHANGED, commit=commit)


def pair(clone: Clone, first: Outcome, second: Outcome) -> Pair:
    repository = Repository.open(clone.path, clone.user.environ)
    conflict = Conflict(1, (first.task, second.task), ())
    (found,) = pairs_of(repository, conflict, {first.task: first, second.task: second})
    return found


def text(**lines: str) -> str:
    return "".join(f"{lines.get(f'l{number}', line)}\n" for number, line in enumerate(LINES, 1))


def test_each_hunk_has_both_sides_and_their_lines(clone: Clone) -> None:
    clone.commit({"a.txt": text()})
    first = changed(clone, "1.1", {"a.txt": text(l1="more\nfirst", l10="ten", l18="<<<<<<< mine\nx")})
    second = changed(clone, "1.2", {"a.txt": text(l10="10\n10 more", l18="18")})

    found = pair(clone, first, second)

    (file,) = found.files
    ten, eighteen = file.hunks
    assert (str(ten.ours), ten.ours.lines, str(ten.theirs), ten.theirs.lines) == (
        "line 11",
        ("ten",),
        "lines 10-11",
        ("10", "10 more"),
    )
    assert (str(eighteen.ours), eighteen.ours.lines, str(eighteen.theirs)) == (
        "lines 19-20",
        ("<<<<<<< mine", "x"),
        "line 19",
    )
    assert places(found) == "a.txt (lines 10-11, line 19)"


@pytest.mark.parametrize(
    ("first", "removed", "second", "note"),
    [
        ({"bin": b"\0one"}, (), {"bin": b"\0two"}, "a binary file"),
        ({"other": ""}, ("a.txt",), {"a.txt": "new\n"}, "one removes it"),
    ],
)
def test_a_file_without_hunks_says_why(
    clone: Clone,
    first: dict[str, str | bytes],
    removed: tuple[str, ...],
    second: dict[str, str | bytes],
    note: str,
) -> None:
    clone.commit({"a.txt": text(), "bin": b"\0zero"})

    found = pair(clone, changed(clone, "1.1", first, removed), changed(clone, "1.2", second))

    (file,) = found.files
    assert (file.hunks, note in (file.note or "")) == ((), True)


def test_two_that_merge_alone_say_so(clone: Clone) -> None:
    found = pair(clone, changed(clone, "1.1", {"x": "1"}), changed(clone, "1.2", {"y": "2"}))

    assert (found.files, found.note) == ((), "these two alone can be merged; with the others they cannot")


def test_what_helps_is_the_commands() -> None:
    helps = what_helps("latest", Conflict(1, ("1.1", "1.2", "1.3"), ("a",)))

    assert "`patchyard retry latest 1.3 --onto 1.1 --onto 1.2`" in helps
    assert places(Pair("1", "2", (FileConflict("a", note="?"),))) == "a"
