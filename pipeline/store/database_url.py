"""URL of the database: parsed and shown as SQLAlchemy does, without importing it."""

from collections.abc import Mapping
from dataclasses import field
from typing import ClassVar
from urllib.parse import parse_qsl, quote, quote_plus, unquote

from tasks.errors import PatchyardError
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex

VARIABLE = "PATCHYARD_DATABASE"
SQLITE, POSTGRESQL = "sqlite", "postgresql+psycopg"
DRIVERS = {
    "postgresql": POSTGRESQL,
    "postgres": POSTGRESQL,
    "postgresql+psycopg": POSTGRESQL,
    "sqlite": SQLITE,
    "sqlite+pysqlite": SQLITE,
}
"""URL schemes that are accepted, and how they are shown."""
HIDDEN = "***"
_URL = regex(
    r"(?P<driver>[\w+]+)://"
    r"(?:(?P<username>[^:/]*)(?::(?P<password>[^@]*))?@)?"
    r"(?:\[(?P<address>[^/?]+)\]|(?P<host>[^/:?]+))?(?::(?P<port>[^/?]*))?"
    r"(?:/(?P<database>[^?]*))?(?:\?(?P<query>.*))?"
)


class DatabaseError(PatchyardError):
    """The URL does not name a database that patchyard can use."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """The URL of a database; `str` of it has no passwords.

    Attributes:
        driver: `sqlite` or `postgresql+psycopg`.
        database: The name of the database, or the path of the file.
        username: The user; `None` for the default of libpq, as for the next two.
        password: Theirs.
        host: The host.
        port: The port.
        query: Options of the connection, each with one value, or several.
    """

    driver: str
    database: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    host: str | None = None
    port: int | None = None
    query: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        """Return the URL without its passwords."""
        user = "" if self.username is None else quote(self.username, safe=" +")
        password = "" if self.password is None else f":{HIDDEN}"
        host = self.host or ""
        host = f"[{host}]" if ":" in host else host
        query = "&".join(
            f"{quote_plus(key)}={quote_plus(value)}"
            for key in sorted(self.query)
            for value in self.query[key]
            if "password" not in key
        )
        return "".join(
            (
                f"{self.driver}://",
                f"{user}{password}@" if self.username is not None else "",
                host,
                "" if self.port is None else f":{self.port}",
                f"/{quote(self.database, safe=' +/')}",
                f"?{query}" if query else "",
            )
        )

    def without_passwords(self, message: str) -> str:
        """Return a message of the database without the passwords of this URL."""
        for key, values in {"password": (self.password,), **self.query}.items():
            for value in values:
                if value and "password" in key:
                    message = message.replace(value, HIDDEN)
        return message


def url_of(text: str) -> DatabaseUrl:
    """Return the URL of a database that a user gave, such as `postgresql://user@host/name`.

    Raises:
        DatabaseError: It is not the URL of a PostgreSQL or SQLite database. The message does not contain it,
            since it may hold a password.
    """
    found = _URL.match(text.strip())
    if found is None:
        raise DatabaseError(_WRONG)
    driver, host = DRIVERS.get(found["driver"]), found["address"] or found["host"]
    database = unquote(found["database"] or "")
    port = found["port"]
    if driver is None or not database or database == ":memory:" or not (port is None or port.isdecimal()):
        raise DatabaseError(_WRONG)
    username, password = (
        None if part is None else unquote(part) for part in found.group("username", "password")
    )
    if driver == POSTGRESQL:
        _check_driver()
    elif username or password or host or port:
        raise DatabaseError(_WRONG)
    query: dict[str, tuple[str, ...]] = {}
    for key, value in parse_qsl(found["query"] or ""):
        query[key] = (*query.get(key, ()), value)
    return DatabaseUrl(driver, database, username, password, host, None if port is None else int(port), query)


_WRONG = (
    f"--database (or {VARIABLE}) is not the URL of a database; "
    "write postgresql://user@host/name or sqlite:////absolute/path"
)


def _check_driver() -> None:
    """Check that the driver for PostgreSQL is installed, with libpq."""
    try:
        import psycopg  # noqa: F401, PLC0415 - an extra
    except ImportError:
        raise DatabaseError(
            "PostgreSQL needs patchyard's extra `postgres`: from a clone, `uv tool install '.[postgres]'`"
        ) from None
