"""Dataclasses whose methods are made at their first use.

The standard decorator writes and compiles up to seven methods for each class, which takes half a millisecond. A
command imports some two hundred such classes, creates a few objects of half of them, and compares few. This
decorator takes the same arguments. A class gets slots at once, and placeholders, each of which has
`dataclasses` make what belongs in its place. The first objects of a class are created from the list of its
fields, since to compile `__init__` takes as long as hundreds of them; so are objects compared. Type checkers
see the standard decorator.

What differs: a mistake in the declaration, such as a field without a default after one with a default, is an
error at the first use; the signature of a class of which few objects exist is `(*arguments, **named)`; and a
class without `slots` has them too, and a dictionary besides, such as for cached properties. As any with slots,
it is created a second time, so that `super()` needs its arguments, and defaults are not in the class.
"""

# ruff: noqa: ANN401 - any class, and any of its methods

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from tasks.lazy.fields import Declared, comparison, fields_of, initializer, own_fields

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls: type | None = None, /, *, slots: bool = False, **options: bool) -> Any:
        """Make a dataclass. The arguments are those of `dataclasses.dataclass`."""
        if wrong := options.keys() - _OPTIONS:
            raise TypeError(
                f"{', '.join(sorted(wrong))}: not for a dataclass whose methods are made at first use"
            )
        if cls is None:
            return lambda decorated: dataclass(decorated, slots=slots, **options)
        return _with_placeholders(cls, options, () if slots or _has_dictionary(cls) else _FOR_ANY_ATTRIBUTE)


__all__ = ["dataclass"]
_CLASS_VARIABLE: object = ClassVar
_OPTIONS = frozenset({"frozen", "eq", "kw_only"})
_FOR_ANY_ATTRIBUTE = ("__dict__", "__weakref__")
"""The slots of a class without slots."""


def _has_dictionary(written: type) -> bool:
    """Whether a base class gives its objects a dictionary; only one may."""
    return any(base.__dictoffset__ for base in written.__bases__)


def _with_placeholders(written: type, options: dict[str, bool], more_slots: tuple[str, ...]) -> type:
    """Return the class with slots, and with placeholders for what it does not define itself."""
    content = {name: value for name, value in written.__dict__.items() if name not in _FOR_ANY_ATTRIBUTE}
    kinds = written.__annotations__.items()
    own = [name for name, kind in kinds if _CLASS_VARIABLE not in (kind, getattr(kind, "__origin__", None))]
    inherited = {name for base in written.__mro__[1:-1] for name in base.__dict__.get("__slots__", ())}
    slots = tuple(name for name in own if name not in inherited)
    without_defaults = {name: value for name, value in content.items() if name not in own}
    methods = _Methods(written, content, options)
    placed = {**methods.placeholders(), "__slots__": (*slots, *more_slots)}
    methods.cls = _create(written, {**without_defaults, **placed})
    _METHODS[methods.cls] = methods
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
        self._names = tuple(self._names_made())

    def placeholders(self) -> dict[str, Any]:
        """Return what is in the class until its methods are made."""
        found: dict[str, Any] = {name: _Placeholder(self, name) for name in self._names}
        found |= {name: _Attribute(self, name) for name in _ATTRIBUTES}
        if self._is_compared and not self._is_frozen:
            found["__hash__"] = self._content.get("__hash__")
        return found

    def make(self, name: str) -> Any:
        """Have a method or an attribute made, put it into the class, and return it."""
        made: Mapping[str, Any]
        if name == "__init__":
            given = initializer(self.cls, self._declared(), self._compile_initializer)
            made = {name: given or self._compile_initializer()}
        elif name == "__eq__" and (declared := self._declared()) is not None:
            made = {name: comparison(declared)}
        elif name in _OF_FIELDS:
            made = fields_of(self._written, self._content, kw_only=self._options.get("kw_only", False))
        else:
            every = self._made()
            made = {each: every[each] for each in self._names}
        for each, value in made.items():
            setattr(self.cls, each, value)
        return made[name]

    def _declared(self) -> Mapping[str, Declared] | None:
        """Return the fields, own and inherited, as far as that is possible without `dataclasses`."""
        found: dict[str, Declared] = {}
        for base in self.cls.__mro__[::-1]:
            if methods := _METHODS.get(base):
                kw_only = methods._options.get("kw_only", False)  # noqa: SLF001 - of another class
                own = own_fields(base.__annotations__, methods._content, kw_only=kw_only)  # noqa: SLF001 - as above
                if own is None:
                    return None
                found |= own
            elif "__dataclass_fields__" in base.__dict__:
                return None
        return found

    def _compile_initializer(self) -> Callable[..., None]:
        made: Callable[..., None] = self._made(repr=False, eq=False, match_args=False)["__init__"]
        type.__setattr__(self.cls, "__init__", made)
        return made

    def _made(self, **options: bool) -> Mapping[str, Any]:
        cls = _create(self._written, self._content)
        return dataclasses.dataclass(**{**self._options, **options}, slots=True)(cls).__dict__

    def _names_made(self) -> Iterator[str]:
        content = self._content
        yield from (name for name in _OF_EVERY if name not in content)
        if self._is_compared and "__eq__" not in content:
            yield "__eq__"
        if self._is_frozen:
            yield from (name for name in _OF_FROZEN if name not in content)
            if self._is_compared and content.get("__hash__") is None:
                yield "__hash__"  # it is there and `None` in a class that defines `__eq__` only
        yield from _ATTRIBUTES

    @property
    def _is_frozen(self) -> bool:
        return self._options.get("frozen", False)

    @property
    def _is_compared(self) -> bool:
        return self._options.get("eq", True)


class _Placeholder:
    """What is in a class in place of a method until it is made."""

    __slots__ = ("_methods", "_name")

    def __init__(self, methods: _Methods, name: str) -> None:
        self._methods = methods
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        return self if instance is None else self._methods.make(self._name).__get__(instance, owner)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._methods.make(self._name)(*arguments, **named)


class _Attribute(_Placeholder):
    """What is in a class in place of an attribute until it is made."""

    __slots__ = ()

    def __get__(self, instance: object, owner: type) -> Any:
        return self._methods.make(self._name)


_OF_EVERY = ("__init__", "__repr__")
_OF_FROZEN = ("__setattr__", "__delattr__", "__getstate__", "__setstate__")
_OF_FIELDS = frozenset({"__dataclass_fields__", "__match_args__"})
_METHODS: dict[type, _Methods] = {}
"""By the classes that were made."""
_ATTRIBUTES = (*_OF_FIELDS, "__dataclass_params__")
