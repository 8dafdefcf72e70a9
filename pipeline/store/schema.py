"""Create the tables of a database, or migrate them from an older release.

Alembic migrates, with SQLAlchemy, which takes long to import: a database that is new or up to date is opened
without them.
"""

from collections.abc import Iterator

from pipeline.store.connection import Connection
from pipeline.store.row_reads import listed
from pipeline.store.tables import RUNS, TABLES, Column, Table

REVISION = "0014"
"""The newest revision in `pipeline/store/migrations/versions`, which creates the same schema as `TABLES`."""
VERSIONS = "alembic_version"
"""The table in which Alembic has the revision."""


class NewerSchemaError(Exception):
    """The database belongs to a newer release; `revision` is its schema."""

    def __init__(self, revision: str) -> None:
        super().__init__(revision)
        self.revision = revision


def update_schema(connection: Connection) -> None:
    """Create the tables, or migrate those of an older release. Several processes may call it at once.

    Raises:
        NewerSchemaError: The database belongs to a newer release.
        Exception: One of `Connection.errors`: the database cannot be read or changed.
    """
    if _revision(connection) == REVISION:
        return
    with connection.transaction():
        connection.lock_schema()
        found = _revision(connection)  # another process may have been faster
        if found is None and not connection.has_table(RUNS.name):
            for statement in (*create_tables(connection), *_stamp()):
                connection.change(statement)
            return
    if found != REVISION:
        from pipeline.store.migrations import migrate  # noqa: PLC0415 - imports Alembic and SQLAlchemy

        migrate(connection)


def create_tables(connection: Connection) -> Iterator[str]:
    """Yield the statements that create the tables in a kind of database."""
    for table in TABLES:
        lines = [_column(column, connection) for column in table]
        lines += [f"PRIMARY KEY ({listed(table.key)})", *_parents(table)]
        yield f"CREATE TABLE {table.name} (\n\t" + ",\n\t".join(lines) + "\n)"


def _column(column: Column, connection: Connection) -> str:
    kind = connection.type_names.get(column.type.sql, column.type.sql)
    return f'"{column.name}" {kind}{" NOT NULL" if column.is_required else ""}'


def _parents(table: Table) -> Iterator[str]:
    for column in table:
        if column.parent:
            yield f'FOREIGN KEY ("{column.name}") REFERENCES {column.parent} (id) ON DELETE CASCADE'


def _revision(connection: Connection) -> str | None:
    """Return the revision of a database; `None` where it is new, or older than the revisions."""
    if not connection.has_table(VERSIONS):
        return None
    found = connection.rows(f"SELECT version_num FROM {VERSIONS}")  # noqa: S608 - a constant
    return str(found[0][0]) if found else None


def _stamp() -> tuple[str, ...]:
    """Return the statements that write the revision as Alembic does."""
    columns = f"version_num VARCHAR(32) NOT NULL, CONSTRAINT {VERSIONS}_pkc PRIMARY KEY (version_num)"
    return (
        f"CREATE TABLE IF NOT EXISTS {VERSIONS} ({columns})",
        f"INSERT INTO {VERSIONS} (version_num) VALUES ('{REVISION}')",  # noqa: S608 - constants
    )
