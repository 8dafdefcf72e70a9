"""Values and objects of an engine, queried when they are awaited."""

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from typing import Any, Generic, Self, TypeVar, overload

from containers.concurrency import plain_task_group
from containers.dagger_engine.client.connection import Connection
from containers.dagger_engine.client.document import Argument, Field, Reference, references
from containers.dagger_engine.client.errors import TransportError

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
T = TypeVar("T")
Object = TypeVar("Object", bound="EngineObject")


class Value(Awaitable[T], Generic[T]):
    """A value of an engine. To await it queries it; `together` queries several in one request.

    Raises, when it is awaited:
        QueryError: The engine rejects the query.
        TransportError: There is no answer, or it is not valid.
        UnicodeEncodeError: The query has text that is not UTF-8.
    """

    __slots__ = ("connection", "leaf", "read")

    def __init__(self, connection: Connection, leaf: Field, read: Callable[[object], T]) -> None:
        self.connection = connection
        self.leaf = leaf
        self.read = read

    def __await__(self) -> Generator[Any, None, T]:
        """Query the value."""
        return self._query().__await__()

    async def _query(self) -> T:
        (value,) = await _query([self])
        result: T = value
        return result


@overload
async def together(first: Value[A], second: Value[B], /) -> tuple[A, B]: ...
@overload
async def together(first: Value[A], second: Value[B], third: Value[C], /) -> tuple[A, B, C]: ...
async def together(*values: Value[Any]) -> tuple[Any, ...]:
    """Query several values of one engine in one request; see `Value` for the errors."""
    return tuple(await _query(values))


async def _query(values: Sequence[Value[Any]]) -> list[Any]:
    leaves = [value.leaf for value in values]
    await _identify(references(leaves))
    found = await values[0].connection.fetch(leaves)
    return [value.read(one) for value, one in zip(values, found, strict=True)]


async def _identify(objects: Sequence[Reference]) -> None:
    """Query the ids of objects, concurrently."""
    unknown = [one for one in objects if isinstance(one, EngineObject)]
    if len(unknown) <= 1:
        for one in unknown:
            await one.id()
        return
    async with plain_task_group() as group:
        for one in unknown:
            group.start_soon(_await, one.id())


async def _await(value: Awaitable[object]) -> None:
    await value


class EngineObject(Reference):
    """An object of an engine: the chain of fields that returns it, of which nothing is queried yet."""

    __slots__ = ("_connection", "_field")

    def __init__(self, connection: Connection, last: Field | None, known_id: str | None = None) -> None:
        """Take the last field of the chain; the root of the schema has none."""
        super().__init__(known_id)
        self._connection = connection
        self._field = last

    @classmethod
    def by_id(cls, connection: Connection, known_id: str) -> Self:
        """Return the object that has an id; its class has the name of its type in the schema."""
        return cls(connection, Field("node", {"id": known_id}, on=cls.__name__), known_id)

    def id(self) -> Value[str]:
        """Return the object's id, which is remembered: as an argument it is written for the object."""
        return self.value(self._remember, "id")

    def loaded(self) -> Value[Self]:
        """Return the object by its id, without the fields that lead to it."""
        return self.value(self._by_id, "id")

    def select(self, kind: type[Object], name: str, /, **arguments: Argument | None) -> Object:
        """Return the object of a field; an argument that is `None` is left out."""
        return kind(self._connection, self._selected(name, arguments))

    def value(self, read: Callable[[object], T], name: str, /, **arguments: Argument | None) -> Value[T]:
        """Return the value of a field, as `read` takes it; an argument that is `None` is left out."""
        return Value(self._connection, self._selected(name, arguments), read)

    def _selected(self, name: str, arguments: Mapping[str, Argument | None]) -> Field:
        given = {key: value for key, value in arguments.items() if value is not None}
        return Field(name, given, self._field)

    def _remember(self, found: object) -> str:
        self.known_id = as_text(found)
        return self.known_id

    def _by_id(self, found: object) -> Self:
        return self.by_id(self._connection, as_text(found))


def as_text(value: object) -> str:
    """Return a string of an answer.

    Raises:
        TransportError: It is something else.
    """
    if not isinstance(value, str):
        raise _unexpected("a string", value)
    return value


def as_number(value: object) -> int:
    """Return a whole number of an answer.

    Raises:
        TransportError: It is something else.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise _unexpected("a number", value)
    return value


def as_texts(value: object) -> list[str]:
    """Return a list of strings of an answer.

    Raises:
        TransportError: It is something else.
    """
    if not isinstance(value, list):
        raise _unexpected("a list", value)
    return [as_text(item) for item in value]


def _unexpected(expected: str, value: object) -> TransportError:
    return TransportError(f"its answer has {type(value).__name__} where {expected} belongs")
