"""Base class of expected errors. Subclasses are defined next to the code that raises them."""

import errno
from typing import ClassVar


class PatchyardError(Exception):
    """Base class of expected errors.

    The message is one sentence: what is wrong, where, and what to do. Entry points print it without a traceback
    and exit with `exit_code`.
    """

    exit_code: ClassVar[int] = 1


def remedy(error: OSError) -> str:
    """Return what to do about a file that cannot be written, for the end of a message."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "make room on its disk"
    return "make it smaller, or raise the limit" if error.errno == errno.EFBIG else "make it writable"


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the most informative error of a group: a `PatchyardError` if there is one, else the first."""
    own, rest = group.split(PatchyardError)
    error: BaseException = own or rest or group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
