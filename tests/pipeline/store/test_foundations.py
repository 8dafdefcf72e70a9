"""What many tasks build on is stored once, and read back as it was."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from databases import transaction_of
from every_column import RUN
from sqlalchemy import text

from pipeline.store.damage import DamagedRowError
from pipeline.store.store import FILE, Store
from tasks.lineage import Lineage
from tasks.outcome import Outcome, Status

BATCH = Lineage(f"1.{number}" for number in range(1, 101))
ABOVE = Lineage((f"2.{number}" for number in range(1, 101)), BATCH)
BUILDS_ON = {
    "1.1": Lineage(),
    "1.2": Lineage(["1.1"]),
    "2.1": BATCH,
    "2.2": BATCH,
    "2.3": BATCH.with_names(["2.1"]),
    "3.1": ABOVE,
    "3.2": ABOVE.with_names(["3.1"]),
}


def fill(store: Store) -> None:
    store.open_run(RUN)
    for position, (task, builds_on) in enumerate(BUILDS_ON.items()):
        outcome = Outcome(task, "T", int(task[0]), Status.UNCHANGED)
        store.keep_outcome(RUN.id, position, outcome, builds_on=builds_on)


def test_what_tasks_share_is_stored_once(database: str) -> None:
    with Store(database) as store:
        fill(store)
        written = {item.outcome.task: item.builds_on for item in store.tasks(RUN.id)}
    assert written == BUILDS_ON
    with transaction_of(database) as connection:
        found = connection.execute(text("SELECT tasks, below FROM foundations")).all()
        own = {row[0]: row[1] for row in connection.execute(text("SELECT task, builds_on FROM tasks"))}
    assert sorted(len(json.loads(tasks)) for tasks, _ in found) == [100, 100]
    assert sorted(below is None for _, below in found) == [False, True]
    assert own == dict.fromkeys(BUILDS_ON, "[]") | {
        "1.2": '["1.1"]',
        "2.3": '["2.1"]',
        "3.2": '["3.1"]',
    }
    with Store(database) as store:  # which has not read or written any of them
        assert {item.outcome.task: item.builds_on for item in store.tasks(RUN.id)} == BUILDS_ON
        one, other = (store.tasks(RUN.id, task)[0].builds_on for task in ("2.1", "2.2"))
        assert one is other
        store.forget_run(RUN.id)
        fill(store)
        assert store.tasks(RUN.id, "3.2")[0].builds_on == BUILDS_ON["3.2"]


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM foundations",
        "DELETE FROM foundations WHERE below IS NULL",
        "UPDATE foundations SET below = key",
        "UPDATE foundations SET tasks = '{'",
    ],
)
def test_damage_is_reported(tmp_path: Path, change: str) -> None:
    with Store.beside(tmp_path) as store:
        fill(store)
    with closing(sqlite3.connect(tmp_path / "patchyard" / FILE)) as connection, connection:
        connection.execute(change)
    with (
        Store.beside(tmp_path) as store,
        pytest.raises(DamagedRowError, match=r"table foundations.*clean --run"),
    ):
        store.tasks(RUN.id)
