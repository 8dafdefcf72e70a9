"""Connections to a PostgreSQL server."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from types import MappingProxyType
from typing import Any

import psycopg

from pipeline.store.connection import Connection
from pipeline.store.database_url import DatabaseUrl
from tasks.lazy.patterns import regex

DEFAULTS = {
    "application_name": "patchyard",
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "tcp_user_timeout": "30000",
}
"""Options of libpq that a URL may change: how long it waits for a server, in seconds and in milliseconds.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
"""
IDLE_TRANSACTION_LIMIT = 10_000
"""Milliseconds after which PostgreSQL rolls back an idle transaction.

Otherwise a stopped or disconnected host would keep others from claiming its run.
"""
SCHEMA_LOCK = 0x7061746368  # this program's key for advisory locks: "patch" in ASCII
_HOST_AND_PORT = regex(r"([\w.-]*):(\d*)", re.ASCII)


class PostgresqlConnection(Connection):
    """A connection to a PostgreSQL server, which may be cut while a step runs for an hour."""

    type_names = MappingProxyType({"BYTES": "BYTEA", "COUNTER": "SERIAL"})
    for_update = " FOR NO KEY UPDATE"
    is_shared = True
    errors = psycopg.Error

    def connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """Return a new connection, whose locks a stopped process cannot hold for long."""
        connection = psycopg.connect(autocommit=True, **_options_of(self.url))  # type: ignore[arg-type]  # any option of libpq
        try:
            connection.execute(f"SET idle_in_transaction_session_timeout = {IDLE_TRANSACTION_LIMIT}".encode())
        except BaseException:
            connection.close()
            raise
        return connection

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Execute a statement, and return all its rows."""
        found: list[tuple[Any, ...]] = self.driver.execute(_marked(statement), values).fetchall()
        return found

    def change(self, statement: str, values: Sequence[object] = ()) -> int:
        """Execute a statement, and return how many rows it changed."""
        changed: int = self.driver.execute(_marked(statement), values).rowcount
        return changed

    def change_each(self, statement: str, values: Iterable[Sequence[object]]) -> None:
        """Execute a statement once for each of several values."""
        with self.driver.cursor() as cursor:
            cursor.executemany(_marked(statement), values)

    def clock(self) -> datetime:
        """Return the current time of the server."""
        moment: datetime = self.rows("SELECT clock_timestamp()")[0][0]
        return moment

    def has_table(self, name: str) -> bool:
        """Whether there is a table of this name."""
        return self.rows("SELECT to_regclass(?)", (name,)) != [(None,)]

    def lock_schema(self) -> None:
        """Let no other process change the tables until the transaction ends."""
        self.rows("SELECT pg_advisory_xact_lock(?)", (SCHEMA_LOCK,))

    def begin_migration(self) -> None:
        """Begin a transaction in which tables are recreated."""
        self._begin(durable=True)
        self.lock_schema()

    def is_unavailable(self, error: Exception) -> bool:
        """Whether an error means that the server does not answer, or closed the connection."""
        if self._is_lost or (self._driver is not None and self._driver.closed):
            return True
        if not isinstance(error, psycopg.OperationalError):
            return False
        state = error.sqlstate
        return state is None or state.startswith(("08", "57P"))

    def is_full(self, error: Exception) -> bool:  # noqa: ARG002 - the message of the server says it
        """Whether an error is due to a full disk of this host."""
        return False

    def _begin(self, *, durable: bool) -> None:
        self.change("BEGIN")
        if not durable:
            self.change("SET LOCAL synchronous_commit = off")

    def _check(self) -> bool:
        try:
            self.rows("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def _in_transaction(self) -> bool:
        """Whether a transaction is open. A lost connection counts as one: it cannot be used again."""
        idle = psycopg.pq.TransactionStatus.IDLE
        return self._driver is not None and self._driver.info.transaction_status != idle


@cache
def _marked(statement: str) -> bytes:
    """Return a statement with the driver's placeholders."""
    return statement.replace("?", "%s").encode()


def _options_of(url: DatabaseUrl) -> dict[str, object]:
    """Return the options of libpq for a URL, whose query may name several hosts.

    Both forms are accepted: `host=a,b&port=1,2` of libpq, and `host=a:1&host=b:2`.
    """
    options: dict[str, object] = {
        name: value
        for name, value in (
            ("host", url.host),
            ("port", url.port),
            ("user", url.username),
            ("password", url.password),
            ("dbname", url.database),
        )
        if value
    }
    options |= {name: ",".join(values) for name, values in url.query.items()}
    hosts = url.query.get("host", ())
    if "port" not in url.query and (len(hosts) > 1 or any(map(_HOST_AND_PORT.fullmatch, hosts))):
        pairs = [host.partition(":") for host in hosts]
        options["host"] = ",".join(host for host, _, _ in pairs)
        if any(port for _, _, port in pairs):
            options["port"] = ",".join(port for _, _, port in pairs)
    return {**DEFAULTS, **options}
