"""The one base error. Subclasses stand beside the code that raises them."""

from typing import ClassVar


class PatchyardError(Exception):
    """Something that ends the call, said in one clear sentence.

    The message says what is wrong, where, and what to do. The doors print it without a traceback
    and end with `exit_code`.
    """

    exit_code: ClassVar[int] = 1


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one error of a group that says most: the program's own before any other."""
    own, rest = group.split(PatchyardError)
    error: BaseException = own or rest or group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
