"""Reach the tables of a database past the store."""

from sqlalchemy import Engine, create_engine, make_url

from pipeline.store.database_url import url_of


def engine_of(database: str) -> Engine:
    """Return an engine of SQLAlchemy for the URL of a database."""
    return create_engine(make_url(database.strip()).set(drivername=url_of(database).driver))
