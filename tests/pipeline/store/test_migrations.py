"""Test the migration of databases of older releases, with their rows."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from databases import engine_of
from every_column import fill, stored_rows
from sqlalchemy import Engine, inspect, text

from pipeline.store.database_url import url_of
from pipeline.store.migrations import script_directory, upgrade
from pipeline.store.records import BranchRecord
from pipeline.store.run_options import PublishOptions, StoredCall
from pipeline.store.schema import REVISION, VERSIONS
from pipeline.store.store import FILE, Store, StoreError
from pipeline.store.tables import TABLES
from tasks.keys import AgentUse, InputHashes
from tasks.model import Mode
from tasks.outcome import Conflict, Outcome, Patch, PullRequest, RunStatus, Status
from tasks.patch_data import InlineData

BEFORE = Path(__file__).with_name("before_revisions.sql")
"""A database as the release before the first revision left it."""
ROWS_OF_0_2_0 = Path(__file__).with_name("release_0_2_0.jsonl")
SINCE_0_2_0 = ("refused", "foundation")
"""Columns that it does not have, and does not read."""
RUN = "20260102-030405-abcd"
OPEN = "import sys; from pipeline.store.store import Store; Store(sys.argv[1]).close()"


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """An engine of the database."""
    with engine_of(database) as engine:
        yield engine


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database without a revision, with one run."""
    path = tmp_path / "patchyard" / "patchyard.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(BEFORE.read_text(encoding="utf-8"))
    return path


def dump(path: Path) -> list[str]:
    """Return a dump of a SQLite database, as SQL statements."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def shape(engine: Engine) -> dict[str, Any]:
    """Return the schema of a database, as reflected."""
    inspector = inspect(engine)
    return {
        name: {
            "columns": [
                (column["name"], str(column["type"]), column["nullable"])
                for column in sorted(inspector.get_columns(name), key=lambda column: column["name"])
            ],
            "key": inspector.get_pk_constraint(name),
            "foreign keys": inspector.get_foreign_keys(name),
            "indexes": inspector.get_indexes(name),
            "unique": inspector.get_unique_constraints(name),
        }
        for name in inspector.get_table_names()
    }


def test_schema_revision_is_the_newest_migration() -> None:
    assert script_directory().get_heads() == [REVISION]


def test_migrated_database_equals_a_new_one(database: str, engine: Engine) -> None:
    with engine.begin() as connection:
        upgrade(connection)
    migrated = shape(engine)
    with engine.begin() as connection:
        for name in reversed([table.name for table in TABLES]):
            connection.execute(text(f"DROP TABLE {name}"))
        connection.execute(text("DROP TABLE alembic_version"))

    Store(database).close()

    new = shape(engine)
    assert "runs" in new
    assert migrated == new


def test_migration_keeps_rows(database: str, engine: Engine) -> None:
    """For both dialects, although only SQLite has such databases: both recreate the tables."""
    with engine.begin() as connection:
        upgrade(connection, "0001")
        connection.execute(
            text(
                "INSERT INTO runs (id, plan_path, plan_name, plan_title, plan_text, base, pool_size, status,"
                " started_at, settings) VALUES ('r', 'p', 'p', 'P', '', 'b', 1, 'failed', '2026', '{}')"
            )
        )
        connection.execute(
            text("INSERT INTO steps VALUES ('r', '1', 2, 'run', 'make', NULL, 0.5, 'why', '2026')")
        )
        connection.execute(text("INSERT INTO branches VALUES ('b', 'c', NULL)"))

    Store(database).close()

    with engine.connect() as connection:
        steps = connection.execute(text("SELECT task, attempt, number, command, exit_code, error FROM steps"))
        assert [tuple(row) for row in steps] == [("1", 1, 2, "make", None, "why")]
        branches = connection.execute(text("SELECT * FROM branches"))
        assert [tuple(row) for row in branches] == [("", "b", "c", None)]


OF_REVISION_2 = """
INSERT INTO runs
(id, plan_path, plan_name, plan_title, plan_text, base, pool_size, status, started_at, settings)
VALUES ('r', 'p', 'p', 'P', '', 'b', 1, 'failed', '2026-01-01T00:00:00Z', '{}');
INSERT INTO tasks
(run, task, position, title, batch, status, seconds, builds_on, start, files, tree, patch, attempt)
VALUES ('r', '1.1', 0, 't', 1, 'changed', 1, '[]', 's', '["a"]', 't', :large, 2);
INSERT INTO attempts (run, task, number, title, batch, started_at, seconds, start, files, tree, patch)
VALUES ('r', '1.1', 1, 't', 1, '2026-01-01T00:00:00Z', 1, 's', '["a"]', 't', :half);
INSERT INTO attempts (run, task, number, title, batch, started_at, seconds)
VALUES ('r', '1.1', 2, 't', 1, '2026-01-02T00:00:00Z', 1)
"""


def test_patches_in_one_value_become_chunks(database: str, engine: Engine) -> None:
    """Byte for byte; an attempt that gave its task the outcome has its patch, too."""
    values = {"large": bytes(range(256)) * 80_000, "half": b"half"}
    with engine.begin() as connection:
        upgrade(connection, "0002")
        for statement in OF_REVISION_2.split(";\n"):
            used = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(text(statement.replace("00:00:00Z", "00\\:00\\:00Z")), used)

    with Store(database) as store:
        (task,), (first, second) = store.tasks("r"), store.attempts("r")
        assert task.outcome.patch == Patch("s", "t", InlineData(values["large"]), ("a",))
        assert task.outcome.patch.diff.read() == values["large"]
        assert second.patch is not None
        assert second.patch.diff == task.outcome.patch.diff
        assert first.patch is not None
        assert first.patch.diff.read() == b"half"
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT count(*), max(length(data)) FROM patch_chunks")).one()
        assert tuple(rows) == (21, 1 << 20)


def test_database_without_a_revision_is_migrated(old: Path) -> None:
    with Store.beside(old.parent.parent) as store:
        run = store.run()
        assert (run.id, run.status, run.seconds, run.repository) == (RUN, RunStatus.FAILED, 2.5, "")
        assert run.settings == PublishOptions(remote="origin", labels=("x",))
        assert (run.owner, run.lease_until, run.request, run.call) == (None, None, None, StoredCall())
        first, second = store.tasks(RUN)
        patch = Patch("a" * 40, "c" * 40, InlineData(b"diff \xff\x00\n"), ("a b", "\udcff"))
        assert first.outcome == Outcome(
            *("1.1", "First", 1, Status.CHANGED),
            worktree="wt-1",
            seconds=2.0,
            started_at=datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
            start="a" * 40,
            branch="patchyard/demo/1.1",
            commit="d" * 40,
            files=("a b", "\udcff"),
            exit_code=0,
            patch=patch,
            cost=0.5,
        )
        assert first.pull_request == PullRequest(
            "1.1", 7, "https://example.org/pull/7", "patchyard/demo/1.1", "main"
        )
        assert (first.attempt, second.attempt) == (1, 1)
        assert (second.outcome.status, tuple(second.builds_on)) == (Status.FAILED, ("1.1",))
        assert [(step.number, step.seconds) for step in store.steps(RUN, "1.1")] == [(1, 0.5), (2, 1.5)]
        assert [step.error for step in store.steps(RUN, "1.2", 1)] == ["it's broken"]
        assert store.inputs(RUN) == {
            "1.1": InputHashes(
                *("k" * 8, Mode.LOCAL, "t" * 40, None, AgentUse("claude", "claude -p", "1.0"), ("A",), ("B",))
            )
        }
        assert store.conflicts(RUN) == (Conflict(1, ("1.1", "1.2"), ("a b",)),)
        assert store.branch("patchyard/demo/1.1") == BranchRecord("patchyard/demo/1.1", "d" * 40, "d" * 40)
        assert store.attempts(RUN) == ()
        assert store.events(RUN) == ()


def test_missing_columns_of_the_oldest_release_are_added(old: Path) -> None:
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("ALTER TABLE tasks DROP COLUMN branch")
        connection.execute("DROP TABLE conflicts")

    with Store.beside(old.parent.parent) as store:
        assert [item.outcome.branch for item in store.tasks(RUN)] == [None, None]
        assert store.conflicts(RUN) == ()
        store.keep_conflicts(RUN, [Conflict(1, ("1.1",), ("a",))])
        assert len(store.conflicts(RUN)) == 1


def test_failed_migration_is_rolled_back(old: Path) -> None:
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("CREATE TABLE branches_before (in_its_way TEXT)")
    before = dump(old)

    with pytest.raises(StoreError, match="cannot be used: table branches_before already exists"):
        Store.beside(old.parent.parent)

    assert dump(old) == before


def test_database_of_a_newer_release_is_reported(database: str, engine: Engine) -> None:
    Store(url_of(database)).close()
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(StoreError) as caught:
        Store(url_of(database))

    assert str(caught.value).endswith(
        "belongs to a newer patchyard (its schema 9999 is unknown to this one): "
        "update patchyard, or use another database"
    )
    assert "\n" not in str(caught.value)


def test_concurrent_processes_migrate_a_database_once(old: Path) -> None:
    assert opened_at_once(f"sqlite:///{old}", 6) == [""] * 6
    with Store.beside(old.parent.parent) as store:
        assert [run.id for run in store.runs()] == [RUN]
        assert len(store.steps(RUN, "1.1")) == 2


def test_concurrent_processes_create_a_database_once(database: str, engine: Engine) -> None:
    assert opened_at_once(database, 6) == [""] * 6
    with engine.connect() as connection:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).all()
    assert [tuple(row) for row in found] == [(REVISION,)]


def opened_at_once(database: str, count: int) -> list[str]:
    """Open a database in several processes; return their error output."""
    processes = [
        subprocess.Popen([sys.executable, "-c", OPEN, database], stderr=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    return [process.communicate(timeout=60)[1] for process in processes]


@pytest.mark.parametrize("state", ["new", "up to date"])
def test_sqlalchemy_is_imported_only_for_a_migration(tmp_path: Path, state: str) -> None:
    url = f"sqlite:///{tmp_path / 'patchyard.db'}"
    if state == "up to date":
        Store(url).close()
    code = f"import json, sys; {OPEN}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code, url], check=True, capture_output=True, text=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert "sqlite3" in loaded
    assert loaded & {"alembic", "mako", "psycopg", "sqlalchemy"} == set()


def test_rows_are_those_of_the_release_before(tmp_path: Path) -> None:
    """Of 0.2.0, whose rows SQLAlchemy wrote: a release in between reads what either has written."""
    with Store.beside(tmp_path) as store:
        fill(store)
    rows = [json.loads(line) for line in ROWS_OF_0_2_0.read_text(encoding="utf-8").splitlines()]
    rows = [one for one in rows if one["table"] != VERSIONS]
    found = stored_rows(tmp_path / "patchyard" / FILE, without=(VERSIONS, *SINCE_0_2_0))
    assert [json.loads(line) for line in found.splitlines()] == rows
