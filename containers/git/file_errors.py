"""Errors of the program's own files beside those of git."""

from collections.abc import Iterator
from contextlib import contextmanager

from containers.git.command import GitError
from tasks.errors import remedy


@contextmanager
def file_errors() -> Iterator[None]:
    """Raise errors of the program's own files beside git as `GitError`, also as a decorator.

    Raises:
        GitError: A file cannot be read or written. The message names it.
    """
    try:
        yield
    except OSError as error:
        raise GitError(f"cannot use {error.filename}: {error.strerror}; {remedy(error)}") from None
