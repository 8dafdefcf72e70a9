"""Read the files of a directory that is not trusted."""

from pathlib import Path
from typing import ClassVar

from containers.filesystem import open_regular
from tasks.errors import PatchyardError


class ReportError(PatchyardError):
    """A report cannot be written or read, or does not match the repository."""

    exit_code: ClassVar[int] = 2


def read_regular_file(path: Path, limit: int) -> bytes:
    """Return the content of a file, but not of a pipe, a device, or what a symbolic link leads to. Blocking.

    Args:
        path: The file.
        limit: Its largest size, in bytes.

    Raises:
        ReportError: It cannot be read, is not a plain file, or is larger.
    """
    try:
        if (file := open_regular(path)) is None:
            raise ReportError(f"{path}: not a plain file")
        with file:
            content = file.read(limit + 1)
    except OSError as error:
        raise ReportError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > limit:
        raise ReportError(f"{path}: larger than {limit / 1_000_000:.0f} MB, so it was not read")
    return content
