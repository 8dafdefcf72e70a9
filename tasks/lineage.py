"""The tasks whose changes a commit contains; commits that are made on top of each other share them."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import takewhile
from typing import overload


class Lineage(Sequence[str]):
    """Ids of tasks, each once, in order: those of another lineage, and `names` after them.

    Thousands of tasks start from what the batches before them made. Each of these start points has only what it
    adds, so that all of them together are as large as the plan. Equal to a tuple of the same ids.

    Args:
        names: The ids to add; those that are in `below` already are left out.
        below: The lineage that they are added to.

    Attributes:
        known: The same as `names`, as a set.
    """

    __slots__ = ("_digest", "_size", "below", "known", "names")

    def __init__(self, names: Iterable[str] = (), below: "Lineage | None" = None) -> None:
        self.below: Lineage | None = below or None
        self.names: tuple[str, ...] = tuple(
            name for name in dict.fromkeys(names) if not below or name not in below
        )
        self.known = frozenset(self.names)
        self._size: int = len(self.names) + len(below or ())
        self._digest = ""

    def links(self) -> Iterator["Lineage"]:
        """Yield this lineage, the one that it adds to, and so on."""
        link: Lineage | None = self
        while link is not None:
            yield link
            link = link.below

    @property
    def digest(self) -> str:
        """A SHA-256 of the ids and how they are divided, in hexadecimal."""
        from hashlib import sha256  # noqa: PLC0415 - slow, and plans of one batch need none

        if not self._digest:
            links = list(takewhile(lambda link: not link._digest, self.links()))  # noqa: SLF001 - of this class
            for link in reversed(links):  # not one within the other: there may be thousands
                text = "\n".join((link.below.digest if link.below else "", *link.names))
                link._digest = sha256(text.encode(errors="replace")).hexdigest()  # noqa: SLF001 - likewise
        return self._digest

    def with_all(self, others: Iterable["Lineage"]) -> "Lineage":
        """Return a lineage that has the ids of others too."""
        joined = self
        for other in others:
            shared = {id(link) for link in joined.links()}
            added: list[Lineage] = []
            for link in other.links():
                if id(link) in shared:
                    break
                added.append(link)
            joined = joined.with_names(name for link in reversed(added) for name in link.names)
        return joined

    def with_names(self, names: Iterable[str]) -> "Lineage":
        """Return a lineage that has more ids."""
        more = Lineage(names, self)
        return more if more.names else self

    def isdisjoint(self, names: Collection[str]) -> bool:
        """Whether none of some ids is in it; fast for a set."""
        return all(link.known.isdisjoint(names) for link in self.links())

    def issuperset(self, names: Iterable[str]) -> bool:
        """Whether it has each of some ids."""
        return all(name in self for name in names)

    def __contains__(self, name: object) -> bool:
        return any(name in link.known for link in self.links())

    def __iter__(self) -> Iterator[str]:
        for link in reversed(list(self.links())):
            yield from link.names

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[str, ...]: ...
    def __getitem__(self, at: int | slice) -> str | tuple[str, ...]:
        return tuple(self)[at]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Lineage | tuple):
            return self is other or (len(self) == len(other) and tuple(self) == tuple(other))
        return NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Lineage({list(self)})"


NO_TASKS = Lineage()


def lineage_of(names: Iterable[str]) -> Lineage:
    """Return ids as a lineage."""
    return names if isinstance(names, Lineage) else Lineage(names)
