"""The history of the schema, as Alembic's revisions; `pipeline/store/schema.py` decides when they are run."""

from pathlib import Path

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext, MigrationStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from pipeline.store.engine import NewerSchemaError


def script_directory() -> ScriptDirectory:
    """Return the revisions."""
    return ScriptDirectory(str(Path(__file__).parent))


def upgrade(connection: Connection, target: str = "head") -> None:
    """Change a database from the revision that it has to a newer one, in the connection's transaction.

    One without a revision is new, or of a release before there were any, which the first revision takes over.

    Raises:
        NewerSchemaError: The database is of a newer release.
    """
    script = script_directory()
    known = {revision.revision for revision in script.walk_revisions()}

    def steps(current: tuple[str, ...], _context: MigrationContext) -> list[MigrationStep]:
        if not known.issuperset(current):
            raise NewerSchemaError(current[0])
        wanted = list(script.iterate_revisions(target, current))
        return [MigrationStep.upgrade_from_script(script.revision_map, one) for one in reversed(wanted)]

    context = MigrationContext.configure(connection, opts={"fn": steps})
    with Operations.context(context):
        context.run_migrations()
