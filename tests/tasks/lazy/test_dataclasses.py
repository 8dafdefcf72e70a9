"""Tests of tasks.lazy.dataclasses."""

import copy
import dataclasses
import importlib
import pickle
import pkgutil
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import KW_ONLY, FrozenInstanceError, InitVar, asdict, field, fields, is_dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

import containers
import pipeline
import tasks
from tasks.lazy import dataclasses as lazy
from tasks.lazy import fields as lazy_fields
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.fields import COMPILED_AFTER

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Point:
    """A frozen class with each kind of field."""

    x: int
    y: int = 2
    names: list[str] = field(default_factory=list)
    secret: str = field(default="secret", repr=False, compare=False)
    kind: ClassVar[str] = "point"
    unit: ClassVar = "mm"

    @property
    def sum(self) -> int:
        """A method of its own."""
        return self.x + self.y


@dataclass(frozen=True, slots=True, kw_only=True)
class Named(Point):
    """A subclass with a field that has no default."""

    name: str


@dataclass(slots=True)
class Counter:
    """A class that changes."""

    count: int = 0
    twice: int = field(init=False)

    def __post_init__(self) -> None:
        self.twice = self.count * 2


@dataclass(slots=True, eq=False)
class ByIdentity:
    """A class without `__eq__`."""

    value: int


@dataclass(frozen=True, slots=True)
class Own:  # noqa: PLW1641 - made by the decorator
    """A class that compares its objects itself."""

    value: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own) and self.value.lower() == other.value.lower()


@dataclass(frozen=True, slots=True)
class Box(Generic[T]):
    """A generic class."""

    content: T


def fresh() -> type[Any]:
    """Return a class of which nothing was used."""

    @dataclass(frozen=True, slots=True)
    class Fresh:
        x: int
        y: tuple[int, ...] = (1,)
        z: list[int] = field(default_factory=list, compare=False)

    return Fresh


FIRST_USES: dict[str, tuple[Callable[[type[Any]], object], object]] = {
    "init": (lambda cls: cls(1).y, (1,)),
    "fields": (lambda cls: [item.name for item in fields(cls)], ["x", "y", "z"]),
    "is_dataclass": (is_dataclass, True),
    "match_args": (lambda cls: cls.__match_args__, ("x", "y", "z")),
    "repr": (lambda cls: repr(cls(1)).rpartition(".")[2], "Fresh(x=1, y=(1,), z=[])"),
    "eq": (lambda cls: cls(1, z=[5]) == cls(1), True),
    "not equal": (lambda cls: cls(1) == cls(2), False),
    "hash": (lambda cls: hash(cls(1)) == hash(cls(1, z=[2])), True),
    "replace": (lambda cls: replace(cls(1), x=4).x, 4),
    "asdict": (lambda cls: asdict(cls(3)), {"x": 3, "y": (1,), "z": []}),
    "copy": (lambda cls: copy.copy(cls(1)).x, 1),
}


@pytest.mark.parametrize("first", FIRST_USES)
def test_first_use_of_a_class(first: str) -> None:
    for use, expected in (FIRST_USES[first], *FIRST_USES.values()):
        cls = fresh()
        assert FIRST_USES[first][0](cls) == FIRST_USES[first][1]
        assert use(cls) == expected


def test_objects_have_no_dictionary() -> None:
    assert not hasattr(Point(1), "__dict__")
    assert Named.__dict__["__slots__"] == ("name",)


def test_class_variable_is_not_a_field() -> None:
    assert [item.name for item in fields(Point)] == ["x", "y", "names", "secret"]
    assert (Point.kind, Point(1).kind, Point.unit, Point(1).unit) == ("point", "point", "mm", "mm")


def test_fields_of_a_frozen_object_do_not_change() -> None:
    point = Point(1)
    with pytest.raises(FrozenInstanceError):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del point.x
    assert point.x == 1


def test_subclass_has_the_fields_of_its_base() -> None:
    named = Named(1, name="a")
    assert (named.sum, named.kind, [item.name for item in fields(named)]) == (
        3,
        "point",
        ["x", "y", "names", "secret", "name"],
    )
    with pytest.raises(TypeError, match="name"):
        Named(1)  # type: ignore[call-arg]


@dataclass(frozen=True)
class Cached:
    """A class without slots."""

    value: int
    more: list[int] = field(default_factory=list)

    @cached_property
    def twice(self) -> list[int]:
        """A value that is kept."""
        return [self.value] * 2


@dataclass(frozen=True)
class CachedAgain(Cached):
    """A subclass, whose base gives it a dictionary."""

    last: int = 3

    @cached_property
    def thrice(self) -> list[int]:
        """A value that is kept."""
        return [*self.twice, self.last]


def test_objects_of_a_class_without_slots_keep_what_is_cached() -> None:
    for one in (Cached(4), CachedAgain(4)):
        assert one.twice is one.twice
        assert weakref.ref(one)() is one
        assert (replace(one, value=5).twice, one.twice) == ([5, 5], [4, 4])
        assert pickle.loads(pickle.dumps(one)) == one == copy.copy(one)  # noqa: S301 - its own
        with pytest.raises(FrozenInstanceError):
            one.value = 2  # type: ignore[misc]
    assert CachedAgain(4).thrice == [4, 4, 3]
    assert "__dict__" not in CachedAgain.__slots__  # type: ignore[attr-defined]


@pytest.mark.parametrize("number", range(4))
def test_objects_of_any_number_of_fields_are_compared(number: int) -> None:
    names = [f"f{index}" for index in range(number)]
    cls: Any = dataclass(slots=True)(type("Some", (), {"__annotations__": dict.fromkeys(names, float)}))
    nan = float("nan")
    one, same, other = cls(*[nan] * number), cls(*[nan] * number), cls(*[float("nan")] * number)
    # As tuples are before Python 3.13, where what is one object is equal.
    assert (one == same) is (number == 0 or sys.version_info < (3, 13))
    assert (one == other) is (number == 0)
    assert one != "something else"
    assert "__eq__" in cls.__dict__
    assert cls.__eq__.__code__.co_filename == lazy_fields.__file__


def test_objects_that_change() -> None:
    counter = Counter(2)
    counter.count = 5
    assert (counter.count, counter.twice) == (5, 4)
    assert Counter(2) == Counter(2) != counter
    with pytest.raises(TypeError, match="unhashable"):
        hash(counter)


def test_objects_compared_by_identity() -> None:
    one = ByIdentity(1)
    assert one != ByIdentity(1)
    assert len({one, ByIdentity(1)}) == 2


def test_methods_of_the_class_itself_are_kept() -> None:
    assert Own("A") == Own("a")
    assert hash(Own("a")) == hash(Own("a"))


def test_generic_class() -> None:
    assert Box(3) == Box(3)


def test_secret_is_not_shown() -> None:
    assert "secret" not in repr(Point(1, secret="hidden"))


def test_objects_are_pickled() -> None:
    assert pickle.loads(pickle.dumps(Named(1, name="n"))) == Named(1, name="n")  # noqa: S301 - its own


@dataclass(frozen=True, slots=True)
class Deeper(Named):
    """A subclass that uses a method of its base whose own one was not made yet."""

    more: int = 0

    def of_base(self) -> str:
        """Return what its base shows."""
        return Named.__repr__(self)


def test_method_of_the_base_is_that_of_the_base() -> None:
    deeper = Deeper(1, name="n")
    assert ("more" in repr(deeper), "more" in deeper.of_base()) == (True, False)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((), {}), ((1, 2, 3), {"y": 1}), ((1, 2, [], 4), {}), ((), {"y": 1}), ((1,), {"other": 1})],
)
def test_wrong_arguments(arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Fresh:
        x: int
        y: tuple[int, ...] = (1,)
        z: list[int] = field(default_factory=list, compare=False)

    with pytest.raises(TypeError) as expected:
        Fresh(*arguments, **named)
    with pytest.raises(TypeError) as found:
        fresh()(*arguments, **named)
    assert str(found.value).partition("__init__")[2] == str(expected.value).partition("__init__")[2]


def test_many_objects_of_a_class() -> None:
    cls = fresh()
    made = [cls(number, z=[number]) for number in range(3 * COMPILED_AFTER)]
    assert [(one.x, one.y, one.z) for one in made] == [(number, (1,), [number]) for number in range(len(made))]
    assert made[0].z is not made[1].z
    assert made[-1] == cls(x=made[-1].x)
    assert cls.__init__.__code__.co_varnames[1] == "x"  # the compiled one, by now


def test_values_for_init_only() -> None:
    @dataclass(slots=True)
    class Doubled:
        value: int
        times: InitVar[int] = 2

        def __post_init__(self, times: int) -> None:
            self.value *= times

    assert [Doubled(3).value, Doubled(3, 5).value] == [6, 15]


@pytest.mark.parametrize("option", ["order", "unsafe_hash", "init", "weakref_slot"])
def test_other_options_are_refused(option: str) -> None:
    with pytest.raises(TypeError, match=rf"^{option}: not for a dataclass"):
        dataclass(**{option: True})


def test_mistake_in_a_declaration() -> None:
    @dataclass(slots=True)
    class Wrong:
        value: int = 1
        other: str  # type: ignore[misc]

    with pytest.raises(TypeError, match="'other' follows default"):
        Wrong(1, "a")


@given(
    st.lists(st.tuples(*[st.booleans()] * 5), min_size=1, max_size=5),
    st.booleans(),
)
def test_same_as_the_standard_decorator(
    kinds: list[tuple[bool, bool, bool, bool, bool]],
    frozen: bool,  # noqa: FBT001 - drawn
) -> None:
    def written() -> type:
        content: dict[str, Any] = {"__annotations__": {}, "__module__": __name__, "__qualname__": "Made"}
        for number, (has_default, is_shown, is_compared, is_made, is_given) in enumerate(kinds):
            name = f"f{number}"
            content["__annotations__"][name] = int
            made = {"default_factory": lambda number=number: number} if is_made else {"default": number}
            options = {
                "repr": is_shown,
                "compare": is_compared,
                "kw_only": not has_default,
                "init": is_given or not has_default,
            }
            content[name] = field(**options, **(made if has_default else {}))  # type: ignore[call-overload]
        return type("Made", (), content)

    ours: Any = dataclass(frozen=frozen, slots=True)(written())
    theirs: Any = dataclasses.dataclass(frozen=frozen, slots=True)(written())
    required = {f"f{number}": 7 for number, kind in enumerate(kinds) if not kind[0]}
    one, other = ours(**required), theirs(**required)
    assert asdict(one) == asdict(other)
    assert repr(one) == repr(other)
    assert one == ours(**required)
    assert (ours.__hash__ is None) == (theirs.__hash__ is None)
    assert not frozen or hash(one) == hash(other)


def test_fields_are_those_that_dataclasses_lists() -> None:
    """In all classes of the program: else objects are created from other fields than they are compared by."""
    for package in (containers, pipeline, tasks):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.rpartition(".")[2] != "__main__" and ".migrations." not in module.name:
                with suppress(ImportError):  # of an extra that is not installed
                    importlib.import_module(module.name)
    compared = 0
    for cls, methods in list(lazy._METHODS.items()):  # noqa: SLF001 - the classes that were made
        declared = methods._declared()  # noqa: SLF001 - as above
        if declared is not None and cls.__module__.partition(".")[0] in {"containers", "pipeline", "tasks"}:
            listed = lazy_fields._listed(cls)  # noqa: SLF001 - as above
            assert [*(listed or {}).items()] == [*declared.items()], cls
            compared += 1
    assert compared > 200


class WithMarks:
    """Declarations that only `dataclasses` understands, and some that it does not."""

    first: int
    _: KW_ONLY
    second: int = 2


@pytest.mark.parametrize(
    "kind",
    [KW_ONLY, InitVar[int], InitVar, "InitVar[int]", "dataclasses.KW_ONLY", "ClassVar[int]", "t.ClassVar"],
)
def test_marks_are_left_to_dataclasses(kind: object) -> None:
    annotations = {"first": int, "mark": kind, "last": str}
    assert lazy_fields.own_fields(annotations, {}, kw_only=False) is None


@pytest.mark.parametrize("default", [[], {}, set(), field(default=[])])
def test_one_object_for_all_is_left_to_dataclasses(default: object) -> None:
    assert lazy_fields.own_fields({"x": list}, {"x": default}, kw_only=False) is None

    shared: type[Any] = type("Shared", (), {"__annotations__": {"x": list}, "x": default})
    with pytest.raises(ValueError, match="mutable default"):
        dataclass(slots=True)(shared)()


def test_fields_by_name_only_follow_the_mark() -> None:
    cls = dataclass(slots=True)(WithMarks)
    assert (cls(1).second, cls(1, second=3).second) == (2, 3)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        cls(1, 2)  # type: ignore[call-arg]


def test_a_default_with_a_method_of_its_own_to_get_it() -> None:
    @dataclass(slots=True)
    class Calls:
        call: Callable[[], int] = staticmethod(lambda: 3)

    assert Calls().call() == 3
