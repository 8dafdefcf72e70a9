"""Patches in rows of at most a megabyte, which are written and read one at a time."""

import hashlib
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

CHUNK = 1 << 20
PIECE = 16 * CHUNK
"""Bytes that are read at once: to read a part of a value, SQLite reads the whole value."""


def upgrade() -> None:
    """Move the patches to a table of their own; an attempt names the patch that it gave its task, too."""
    op.create_table(
        "patch_chunks",
        sa.Column("run", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("sha256", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    for table in ("tasks", "attempts"):
        op.add_column(table, sa.Column("patch_sha256", sa.Text))
        op.add_column(table, sa.Column("patch_size", sa.Integer))
    _move("tasks", "run", "task")
    _move("attempts", "run", "task", "number")
    _name_in_attempts()
    for table in ("tasks", "attempts"):
        with op.batch_alter_table(table) as batch:
            batch.drop_column("patch")


def _move(table: str, *key: str) -> None:
    connection = op.get_bind()
    names = ", ".join(key)
    rows = connection.execute(
        sa.text(f"SELECT {names}, length(patch) FROM {table} WHERE patch IS NOT NULL")  # noqa: S608 - constants
    ).all()
    where = " AND ".join(f"{name} = :{name}" for name in key)
    for *values, size in rows:
        one = dict(zip(key, values, strict=True))
        digest = hashlib.sha256()
        for piece in _pieces(table, where, one, size):
            digest.update(piece)
        sha256 = digest.hexdigest()
        number = 0
        for piece in _pieces(table, where, one, size):
            for start in range(0, len(piece), CHUNK):
                _insert(one["run"], sha256, number, piece[start : start + CHUNK])
                number += 1
        connection.execute(
            sa.text(
                f"UPDATE {table} SET patch_sha256 = :sha256, patch_size = :size, patch = NULL WHERE {where}"  # noqa: S608 - as above
            ),
            {**one, "sha256": sha256, "size": size},
        )


def _pieces(table: str, where: str, one: dict[str, str | int], size: int) -> Iterator[bytes]:
    query = sa.text(f"SELECT substr(patch, :first, :count) FROM {table} WHERE {where}")  # noqa: S608 - as above
    for first in range(1, size + 1, PIECE):
        yield bytes(op.get_bind().execute(query, {**one, "first": first, "count": PIECE}).scalar_one())


def _insert(run: str | int, sha256: str, number: int, data: bytes) -> None:
    """Add a row; a patch of a task and of an attempt of it is stored once."""
    op.get_bind().execute(
        sa.text("INSERT INTO patch_chunks VALUES (:run, :sha256, :number, :data) ON CONFLICT DO NOTHING"),
        {"run": run, "sha256": sha256, "number": number, "data": data},
    )


def _name_in_attempts() -> None:
    same = "tasks.run = attempts.run AND tasks.task = attempts.task AND tasks.attempt = attempts.number"
    there = f"EXISTS (SELECT 1 FROM tasks WHERE {same} AND tasks.redo IS NOT TRUE AND patch_sha256 IS NOT NULL)"  # noqa: S608 - constants
    for name in ("tree", "patch_sha256", "patch_size"):
        op.execute(f"UPDATE attempts SET {name} = (SELECT tasks.{name} FROM tasks WHERE {same}) WHERE {there}")  # noqa: S608 - as above
