"""Ids of units: what a plan gives them, made unique."""

import re
from collections.abc import Container, Sequence
from itertools import chain, count

from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex

_NUMBER = regex(
    r"(?:\*\*|__)?(?:(?i:task|section|tarea|tarefa|任务|任務|タスク|作業)\s*)?"
    r"(?P<number>T?[0-9]{1,4}[a-f]?(?:\.[0-9]{1,4}[a-f]?)+"
    r"|T?[0-9]{1,4}[a-f]?(?=\*\*[:：. ]|[.):：、．])|(?P<bare>[0-9]{1,4}))"  # noqa: RUF001 - what people type
    r"(?P<star>\\?\*(?!\*))?"
    r"(?:\*\*|__)?(?:[.)](?=[\s*\u0080-\U0010ffff]|$)|[:：、．]|(?=\s|$))"  # noqa: RUF001
    r"(?:\*\*|__)?[\s:：.–—-]*"  # noqa: RUF001
)


@dataclass(frozen=True, slots=True)
class Numbered:
    """A title and the number before it, such as `1.2` or `3b`; `star` is whether a `*` follows that."""

    number: str
    title: str
    star: bool = False


def numbered(text: str, *, bare: bool = False) -> Numbered:
    """Return the number that a title begins with, and the rest.

    A single number with nothing after it, as in `2 Set up`, counts with `bare` alone; an amount, such as `70%`,
    does not.
    """
    found = _NUMBER.match(text)
    if not found or (found["bare"] and not bare):
        return Numbered("", text)
    return Numbered(found["number"], without_half_bold(text[found.end() :]), bool(found["star"]))


def without_half_bold(text: str) -> str:
    """Return a text whose bold part has lost one end, without the other."""
    plain = re.sub(r"`[^`]*`", "", text)
    return text.replace("**", "", 1) if plain.count("**") % 2 else text


def identify(wanted: Sequence[str]) -> tuple[str, ...]:
    """Return ids, one for each: what is wanted, else the place; `-2` is added to what is taken."""
    taken: set[str] = set()
    named = set(wanted)
    found: list[str] = []
    for place, name in enumerate(wanted, 1):
        base = name or next(free for free in map(str, count(place)) if free not in named and free not in taken)
        chosen = free_id(base, taken)
        taken.add(chosen)
        found.append(chosen)
    return tuple(found)


def free_id(wanted: str, taken: Container[str]) -> str:
    """Return an id that is not taken: what is wanted, else that with `-2`, `-3`, …."""
    choices = chain([wanted], (f"{wanted}-{number}" for number in count(2)))
    return next(choice for choice in choices if choice not in taken)
