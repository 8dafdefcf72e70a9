"""Decode JSON values to dataclasses by their type hints."""

import types
import typing
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from tasks.lazy.patterns import regex

LARGEST = 2**31 - 1
"""The largest number that a column of PostgreSQL's type `integer` takes."""
# os.fsdecode makes U+DC80 to U+DCFF of bytes that are not UTF-8, as in the names of files.
_UNSTORABLE = regex("[\\0\ud800-\udc7f\udd00-\udfff]")


def decode(kind: Any, value: Any, where: str = "") -> Any:  # noqa: ANN401 - any JSON value, any dataclass
    """Return `value` as a `kind`: a dataclass, a plain type, `X | None`, or a tuple of any length.

    Unknown fields are ignored, so that a later version may add some.

    Args:
        kind: The type.
        value: The value, as `json.loads` returns it.
        where: Path to the value, for messages.

    Raises:
        ValueError: A value is missing or has another type; the message begins with its path.
    """
    if is_dataclass(kind):
        return _dataclass(kind, value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in {typing.Union, types.UnionType}:
        if value is None and types.NoneType in arguments:
            return None
        return decode(next(item for item in arguments if item is not types.NoneType), value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{where}: expected a list")
        return tuple(decode(arguments[0], item, f"{where}[{number}]") for number, item in enumerate(value))
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{where}: expected {kind.__name__}")
    return _stored(kind, value, where)


def _stored(kind: type, value: Any, where: str) -> Any:  # noqa: ANN401 - see above
    """Return a plain value that every database takes.

    Raises:
        ValueError: It takes none such: a number out of range, NUL, or a surrogate that no byte becomes.
    """
    if isinstance(value, int | float) and not -LARGEST <= value <= LARGEST:  # not true for NaN either
        raise ValueError(f"{where}: out of range")
    if isinstance(value, str) and _UNSTORABLE.search(value):
        raise ValueError(f"{where}: not valid Unicode")
    return float(value) if kind is float else value


def _dataclass(kind: Any, value: Any, where: str) -> Any:  # noqa: ANN401 - see above
    if not isinstance(value, dict):
        raise ValueError(f"{where or 'it'}: expected an object")  # noqa: TRY004 - callers expect one type of error
    hints = typing.get_type_hints(kind)
    found = {}
    for item in fields(kind):
        path = f"{where}.{item.name}" if where else item.name
        if item.name in value:
            found[item.name] = decode(hints[item.name], value[item.name], path)
        elif item.default is MISSING and item.default_factory is MISSING:
            raise ValueError(f"{path}: missing")
    return kind(**found)
