"""Dataclasses whose methods are made at their first use.

The standard decorator writes and compiles up to seven methods for each class, which takes half a millisecond. A
command imports some two hundred such classes, creates objects of half of them, and compares few. This decorator
takes the same arguments. A class with slots gets them at once, and placeholders, each of which has
`dataclasses` make what belongs in its place. Type checkers see the standard decorator.

What differs: a mistake in the declaration, such as a field without a default after one with a default, is an
error at the first use; and the signature of a class that was not used yet is `(*args, **kwargs)`.
"""

# ruff: noqa: ANN401 - any class, and any of its methods

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, get_origin

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls: type | None = None, /, *, slots: bool = False, **options: bool) -> Any:
        """Make a dataclass. The arguments are those of `dataclasses.dataclass`."""
        if cls is None:
            return lambda decorated: dataclass(decorated, slots=slots, **options)
        return _with_slots(cls, options) if slots else dataclasses.dataclass(cls, **options)


__all__ = ["dataclass"]
_CLASS_VARIABLE: object = ClassVar
_OF_FROZEN = ("__setattr__", "__delattr__", "__getstate__", "__setstate__")
_OF_ONE_CLASS = frozenset({"__dict__", "__weakref__"})


def _with_slots(written: type, options: dict[str, bool]) -> type:
    """Return the class with slots, and with placeholders for what it does not define itself."""
    content = {name: value for name, value in written.__dict__.items() if name not in _OF_ONE_CLASS}
    annotations = inspect.get_annotations(written)
    own = [name for name, kind in annotations.items() if get_origin(kind) is not _CLASS_VARIABLE]
    inherited = {name for base in written.__mro__[1:-1] for name in base.__dict__.get("__slots__", ())}
    slots = tuple(name for name in own if name not in inherited)
    without_defaults = {name: value for name, value in content.items() if name not in own}
    methods = _Methods(written, content, options)
    methods.cls = _create(written, {**without_defaults, **methods.placeholders(), "__slots__": slots})
    return methods.cls


def _create(written: type, content: Mapping[str, Any]) -> type:
    return type(written)(written.__name__, written.__bases__, dict(content))


class _Methods:
    """What `dataclasses` makes for a class."""

    def __init__(self, written: type, content: dict[str, Any], options: dict[str, bool]) -> None:
        self.cls = written
        self._written = written
        self._content = content
        self._options = options
        self._names = frozenset(self._names_made())

    def placeholders(self) -> dict[str, Any]:
        """Return what is in the class until its methods are made."""
        found: dict[str, Any] = {name: self._method(name) for name in self._names - _ATTRIBUTES}
        found |= {name: _Attribute(self, name) for name in _ATTRIBUTES}
        if self._is_compared and not self._is_frozen:
            found["__hash__"] = self._content.get("__hash__")
        return found

    def make(self, name: str) -> Any:
        """Have a method or an attribute made, put it into the class, and return it."""
        if name == "__init__":
            made, names = self._made(repr=False, eq=False, match_args=False), frozenset({name})
        elif name in _OF_FIELDS:  # `frozen` makes methods, and has to be that of the bases
            is_frozen = self._is_frozen and any(map(dataclasses.is_dataclass, self._written.__bases__))
            made = self._made(init=False, repr=False, eq=False, frozen=is_frozen)
            names = _OF_FIELDS
        else:
            made, names = self._made(), self._names
        for each in names:
            setattr(self.cls, each, made[each])
        return made[name]

    def _made(self, **options: bool) -> Mapping[str, Any]:
        cls = _create(self._written, self._content)
        return dataclasses.dataclass(**{**self._options, **options}, slots=True)(cls).__dict__

    def _names_made(self) -> Iterator[str]:
        wanted = {"__init__": True, "__repr__": True, "__eq__": self._is_compared}
        wanted |= dict.fromkeys(_OF_FROZEN, self._is_frozen)
        yield from (name for name, is_made in wanted.items() if is_made and name not in self._content)
        if self._is_compared and self._is_frozen and self._content.get("__hash__") is None:
            yield "__hash__"  # it is there and `None` in a class that defines `__eq__` only
        yield from _ATTRIBUTES

    @property
    def _is_frozen(self) -> bool:
        return self._options.get("frozen", False)

    @property
    def _is_compared(self) -> bool:
        return self._options.get("eq", True)

    def _method(self, name: str) -> Callable[..., Any]:
        def method(this: Any, *arguments: Any, **named: Any) -> Any:
            return self.make(name)(this, *arguments, **named)

        return method


class _Attribute:
    """A placeholder for an attribute of the class."""

    def __init__(self, methods: _Methods, name: str) -> None:
        self._methods = methods
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        return self._methods.make(self._name)


_OF_FIELDS = frozenset({"__dataclass_fields__", "__match_args__"})
_ATTRIBUTES = _OF_FIELDS | {"__dataclass_params__"}
