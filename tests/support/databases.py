"""Reach the tables of a database past the store."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine, make_url

from pipeline.store.database_url import url_of


@contextmanager
def engine_of(database: str) -> Iterator[Engine]:
    """Yield an engine of SQLAlchemy for the URL of a database, and close its connections at the end."""
    engine = create_engine(make_url(database.strip()).set(drivername=url_of(database).driver))
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def transaction_of(database: str) -> Iterator[Connection]:
    """Yield a connection to the database at a URL, in a transaction that is committed at the end."""
    with engine_of(database) as engine, engine.begin() as connection:
        yield connection
