"""Brings a database to the schema of this release, whatever release it is of.

Alembic does that, which takes 0.2 s to import: a database that is up to date, or new, is opened without it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Column, Connection, Engine, MetaData, PrimaryKeyConstraint, String, Table, inspect, text

if TYPE_CHECKING:
    from pipeline.store.tables import Tables

REVISION = "0002"
"""The newest revision in `pipeline/store/migrations/versions`, which `Tables` are."""
VERSIONS = "alembic_version"
LOCK = 0x7061746368  # a number of this program's own, among the advisory locks of a PostgreSQL database


def bring_up_to_date(engine: Engine, tables: "Tables") -> None:
    """Make the tables, or change those of an older release. Several processes may do it at once.

    Raises:
        NewerSchemaError: The database is of a newer release.
        SQLAlchemyError: The database says no.
    """
    with engine.connect() as connection:
        if _revision(connection) == REVISION:
            return
    with _alone(engine) as connection:
        found = _revision(connection)  # another process may have been faster
        if found == REVISION:
            return
        if found is None and not inspect(connection).has_table(tables.runs.name):
            tables.metadata.create_all(connection)
            _stamp(connection)
            return
        from pipeline.store.migrations import upgrade  # noqa: PLC0415 - imports Alembic

        upgrade(connection)


def _revision(connection: Connection) -> str | None:
    """Return the revision that a database says it has; one before Alembic has none."""
    if not inspect(connection).has_table(VERSIONS):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSIONS}")).first()  # noqa: S608 - a constant
    return None if found is None else str(found[0])


def _stamp(connection: Connection) -> None:
    """Note the revision as Alembic does."""
    key = PrimaryKeyConstraint("version_num", name=f"{VERSIONS}_pkc")
    versions = Table(VERSIONS, MetaData(), Column("version_num", String(32), nullable=False), key)
    versions.create(connection, checkfirst=True)
    connection.execute(versions.insert().values(version_num=REVISION))


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """Give a connection in a transaction, kept whole or not at all, that one process at a time is in."""
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            yield connection
        return
    # Its driver begins no transaction before a statement that changes the schema. Foreign keys are off while a
    # table is made anew, and can only be switched outside of a transaction.
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
