"""Find the checkout, of any repository, that a path is in."""

from pathlib import Path

from containers.git.command import Git
from containers.git.working_tree.worktree_paths import read_pointer


def find_showing_checkout(git: Git, path: Path, own: Path | None, own_git: Git) -> Path | None:
    """Return the checkout whose `git status` would show something at `path`; `None` if there is none. Blocking.

    Only the innermost repository counts: for those around it, it is one nested repository.

    Args:
        git: A git that is bound to no repository, so that git's own checks of owners apply.
        path: The path; it need not exist.
        own: The checkout of the repository that `own_git` is bound to; `None` if it is bare.
        own_git: A git of a repository, for one whose checkout has no `.git` or is called bare by accident.
    """
    path = path.resolve()
    for directory in path.parents:
        dot_git = directory / ".git"
        if path.is_relative_to(dot_git):
            return None
        if directory == own:
            code = own_git.run("check-ignore", "--quiet", f"{path}/", ok=(0, 1, 128)).code
            return directory if code else None
        git_dir = read_pointer(dot_git) or dot_git
        if not (git_dir / "HEAD").exists():
            continue
        code = git.at(directory).run("check-ignore", "--quiet", f"{path}/", ok=(0, 1, 128)).code
        if code == 0:
            return None
        # Git answers with 128 for a bare repository (which has no index) and for one of another user.
        if code == 1 or (git_dir / "index").exists():
            return directory
    return None
