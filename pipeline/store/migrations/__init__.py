"""Alembic revisions of the schema; `pipeline/store/schema.py` decides when they run."""

from pathlib import Path

import sqlalchemy
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext, MigrationStep
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from pipeline.store.connection import Connection
from pipeline.store.schema import NewerSchemaError


def script_directory() -> ScriptDirectory:
    """Return the directory of the revisions."""
    return ScriptDirectory(str(Path(__file__).parent))


def migrate(connection: Connection) -> None:
    """Migrate a database to the newest revision. Several processes may do so at once.

    Raises:
        NewerSchemaError: The database belongs to a newer release.
        Exception: One of `Connection.errors`: the database cannot be read or changed.
    """
    url = f"{connection.url.driver}://"
    engine = sqlalchemy.create_engine(url, creator=lambda: connection.driver, poolclass=StaticPool)
    try:
        with engine.begin() as migrated:  # begins nothing: see `Connection.connect`
            connection.begin_migration()
            upgrade(migrated)
    except DBAPIError as error:
        raise error.orig or error from None
    finally:
        connection.close()


def upgrade(connection: sqlalchemy.Connection, target: str = "head") -> None:
    """Migrate a database to a newer revision, in the connection's transaction.

    A database without a revision is new or of an older release; the first revision accepts both.

    Raises:
        NewerSchemaError: The database belongs to a newer release.
    """
    script = script_directory()
    known = {revision.revision for revision in script.walk_revisions()}

    def steps(current: tuple[str, ...], _context: MigrationContext) -> list[MigrationStep]:
        if not known.issuperset(current):
            raise NewerSchemaError(current[0])
        missing = list(script.iterate_revisions(target, current))
        return [MigrationStep.upgrade_from_script(script.revision_map, one) for one in reversed(missing)]

    context = MigrationContext.configure(connection, opts={"fn": steps})
    with Operations.context(context):
        context.run_migrations()
