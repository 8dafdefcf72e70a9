"""Types of columns, which convert their values.

The database has texts only: times are ISO 8601 in UTC, lists and mappings are JSON.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, TypeVar

from sqlalchemy import Dialect, TypeDecorator
from sqlalchemy import Text as PlainText

from pipeline.store.records import format_time, parse_time
from pipeline.store.run_options import PublishOptions, StoredCall, texts_of
from tasks.lazy.patterns import regex
from tasks.text import without_surrogates

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
OBJECT_ID = regex("[0-9A-Za-z]+")
"""Excludes options, paths and revisions of git; git itself checks whether it is an id."""
V = TypeVar("V", PublishOptions, StoredCall)


class Text(TypeDecorator[str]):
    r"""Any text; a byte that is not UTF-8, and NUL, which PostgreSQL refuses, are stored as `\xNN`."""

    impl = PlainText
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Return the stored text."""
        return None if value is None else _escape(value)


class Damaged:
    """Replaces a value that cannot be decoded; `pipeline.store.damage` reports it with the id of its run."""


class Decoded(TypeDecorator[T], Generic[T]):
    """Base of the types whose values are decoded: what cannot be becomes `Damaged`."""

    impl = PlainText
    kind: type[Any]

    @property
    def python_type(self) -> type[Any]:
        """The type of the decoded values."""
        return self.kind

    def read(self, text: str | None) -> T | None:
        """Decode a stored text.

        Raises:
            ValueError: It is none that was stored. Other errors of decoding mean the same.
        """
        raise NotImplementedError

    def process_result_value(self, value: str | None, dialect: Dialect) -> T | None:  # noqa: ARG002 - as above
        """Return the decoded value."""
        try:
            return self.read(value)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
            return Damaged()  # type: ignore[return-value]  # the caller checks the row


class Time(Decoded[datetime]):
    """A time with its zone."""

    cache_ok = True
    kind = datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - as above
        """Return the stored text."""
        return None if value is None else format_time(value)

    def read(self, text: str | None) -> datetime | None:
        """Return the time."""
        return None if text is None else parse_time(text)


class Json(Decoded[Mapping[str, Any]]):
    """A mapping as JSON."""

    cache_ok = True
    kind = dict

    def process_bind_param(self, value: Mapping[str, Any] | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - as above
        """Return the stored text."""
        return None if value is None else json.dumps(dict(value))

    def read(self, text: str | None) -> Mapping[str, Any]:
        """Return the mapping."""
        found: Mapping[str, Any] = json.loads(text or "{}")
        return found


class Options(Decoded[V], Generic[V]):
    """Options of a run as JSON; the defaults where a row of an older release has none."""

    cache_ok = True

    def __init__(self, kind: type[V]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: V | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - as above
        """Return the stored text."""
        return None if value is None else value.as_json

    def read(self, text: str | None) -> V:
        """Return the options."""
        options: V = self.kind.from_json(text)
        return options


class Names(Decoded[Sequence[str]]):
    """A list of texts as JSON, read as a tuple; empty where a row has none."""

    cache_ok = True
    kind = tuple

    def process_bind_param(self, value: Sequence[str] | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - as above
        """Return the stored text."""
        return None if value is None else json.dumps(list(value))

    def read(self, text: str | None) -> tuple[str, ...]:
        """Return the tuple."""
        return texts_of(json.loads(text or "[]"))


class ObjectId(Decoded[str]):
    """The id of an object of git, which becomes an argument of git."""

    cache_ok = True
    kind = str

    def read(self, text: str | None) -> str | None:
        """Return the id."""
        if text is None or OBJECT_ID.fullmatch(text):
            return text
        raise ValueError("not the id of an object")


class FilePath(Decoded[Path]):
    """A path of a file or directory; bytes that are not UTF-8 are escaped as in `Text`."""

    cache_ok = True
    kind = Path

    def process_bind_param(self, value: Path | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - as above
        """Return the stored text."""
        return None if value is None else _escape(str(value))

    def read(self, text: str | None) -> Path | None:
        """Return the path."""
        return None if text is None else Path(text)


class Enum(Decoded[E], Generic[E]):
    """A member of an enumeration as its value."""

    cache_ok = True

    def __init__(self, kind: type[E]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: E | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - as above
        """Return the stored text."""
        return None if value is None else str(value)

    def read(self, text: str | None) -> E | None:
        """Return the member."""
        return self.kind(text) if text else None


def _escape(text: str) -> str:
    return without_surrogates(text).replace("\0", "\\x00")
