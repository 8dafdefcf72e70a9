"""URL of the database, and SQLAlchemy's engine for it."""

from pathlib import Path
from shutil import disk_usage
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, ClassVar

from tasks.errors import PatchyardError

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine
    from sqlalchemy.exc import SQLAlchemyError

VARIABLE = "PATCHYARD_DATABASE"
DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
}
"""URL schemes that are accepted, and SQLAlchemy's names for them."""
HIDDEN = "***"
TIMEOUTS = {"connect_timeout": "10", "keepalives_idle": "30", "tcp_user_timeout": "30000"}
"""How long libpq waits for a server, in seconds; `tcp_user_timeout` in milliseconds.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
"""
SMALLEST_ROOM = 1 << 17
"""Bytes that SQLite may need for a commit; with less on its disk, an I/O error is taken for a full disk."""
LOCK_WAIT, LOCK_RETRY = 30, 0.01
"""Seconds to wait for a SQLite database that another process has locked, and between two attempts."""
IDLE_TRANSACTION_LIMIT = 10_000
"""Milliseconds after which PostgreSQL rolls back an idle transaction.

Otherwise a stopped or disconnected host would keep others from claiming its run.
"""


class DatabaseError(PatchyardError):
    """The URL does not name a database that patchyard can use."""

    exit_code: ClassVar[int] = 2


class NewerSchemaError(Exception):
    """The database belongs to a newer release; `revision` is its schema."""

    def __init__(self, revision: str) -> None:
        super().__init__(revision)
        self.revision = revision


def url_of(text: str) -> "URL":
    """Return the URL of a database that a user gave, such as `postgresql://user@host/name`.

    Raises:
        DatabaseError: It is not the URL of a PostgreSQL or SQLite database. The message does not contain it,
            since it may hold a password.
    """
    from sqlalchemy import make_url  # noqa: PLC0415 - slow
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 - slow

    try:
        url = make_url(text.strip())
    except (ArgumentError, ValueError):
        raise DatabaseError(_WRONG) from None
    driver = DRIVERS.get(url.drivername)
    if driver is None or not url.database or url.database == ":memory:":
        raise DatabaseError(_WRONG)
    if driver != "sqlite":
        _check_driver()
    return url.set(drivername=driver)


_WRONG = (
    f"--database (or {VARIABLE}) is not the URL of a database; "
    "write postgresql://user@host/name or sqlite:////absolute/path"
)


def engine_of(url: "URL") -> "Engine":
    """Return SQLAlchemy's engine for a database, without connecting."""
    from sqlalchemy import create_engine, event  # noqa: PLC0415 - slow

    if url.get_backend_name() == "sqlite":
        engine = create_engine(url)
        event.listen(engine, "connect", _prepare_sqlite)
        return engine
    defaults = {"application_name": "patchyard", **TIMEOUTS}
    arguments = {name: value for name, value in defaults.items() if name not in url.query}
    # A connection may be cut while a step runs for an hour; a ping detects that before it is used again.
    engine = create_engine(url, connect_args=arguments, pool_pre_ping=True)
    event.listen(engine, "connect", _prepare_postgresql)
    return engine


def _prepare_postgresql(connection: Any, _record: object) -> None:  # noqa: ANN401 - see below
    """Limit how long a stopped process can hold its locks."""
    connection.execute(f"SET idle_in_transaction_session_timeout = {IDLE_TRANSACTION_LIMIT}")
    connection.commit()


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - DBAPI connections have no common type
    """Make commits durable, and do not block readers while a process writes."""
    connection.execute(f"PRAGMA busy_timeout={LOCK_WAIT * 1000}")
    _write_ahead(connection)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _write_ahead(connection: Any) -> None:  # noqa: ANN401 - see above
    """Set the persistent journal mode WAL.

    The change needs an exclusive lock, and SQLite does not apply `busy_timeout` to it: when several processes
    open a new database at once, the later ones have to retry.
    """
    from sqlite3 import OperationalError  # noqa: PLC0415 - loaded by now

    end = monotonic() + LOCK_WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except OperationalError as error:
            if "locked" not in str(error) or monotonic() > end:
                raise
            sleep(LOCK_RETRY)
        else:
            return


def _check_driver() -> None:
    """Check that the driver for PostgreSQL is installed, with libpq."""
    try:
        import psycopg  # noqa: F401, PLC0415 - an extra
    except ImportError:
        raise DatabaseError(
            "PostgreSQL needs patchyard's extra `postgres`: from a clone, `uv tool install '.[postgres]'`"
        ) from None


def is_unavailable(error: "SQLAlchemyError") -> bool:
    """Whether an error means that the server does not answer or closed the connection, whatever the query."""
    from sqlalchemy.exc import DBAPIError, OperationalError  # noqa: PLC0415 - slow

    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if not isinstance(error, OperationalError):
        return False
    state = getattr(error.orig, "sqlstate", "")  # missing in SQLite's errors
    return state is None or state.startswith(("08", "57P"))


def is_full(url: "URL", reason: str) -> bool:
    """Whether an error of SQLite is due to a full disk, which it also calls an I/O error."""
    if url.get_backend_name() != "sqlite" or not url.database:
        return False
    if reason == "database or disk is full":
        return True
    try:
        return reason == "disk I/O error" and disk_usage(Path(url.database).parent).free < SMALLEST_ROOM
    except OSError:
        return False


def url_without_passwords(url: "URL") -> str:
    """Return a URL without its passwords."""
    query = {key: value for key, value in url.query.items() if "password" not in key}
    return url.set(query=query).render_as_string(hide_password=True)


def message_without_passwords(message: str, url: "URL") -> str:
    """Return a message of the database without the passwords of its URL."""
    passwords = [url.password, *(value for key, value in url.query.items() if "password" in key)]
    for password in passwords:
        if isinstance(password, str) and password:
            message = message.replace(password, HIDDEN)
    return message
