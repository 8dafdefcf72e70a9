"""Whose a commit is, and create one."""

from collections.abc import Sequence

from containers.git.command import Git
from tasks.lazy.dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """A name and an e-mail address, as git writes them into a commit."""

    name: str
    email: str


PATCHYARD_IDENTITY = Identity("patchyard", "patchyard@localhost")
"""The identity for users without one, and for commits that must be the same in every run."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Author and committer of a commit, with a date in git's format (`@1700000000 +0100`); `None` is now."""

    identity: Identity
    date: str | None = None

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that set them (https://git-scm.com/docs/git-commit-tree#_commit_information)."""
        parts = {"NAME": self.identity.name, "EMAIL": self.identity.email}
        if self.date is not None:
            parts["DATE"] = self.date
        return {
            f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in parts.items()
        }


def create_commit(git: Git, tree: str, parents: Sequence[str], message: bytes, signature: Signature) -> str:
    """Create a commit object, and return its id; no ref moves. Blocking.

    Raises:
        GitError: The tree or a parent is not in the repository.
    """
    arguments = [argument for parent in parents for argument in ("-p", parent)]
    return git.at(environ=signature.variables).run("commit-tree", tree, *arguments, stdin=message).text
