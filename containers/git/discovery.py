"""Find the repository of a path, and explain why there is none."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from containers.git.command import VERSION, Git, GitError, Output, useful_line
from containers.git.working_tree.worktree_paths import read_pointer
from tasks.lazy.dataclasses import dataclass

_CHECKOUT = "--show-toplevel"
_TREE = "HEAD^{tree}"


class NotARepositoryError(GitError):
    """The path is not in a repository, the repository has no commit, or git is missing or too old."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class DiscoveredRepository:
    """The directories of a repository, and its HEAD: the commit, its full name (`refs/heads/main`), its tree.

    The commit is `None` on a branch that has none yet. The tree is `None` then, and where it cannot be read.
    """

    root: Path
    git_dir: Path
    common: Path
    head: str | None
    head_name: str
    tree: str | None = None

    @property
    def is_bare(self) -> bool:
        """Whether it has no checkout."""
        return self.root == self.git_dir


@contextmanager
def discovering_ahead(path: Path, environ: Mapping[str, str]) -> Iterator[Git | None]:
    """Start git for what opens the repository of a path inside the context; yield the git to open it with.

    Args:
        path: A repository, or any directory in one.
        environ: The user's environment.
    """
    try:
        git = Git.locate(environ, path)
    except GitError:
        yield None  # opening it reports the error
        return
    with git.ahead(VERSION, _discovery_call(_CHECKOUT)):
        yield git


def discover(git: Git, path: Path) -> DiscoveredRepository:
    """Find the repository of a path, with one git process unless it is bare. Blocking.

    Raises:
        NotARepositoryError: The message says why, and what to do.
    """
    output = _query(git, _CHECKOUT)
    if output.text.startswith("true\n"):
        output = _query(git, "--git-dir")
    lines = output.text.split("\n")
    if output.code == 0:
        if "\n" in str(path.resolve()):
            raise NotARepositoryError(f"there is a line break in the path {str(path.resolve())!r}; move it")
        bare, git_dir, common, root, commit, *trees, name = lines
        checkout = _find_checkout(path, Path(git_dir)) if bare == "true" else None
        found = checkout or Path(root)
        return DiscoveredRepository(found, Path(git_dir), Path(common), commit, name, *trees)
    if "not a git repository" in output.stderr:
        raise NotARepositoryError(
            f"{path} is not in a git repository; run patchyard in one, or name one with --repo"
        )
    if "must be run in a work tree" in output.stderr:
        raise NotARepositoryError(f"{path} is inside a git directory; name the repository itself with --repo")
    if "HEAD" in output.stderr:
        return _unborn(git, path, lines)
    raise NotARepositoryError(f"cannot use the repository at {path}: {useful_line(output.stderr)}")


def _query(git: Git, root: str) -> Output:
    """Ask git for the directories and for HEAD; without its tree, where that is missing.

    Args:
        git: A git that runs in the repository.
        root: The option that asks for the top level.
    """
    output = git.run(*_discovery_call(root), ok=(0, 128))
    if f"'{_TREE}'" in output.stderr:
        output = git.run(*(argument for argument in _discovery_call(root) if argument != _TREE), ok=(0, 128))
    return output


def _discovery_call(root: str) -> tuple[str, ...]:
    directories = ("--path-format=absolute", "--is-bare-repository", "--git-dir", "--git-common-dir", root)
    return "rev-parse", *directories, "HEAD^{commit}", _TREE, "--symbolic-full-name", "HEAD"


def _unborn(git: Git, path: Path, lines: Sequence[str]) -> DiscoveredRepository:
    """Return a repository whose current branch has no commit, if it has other commits."""
    bare, git_dir, common, root = lines[:4]
    there = git.at(environ={"GIT_DIR": git_dir})
    if not (there.run("for-each-ref", "--count=1").text or Path(git_dir, "FETCH_HEAD").is_file()):
        raise NotARepositoryError(f"the repository {root} has no commit yet; create one first")
    name = there.run("symbolic-ref", "--quiet", "HEAD", ok=(0, 1, 128)).text
    checkout = _find_checkout(path, Path(git_dir)) if bare == "true" else None
    return DiscoveredRepository(checkout or Path(root), Path(git_dir), Path(common), None, name)


def _find_checkout(path: Path, git_dir: Path) -> Path | None:
    """Return the checkout of a repository that its configuration calls bare by accident; `None` if it is bare.

    A bare repository may be called `.git` too, but it has no index.
    """
    if not (git_dir / "index").is_file():
        return None
    here = path.resolve()
    for directory in (here, *here.parents):
        dot_git = directory / ".git"
        if dot_git == git_dir or read_pointer(dot_git) == git_dir:
            return directory
    return None
