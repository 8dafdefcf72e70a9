"""Create the tables of a database, or migrate them from an older release.

Alembic migrates, which takes 0.2 s to import: a database that is new or up to date is opened without it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Column, Connection, Engine, MetaData, PrimaryKeyConstraint, String, Table, inspect, text

from pipeline.store.tables import Tables

REVISION = "0012"
"""The newest revision in `pipeline/store/migrations/versions`, which creates the same schema as `Tables`."""
VERSIONS = "alembic_version"
LOCK = 0x7061746368  # this program's key for PostgreSQL advisory locks: "patch" in ASCII


def update_schema(engine: Engine) -> None:
    """Create the tables, or migrate those of an older release. Several processes may call it at once.

    Raises:
        NewerSchemaError: The database belongs to a newer release.
        SQLAlchemyError: The database cannot be read or changed.
    """
    with engine.connect() as connection:
        if _revision(connection) == REVISION:
            return
    with _locked_transaction(engine) as connection:
        found = _revision(connection)  # another process may have been faster
        if found == REVISION:
            return
        if found is None and not inspect(connection).has_table(Tables.runs.name):
            Tables.metadata.create_all(connection)
            _stamp(connection)
            return
        from pipeline.store.migrations import upgrade  # noqa: PLC0415 - imports Alembic

        upgrade(connection)


def _revision(connection: Connection) -> str | None:
    """Return the revision of a database; `None` where it is new, or older than the revisions."""
    if not inspect(connection).has_table(VERSIONS):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSIONS}")).first()  # noqa: S608 - a constant
    return None if found is None else str(found[0])


def _stamp(connection: Connection) -> None:
    """Write the revision as Alembic does."""
    key = PrimaryKeyConstraint("version_num", name=f"{VERSIONS}_pkc")
    versions = Table(VERSIONS, MetaData(), Column("version_num", String(32), nullable=False), key)
    versions.create(connection, checkfirst=True)
    connection.execute(versions.insert().values(version_num=REVISION))


@contextmanager
def _locked_transaction(engine: Engine) -> Iterator[Connection]:
    """Give a connection in a transaction that one process at a time is in; it is rolled back on an error."""
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            yield connection
        return
    # Python's sqlite3 starts no transaction before DDL statements, hence the explicit BEGIN. Foreign keys must
    # be off while a table is recreated, and SQLite can only switch them outside of a transaction:
    # https://www.sqlite.org/lang_altertable.html#otheralter
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.exec_driver_sql("COMMIT")
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        finally:
            connection.exec_driver_sql("PRAGMA foreign_keys=ON")
