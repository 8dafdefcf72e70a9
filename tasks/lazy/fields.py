"""The fields of a dataclass, and objects that are created from them, without compiling any method."""

# ruff: noqa: ANN401 - values of any type

import dataclasses
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from operator import attrgetter, eq
from typing import Any, ClassVar, NamedTuple, get_origin

COMPILED_AFTER = 200
"""Objects that are created from the fields of a class before its `__init__` is compiled: that takes as long."""

_MARKS = (ClassVar, dataclasses.InitVar, dataclasses.KW_ONLY)
_NAMES_OF_MARKS = ("ClassVar", "InitVar", "KW_ONLY")


class Declared(NamedTuple):
    """A field: its default, its factory, whether it is given to `__init__`, by name only, and compared."""

    default: Any = MISSING
    factory: Any = MISSING
    is_given: bool = True
    is_by_name: bool = False
    is_compared: bool = True

    @property
    def has_default(self) -> bool:
        """Whether it need not be given."""
        return not (self.default is MISSING and self.factory is MISSING)

    @classmethod
    def of(cls, field: "dataclasses.Field[Any]", *, kw_only: bool) -> "Declared":
        """Return what `field` declares in a class with or without `kw_only`."""
        is_by_name = kw_only if field.kw_only is MISSING else bool(field.kw_only)
        return cls(field.default, field.default_factory, field.init, is_by_name, field.compare)


def fields_of(written: type, content: Mapping[str, Any], *, kw_only: bool) -> Mapping[str, Any]:
    """Return the attributes that list the fields of a dataclass, own and inherited.

    Args:
        written: The class, as it is written.
        content: What is in it.
        kw_only: Whether its own fields are given by name only.

    Raises:
        TypeError: A mistake in the declaration; also `ValueError`.
    """
    annotations = written.__annotations__
    bare = {name: content[name] for name in annotations if name in content}
    bare |= {"__annotations__": annotations, "__doc__": "-", "__module__": written.__module__}
    own = type(written.__name__, (), bare)
    dataclasses.dataclass(init=False, repr=False, eq=False, match_args=False, kw_only=kw_only)(own)
    every: dict[str, dataclasses.Field[Any]] = {}
    for base in written.__mro__[:0:-1]:
        every |= getattr(base, "__dataclass_fields__", {})
    every |= own.__dataclass_fields__  # type: ignore[attr-defined]
    found: dict[str, Any] = {"__dataclass_fields__": every}
    if "__match_args__" not in content:
        own.__dataclass_fields__ = every  # type: ignore[attr-defined]
        given = dataclasses.fields(own)
        found["__match_args__"] = tuple(one.name for one in given if one.init and not one.kw_only)
    return found


def own_fields(
    annotations: Mapping[str, Any], content: Mapping[str, Any], *, kw_only: bool
) -> Mapping[str, Declared] | None:
    """Return the fields that a class declares itself, by name, as far as `__init__` needs to know them.

    It is a tenth of the work of `fields_of`.

    Args:
        annotations: Its annotations.
        content: What is in the class.
        kw_only: Whether its fields are given by name only.

    Returns:
        `None` where `dataclasses` has to look: at what is for `__init__` only, at marks between fields, and at
        mistakes.
    """
    found = {}
    for name, kind in annotations.items():
        if get_origin(kind) is ClassVar:
            continue
        default = content.get(name, MISSING)
        if isinstance(kind, str):
            is_mark = any(mark in kind for mark in _NAMES_OF_MARKS)
        else:
            is_mark = isinstance(kind, dataclasses.InitVar) or any(kind is mark for mark in _MARKS)
        is_field = isinstance(default, dataclasses.Field)
        field = Declared.of(default, kw_only=kw_only) if is_field else Declared(default, is_by_name=kw_only)
        is_shared = field.default.__class__.__hash__ is None  # one object for all, as for `[]`
        if is_mark or is_shared or hasattr(field.default, "__get__"):  # such as a `staticmethod`
            return None
        found[name] = field
    return found


def initializer(
    cls: type, declared: Mapping[str, Declared] | None, compile_method: Callable[[], Callable[..., None]]
) -> Callable[..., None] | None:
    """Return an `__init__` that creates objects from the list of fields.

    Args:
        cls: A dataclass with slots.
        declared: Its fields, own and inherited; `None` to have `dataclasses` list them.
        compile_method: Compiles the method and puts it into the class; called after `COMPILED_AFTER` objects,
            and to have the error of wrong arguments.

    Returns:
        The method, or `None` for a class that only the compiled one can create.
    """
    declared = _listed(cls) if declared is None else declared
    if declared is None:
        return None
    given = {name: field for name, field in declared.items() if field.is_given}
    positional = [name for name, field in given.items() if not field.is_by_name]
    required = {name for name, field in given.items() if not field.has_default}
    last_required = max((number for number, name in enumerate(positional) if name in required), default=-1)
    if not required.issuperset(positional[: last_required + 1]):
        return None
    setters = [
        (name, getattr(cls, name).__set__, field.default, field.factory)
        for name, field in declared.items()
        if field.is_given or field.has_default
    ]
    finish = getattr(cls, "__post_init__", None)
    left = COMPILED_AFTER

    def __init__(this: Any, /, *arguments: Any, **named: Any) -> None:  # noqa: N807 - it becomes one
        nonlocal left
        left -= 1
        values = dict(zip(positional, arguments, strict=False))
        values.update(named)
        is_wrong = len(values) != len(arguments) + len(named) or not required <= values.keys() <= given.keys()
        if is_wrong or left < 0:
            compile_method()(this, *arguments, **named)
            return
        for name, put, default, factory in setters:
            if name in values:
                put(this, values[name])
            else:
                put(this, default if factory is MISSING else factory())
        if finish is not None:
            finish(this)

    return __init__


def comparison(declared: Mapping[str, Declared]) -> Callable[[Any, object], bool]:
    """Return an `__eq__` for a class with these fields, own and inherited."""
    # Of two names at least, so that it returns a tuple.
    values = attrgetter("__class__", "__class__", *(name for name, one in declared.items() if one.is_compared))

    def __eq__(this: Any, other: object) -> bool:  # noqa: N807 - it becomes one
        if other.__class__ is not this.__class__:
            return NotImplemented
        if sys.version_info < (3, 13):
            return bool(values(this) == values(other))
        return this is other or all(map(eq, values(this), values(other)))  # also NaN is compared, as there

    return __eq__


def _listed(cls: type) -> Mapping[str, Declared] | None:
    """Return the fields that `dataclasses` lists; `None` if there are others that are for `__init__` only."""
    every: Mapping[str, dataclasses.Field[Any]] = cls.__dataclass_fields__  # type: ignore[attr-defined]
    if any(map(_is_for_init_only, every.values())):
        return None
    return {one.name: Declared.of(one, kw_only=False) for one in dataclasses.fields(cls)}


def _is_for_init_only(one: "dataclasses.Field[Any]") -> bool:
    return isinstance(one.type, dataclasses.InitVar) or (isinstance(one.type, str) and "InitVar" in one.type)
