"""Types of columns, which convert their values: the same for every database.

The database has texts, numbers and bytes only: times are ISO 8601 in UTC, lists and mappings are JSON.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pipeline.store.records import format_time, parse_time
from pipeline.store.run_options import PublishOptions, StoredCall, texts_of
from tasks.lazy.patterns import regex
from tasks.outcome import Refusal
from tasks.text import without_surrogates

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
V = TypeVar("V", PublishOptions, StoredCall)
OBJECT_ID = regex("[0-9A-Za-z]+")
"""Excludes options, paths and revisions of git; git itself checks whether it is an id."""
LARGEST = 1e10
"""Largest number with a fraction: 300 years in seconds. More would overflow when it is added to a time."""
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""The errors of `ColumnType.read`; all mean that patchyard did not store the value."""


class ColumnType(Generic[T]):
    """Type of a column. `write` and `read` are not called for NULL, which is read as `of_null`.

    Attributes:
        sql: The name of the type in SQL; `Connection.type_names` has those that databases call differently.
        of_null: What NULL is read as.
    """

    sql: ClassVar[str] = "TEXT"
    of_null: T | None = None

    def write(self, value: T) -> object:
        """Return what the database stores for a value."""
        return value

    def read(self, stored: Any) -> T | None:  # noqa: ANN401 - SQLite may have anything in any column
        """Return the value of what is stored; `None` is the same as NULL.

        Raises:
            ValueError: It is none that was stored. The other errors of `UNREADABLE` mean the same.
        """
        raise NotImplementedError


class Text(ColumnType[str]):
    r"""Any text; a byte that is not UTF-8, and NUL, which PostgreSQL refuses, are stored as `\xNN`."""

    def write(self, value: str) -> str:
        """Return the stored text."""
        return _escape(value)

    def read(self, stored: object) -> str:
        """Return the text."""
        if isinstance(stored, str):
            return stored
        raise TypeError("not a text")


class Whole(ColumnType[int]):
    """A whole number of 32 bits."""

    sql = "INTEGER"

    def read(self, stored: object) -> int:
        """Return the number."""
        if isinstance(stored, int):
            return stored
        raise TypeError("not a whole number")


class Large(Whole):
    """A whole number of 64 bits."""

    sql = "BIGINT"


class Counter(Whole):
    """A whole number that the database gives a new row."""

    sql = "COUNTER"


class Real(ColumnType[float]):
    """A number with a fraction."""

    sql = "FLOAT"

    def read(self, stored: object) -> float:
        """Return the number."""
        if isinstance(stored, int | float) and abs(stored) <= LARGEST:  # false for NaN and infinities
            return stored
        raise ValueError("not a number that was stored")


class Truth(ColumnType[bool]):
    """True or false, which SQLite has as 1 and 0."""

    sql = "BOOLEAN"

    def read(self, stored: object) -> bool:
        """Return the truth."""
        if stored in (0, 1):
            return bool(stored)
        raise ValueError("neither true nor false")


class Bytes(ColumnType[bytes]):
    """Bytes."""

    sql = "BYTES"

    def read(self, stored: Any) -> bytes:  # noqa: ANN401 - see above
        """Return the bytes."""
        return bytes(memoryview(stored))


class Time(ColumnType[datetime]):
    """A time with its zone."""

    def write(self, value: datetime) -> str:
        """Return the stored text."""
        return format_time(value)

    def read(self, stored: Any) -> datetime:  # noqa: ANN401 - see above
        """Return the time."""
        return parse_time(stored)


class Json(ColumnType[Mapping[str, Any]]):
    """A mapping as JSON."""

    def write(self, value: Mapping[str, Any]) -> str:
        """Return the stored text."""
        return json.dumps(dict(value))

    def read(self, stored: Any) -> Mapping[str, Any]:  # noqa: ANN401 - see above
        """Return the mapping."""
        found = json.loads(stored or "{}")
        if isinstance(found, dict):
            return found
        raise TypeError("not a mapping")


class Options(ColumnType[V], Generic[V]):
    """Options of a run as JSON; the defaults where a row of an older release has none."""

    def __init__(self, kind: type[V]) -> None:
        self.of_null = kind()
        self._kind: type[V] = kind

    def write(self, value: V) -> str:
        """Return the stored text."""
        return value.as_json

    def read(self, stored: Any) -> V:  # noqa: ANN401 - see above
        """Return the options."""
        options: V = self._kind.from_json(stored)
        return options


class Names(ColumnType[Sequence[str]]):
    """A list of texts as JSON, read as a tuple; empty where a row has none."""

    of_null = ()

    def write(self, value: Sequence[str]) -> str:
        """Return the stored text."""
        return json.dumps(list(value))

    def read(self, stored: Any) -> tuple[str, ...]:  # noqa: ANN401 - see above
        """Return the tuple."""
        return texts_of(json.loads(stored or "[]")) if stored != "[]" else ()


class Refused(ColumnType[Sequence[Refusal]]):
    """Hosts that the sandbox refused, with the number of requests, as JSON; empty where a row has none."""

    of_null = ()

    def write(self, value: Sequence[Refusal]) -> str | None:
        """Return the stored text."""
        return json.dumps({_escape(one.host): one.requests for one in value}) if value else None

    def read(self, stored: Any) -> tuple[Refusal, ...]:  # noqa: ANN401 - see above
        """Return the refusals."""
        return tuple(Refusal(host, int(requests)) for host, requests in json.loads(stored).items())


class ObjectId(Text):
    """The id of an object of git, which becomes an argument of git."""

    def read(self, stored: Any) -> str:  # noqa: ANN401 - see above
        """Return the id."""
        if OBJECT_ID.fullmatch(stored):
            return super().read(stored)
        raise ValueError("not the id of an object")


class FilePath(ColumnType[Path]):
    """A path of a file or directory; bytes that are not UTF-8 are escaped as in `Text`."""

    def write(self, value: Path) -> str:
        """Return the stored text."""
        return _escape(str(value))

    def read(self, stored: Any) -> Path:  # noqa: ANN401 - see above
        """Return the path."""
        return Path(stored)


class Enum(ColumnType[E], Generic[E]):
    """A member of an enumeration as its value."""

    def __init__(self, kind: type[E]) -> None:
        self._members = {str(member): member for member in kind}

    def write(self, value: E) -> str:
        """Return the stored text."""
        return str(value)

    def read(self, stored: Any) -> E | None:  # noqa: ANN401 - see above
        """Return the member."""
        return self._members[stored] if stored else None


def _escape(text: str) -> str:
    return without_surrogates(text).replace("\0", "\\x00")
