"""What tasks build on, in the database: what many start points have in common is stored once."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pipeline.store.connection import Connection
from pipeline.store.damage import DamagedRowError, damage_message
from pipeline.store.database import Database
from pipeline.store.database_url import DatabaseUrl
from pipeline.store.row_reads import read_row
from pipeline.store.row_writes import insert_missing_row
from pipeline.store.tables import FOUNDATIONS
from tasks.lineage import NO_TASKS, Lineage, lineage_of

MOST_NAMES = 20
"""The most ids that a task has in its own row; more are a row that others of the same start point share."""
MOST_LINKS = 5000
"""The most rows that are remembered."""


class StoredFoundations(Database):
    """The methods of a store for what tasks build on. Blocking.

    A row of `foundations` is a link of a lineage: it never changes, its key says what is in it.

    Args:
        url: The database.
    """

    def __init__(self, url: str | DatabaseUrl) -> None:
        super().__init__(url)
        self._links: dict[tuple[str, str], Lineage] = {}  # rows that are known to be stored, by run and key

    @contextmanager
    def together(self, run: str) -> Iterator[None]:
        """Make all that this thread writes to a run in the context one transaction; see `Database.together`."""
        try:
            with super().together(run):
                yield
        except BaseException:
            self._links.clear()  # what was remembered in the context is not stored
            raise

    def _missing_links(self, run: str, foundation: Lineage | None) -> list[Lineage]:
        """Return the links of a lineage that may not be stored yet, each after the one that it adds to."""
        missing = []
        for link in foundation.links() if foundation else ():
            if (run, link.digest) in self._links:
                break
            missing.append(link)
        return missing[::-1]

    def _insert_links(self, connection: Connection, run: str, links: Iterable[Lineage]) -> None:
        for link in links:
            below = link.below.digest if link.below else None
            row = {"run": run, "key": link.digest, "below": below, "tasks": link.names}
            insert_missing_row(connection, FOUNDATIONS, row)

    def _remember_links(self, run: str, links: Iterable[Lineage]) -> None:
        """Note links that are stored durably."""
        if len(self._links) > MOST_LINKS:
            self._links.clear()
        self._links |= {(run, link.digest): link for link in links}

    def _forget_links(self, run: str) -> None:
        self._links = {key: link for key, link in self._links.items() if key[0] != run}

    def _lineages(
        self, connection: Connection, rows: Iterable[Mapping[str, Any]]
    ) -> dict[tuple[tuple[str, ...], str | None], Lineage]:
        """Return what tasks build on, by what their rows say of it.

        Raises:
            DamagedRowError: A row that others name is missing, or cannot be read.
        """
        found: dict[tuple[tuple[str, ...], str | None], Lineage] = {}
        for row in rows:
            own, key = row["builds_on"], row["foundation"]
            if (own, key) not in found:
                below = self._read_links(connection, row["run"], key) if key else None
                found[own, key] = (below.with_names(own) if below else Lineage(own)) if own or key else NO_TASKS
        return found

    def _read_links(self, connection: Connection, run: str, key: str) -> Lineage:
        """Return the lineage with a key, from the rows that are not remembered."""
        names: dict[str, tuple[str, ...]] = {}
        wanted: str | None = key
        while wanted is not None and (run, wanted) not in self._links:
            row = None if wanted in names else read_row(connection, FOUNDATIONS, {"run": run, "key": wanted})
            if row is None:
                raise DamagedRowError(damage_message(FOUNDATIONS.name, {"run": run}, "key"))
            names[wanted], wanted = row["tasks"], row["below"]
        link = self._links[run, wanted] if wanted is not None else None
        made: list[Lineage] = []
        for each in reversed(names):
            link = Lineage(names[each], link)
            made.append(link)
        if len(self._links) > MOST_LINKS:
            self._links.clear()
        self._links |= {(run, each): one for each, one in zip(reversed(names), made, strict=True)}
        return self._links[run, key]


def divide(builds_on: Iterable[str]) -> tuple[tuple[str, ...], Lineage | None]:
    """Return the ids for the row of a task, and the lineage that it builds on besides, if there is one."""
    lineage = lineage_of(builds_on)
    if len(lineage.names) > MOST_NAMES:
        return (), lineage
    return lineage.names, lineage.below
