"""The fields of a dataclass, and objects that are created from them, without compiling any method."""

# ruff: noqa: ANN401 - values of any type

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from typing import Any

COMPILED_AFTER = 200
"""Objects that are created from the fields of a class before its `__init__` is compiled: that takes as long."""


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


def initializer(cls: type, compile_method: Callable[[], Callable[..., None]]) -> Callable[..., None] | None:
    """Return an `__init__` that creates objects from the list of fields.

    Args:
        cls: A dataclass with slots.
        compile_method: Compiles the method and puts it into the class; called after `COMPILED_AFTER` objects,
            and to have the error of wrong arguments.

    Returns:
        The method, or `None` for a class that only the compiled one can create.
    """
    fields = dataclasses.fields(cls)
    positional = [one.name for one in fields if one.init and not one.kw_only]
    required = {one.name for one in fields if one.init and _has_no_default(one)}
    last_required = max((number for number, name in enumerate(positional) if name in required), default=-1)
    declared = cls.__dataclass_fields__.values()  # type: ignore[attr-defined]
    if not required.issuperset(positional[: last_required + 1]) or any(map(_is_for_init_only, declared)):
        return None
    known = {one.name for one in fields if one.init}
    setters = [(one.name, getattr(cls, one.name).__set__, one.default, one.default_factory) for one in fields]
    setters = [one for one in setters if one[0] in known or one[2] is not MISSING or one[3] is not MISSING]
    finish = getattr(cls, "__post_init__", None)
    left = COMPILED_AFTER

    def __init__(this: Any, /, *arguments: Any, **named: Any) -> None:  # noqa: N807 - it becomes one
        nonlocal left
        left -= 1
        values = dict(zip(positional, arguments, strict=False))
        values.update(named)
        is_wrong = len(values) != len(arguments) + len(named) or not required <= values.keys() <= known
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


def _has_no_default(one: "dataclasses.Field[Any]") -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _is_for_init_only(one: "dataclasses.Field[Any]") -> bool:
    return isinstance(one.type, dataclasses.InitVar) or (isinstance(one.type, str) and "InitVar" in one.type)
