"""GraphQL documents of chains of fields: https://spec.graphql.org/October2021/#sec-Language."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import TypeAlias

from tasks.lazy.dataclasses import dataclass


class Reference:
    """An object of the engine. As an argument it is written as its id, which is `None` until it is known."""

    __slots__ = ("known_id",)

    def __init__(self, known_id: str | None = None) -> None:
        self.known_id = known_id


class EnumValue(str):
    """The name of a value of an enumeration."""

    __slots__ = ()


Argument: TypeAlias = str | int | Reference | Sequence["Argument"] | Mapping[str, "Argument"]
"""A value in a document; a mapping is an input object."""


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A field with its arguments, selected on the object that the field before it returns.

    `on` is the type of the object if the schema has only an interface for it.
    """

    name: str
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    before: "Field | None" = None
    on: str | None = None

    def chain(self) -> "list[Field]":
        """Return the fields from the root of the schema to this one."""
        fields: list[Field] = []
        one: Field | None = self
        while one is not None:
            fields.append(one)
            one = one.before
        return fields[::-1]


def references(leaves: Iterable[Field]) -> list[Reference]:
    """Return the objects among the arguments of chains whose ids are not known, each one once."""
    found: dict[int, Reference] = {}
    for one in (one for leaf in leaves for one in leaf.chain()):
        for value in one.arguments.values():
            found |= {id(item): item for item in _objects(value) if item.known_id is None}
    return list(found.values())


def _objects(value: Argument) -> Iterator[Reference]:
    if isinstance(value, Reference):
        yield value
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from _objects(item)


def literal(value: Argument) -> str:
    """Return a value as it is written in a document.

    A string of JSON is one of GraphQL: https://spec.graphql.org/October2021/#sec-String-Value.
    """
    match value:
        case EnumValue():
            return str(value)
        case str() | int():  # also a truth value
            return json.dumps(value, ensure_ascii=False)
        case Reference():
            return json.dumps(value.known_id)
        case Mapping():
            return "{" + ", ".join(f"{name}: {literal(item)}" for name, item in value.items()) + "}"
    return "[" + ", ".join(map(literal, value)) + "]"


class _SelectionSet:
    """Fields of one object, by their keys in the answer, each with the set below it."""

    def __init__(self) -> None:
        self._fields: dict[str, tuple[Field, _SelectionSet]] = {}

    def add(self, added: Field) -> "tuple[str, _SelectionSet]":
        """Add a field unless it is there; return its key and the set below it."""
        key, number = added.name, 1
        while key in self._fields and self._fields[key][0] is not added:
            number += 1
            key = f"{added.name}_{number}"
        return key, self._fields.setdefault(key, (added, _SelectionSet()))[1]

    def __str__(self) -> str:
        """The set as it is written; "" if it is empty."""
        texts = [
            f"{'' if key == one.name else f'{key}: '}{one.name}{_arguments(one)}{_below(one, below)}"
            for key, (one, below) in self._fields.items()
        ]
        return " ".join(texts)


def _arguments(one: Field) -> str:
    texts = [f"{name}: {literal(value)}" for name, value in one.arguments.items()]
    return f"({', '.join(texts)})" if texts else ""


def _below(one: Field, below: _SelectionSet) -> str:
    text = str(below)
    if not text:
        return ""
    return f" {{ ... on {one.on} {{ {text} }} }}" if one.on else f" {{ {text} }}"


def write(leaves: Sequence[Field]) -> tuple[str, list[tuple[str, ...]]]:
    """Return the document that selects the ends of chains, and the keys to each one in the answer.

    Chains that share a beginning, the same `Field`, share it in the document. The ids of all objects among the
    arguments have to be known.
    """
    root = _SelectionSet()
    paths: list[tuple[str, ...]] = []
    for leaf in leaves:
        keys, selected = [], root
        for one in leaf.chain():
            key, selected = selected.add(one)
            keys.append(key)
        paths.append(tuple(keys))
    return f"{{ {root} }}", paths
