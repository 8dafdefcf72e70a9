"""Where the database is: its URL, as people give it and as it may be shown, and the way to it."""

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
"""What a URL may begin with, and what SQLAlchemy calls it."""
HIDDEN = "***"
PATIENCE = {"connect_timeout": "10", "keepalives_idle": "30", "tcp_user_timeout": "30000"}
"""How long libpq waits for a server that says nothing, in seconds (the last in milliseconds)."""
BUSY, AGAIN = 30, 0.01
"""Seconds for which a SQLite database is waited for that another process has locked, and between two tries."""
STANDSTILL = 10_000
"""Milliseconds after which PostgreSQL takes back what a process has begun to write and does not go on with.

A host that is paused, or whose network is gone, would keep others from taking its run over.
"""


class DatabaseError(PatchyardError):
    """The database that was named is none that this program can use."""

    exit_code: ClassVar[int] = 2


class NewerSchemaError(Exception):
    """The database is of a newer release; `revision` is its schema."""

    def __init__(self, revision: str) -> None:
        super().__init__(revision)
        self.revision = revision


def url_of(text: str) -> "URL":
    """Return the URL of a database that a person named, such as `postgresql://user@host/name`.

    Raises:
        DatabaseError: It names no PostgreSQL or SQLite database. Does not repeat it: it may hold a password.
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
    """Return SQLAlchemy's engine for a database. Connects to nothing yet."""
    from sqlalchemy import create_engine, event  # noqa: PLC0415 - slow

    if url.get_backend_name() == "sqlite":
        engine = create_engine(url)
        event.listen(engine, "connect", _prepare_sqlite)
        return engine
    defaults = {"application_name": "patchyard", **PATIENCE}
    told = {name: value for name, value in defaults.items() if name not in url.query}
    # A connection may be cut while a step runs for an hour; that is seen before it is used again.
    engine = create_engine(url, connect_args=told, pool_pre_ping=True)
    event.listen(engine, "connect", _prepare_postgresql)
    return engine


def _prepare_postgresql(connection: Any, _record: object) -> None:  # noqa: ANN401 - see below
    """Let a process that stands still in the middle of a write hold its locks no longer than that."""
    connection.execute(f"SET idle_in_transaction_session_timeout = {STANDSTILL}")
    connection.commit()


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - DBAPI connections have no common type
    """Make commits durable and let readers go on while one process writes."""
    connection.execute(f"PRAGMA busy_timeout={BUSY * 1000}")
    _write_ahead(connection)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _write_ahead(connection: Any) -> None:  # noqa: ANN401 - see above
    """Have a SQLite database write ahead, which stays so.

    The change needs the database for itself, and SQLite does not wait for that as it does for other locks:
    where several open a new one at once, whoever is too late tries again.
    """
    from sqlite3 import OperationalError  # noqa: PLC0415 - loaded by now

    end = monotonic() + BUSY
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except OperationalError as error:
            if "locked" not in str(error) or monotonic() > end:
                raise
            sleep(AGAIN)
        else:
            return


def _check_driver() -> None:
    """Refuse PostgreSQL where its driver is not installed, or lacks PostgreSQL's own library."""
    try:
        import psycopg  # noqa: F401, PLC0415 - an extra
    except ImportError:
        raise DatabaseError(
            "PostgreSQL needs patchyard's extra `postgres`: `pip install 'patchyard[postgres]'`"
        ) from None


def is_away(error: "SQLAlchemyError") -> bool:
    """Whether an error says that a server does not answer or hung up, and nothing of what it was asked."""
    from sqlalchemy.exc import DBAPIError, OperationalError  # noqa: PLC0415 - slow

    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if not isinstance(error, OperationalError):
        return False
    state = getattr(error.orig, "sqlstate", "")  # SQLite's have no such state, and no server
    return state is None or state.startswith(("08", "57P"))


def shown(url: "URL") -> str:
    """Return a URL without its passwords."""
    query = {key: value for key, value in url.query.items() if "password" not in key}
    return url.set(query=query).render_as_string(hide_password=True)


def without_passwords(message: str, url: "URL") -> str:
    """Return a message of the database without the passwords of its URL."""
    passwords = [url.password, *(value for key, value in url.query.items() if "password" in key)]
    for password in passwords:
        if isinstance(password, str) and password:
            message = message.replace(password, HIDDEN)
    return message
