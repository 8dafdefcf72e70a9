"""What is put on top of a tree without a merge is what a merge gives."""

from collections.abc import Iterable
from itertools import product

from repositories import Clone

from containers.git.overlay import Fit
from containers.git.repository import Repository, Signature
from containers.git.signatures import PATCHYARD_IDENTITY

BASE = {"a": "1\n", "b": "1\n", "d/x": "1\n", "d/y": "1\n", "e/z": "1\n"}
NOTHING: dict[str, str | None] = {}
CHANGES: tuple[dict[str, str | None], ...] = (
    NOTHING,
    {"a": "2\n"},
    {"a": "3\n"},
    {"a": "2\n", "n": "new\n"},
    {"n": "new\n"},
    {"n/m": "new\n"},
    {"d/x": "2\n", "d/new": "new\n"},
    {"d/new": "other\n"},
    {"d": "a file\n", "d/x": None, "d/y": None},
    {"a": None, "a/in": "new\n"},
    {"b": None},
    {"d/x": None, "d/y": None, "moved/x": "1\n", "moved/y": "1\n"},  # a directory that git follows
    {"e/\udc80\n\N{SNOWMAN}": "new\n"},
)
"""What one side changes; `None` removes a file."""


def tree_of(clone: Clone, files: dict[str, str | None]) -> str:
    """Return the id of a tree with the files of the base and other ones."""
    clone.git("read-tree", "--empty")
    for path, content in sorted((BASE | files).items()):
        if content is not None:
            blob = clone.git("hash-object", "-w", "--stdin", stdin=content.encode())
            clone.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
    return clone.git("write-tree")


def test_it_is_the_merge_wherever_it_fits(clone: Clone) -> None:
    repository = Repository.open(clone.path, clone.user.environ)
    history, signature = repository.history, Signature(PATCHYARD_IDENTITY, "@0 +0000")
    trees = [tree_of(clone, changes) for changes in CHANGES]
    start = trees[0]
    base = repository.commit(start, [], "base", signature)
    commits = [repository.commit(tree, [base], "one", signature) for tree in trees]
    every = list(product(range(len(trees)), repeat=2))
    theirs = history.changes_of_each([(start, trees[their]) for _, their in every])
    fits: list[Fit] = []
    for (our, their), changes in zip(every, theirs, strict=True):
        overlay = history.overlay(trees[our], start)
        fits.append(overlay.add(changes))
        tree, conflicts = history.merge_tree(commits[our], commits[their])
        if fits[-1] is Fit.UNKNOWN:
            assert overlay.write() == trees[our]
        else:
            assert conflicts is None
            assert overlay.write() == tree
            assert (fits[-1] is Fit.ALREADY) == (tree == trees[our])
    assert {fit: fits.count(fit) for fit in Fit} == {Fit.ADDED: 52, Fit.ALREADY: 23, Fit.UNKNOWN: 94}


def test_changes_add_up(clone: Clone) -> None:
    history = Repository.open(clone.path, clone.user.environ).history
    start = tree_of(clone, NOTHING)
    parts: Iterable[dict[str, str | None]] = ({"a": "2\n"}, {"n": "new\n"}, {"d/x": "2\n"})
    trees = [tree_of(clone, part) for part in parts]
    overlay = history.overlay(start, start)
    for changes in history.changes_of_each([(start, tree) for tree in trees]):
        assert overlay.add(changes) is Fit.ADDED
        assert overlay.add(changes) is Fit.ALREADY
    both = tree_of(clone, {"a": "2\n", "n": "new\n", "d/x": "2\n"})
    assert overlay.write() == both
    (other,) = history.changes_of_each([(start, tree_of(clone, {"n": "other\n"}))])
    assert overlay.add(other) is Fit.UNKNOWN
    assert overlay.write() == both
