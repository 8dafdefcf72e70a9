"""Errors of the module's functions."""

from collections.abc import Iterator
from contextlib import contextmanager

from dagger.mod._exceptions import FunctionError

from pipeline.config.sources import UnsetError
from tasks.errors import PatchyardError, first_error
from tasks.plan.parser import PlanError


class ModuleError(FunctionError):
    """Error of a function: the caller sees its message only, and the SDK logs no traceback."""

    # The SDK prints this name before the message: `patchyard: …`, as on the command line.
    __module__ = "builtins"
    __qualname__ = "patchyard"


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise the program's expected errors, and those of a task group, as `ModuleError`."""
    try:
        yield
    except PatchyardError as error:
        raise _as_module_error(error) from None
    except ExceptionGroup as errors:
        raise _as_module_error(first_error(errors)) from None


def _as_module_error(error: BaseException) -> ModuleError:
    """Return an error as `ModuleError`, with a message for the module's caller."""
    match error:
        case ModuleError():
            return error
        case PlanError():
            return ModuleError("\n".join(map(str, error.diagnostics)))
        case UnsetError():
            ways = " or ".join(f"--secret env:{name}" for name in error.names)
            return ModuleError(f"{' or '.join(error.names)} {error.why}; give it with {ways}")
        case PatchyardError():
            return ModuleError(str(error))
    name = type(error).__name__
    return ModuleError(f"internal error, please report it: {name}: {error}")
