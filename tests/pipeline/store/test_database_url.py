"""Test database URLs, and that their passwords are hidden."""

import string
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from pipeline.store.database_url import DatabaseError, url_of


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("postgresql://user@host/name", "postgresql+psycopg"),
        ("postgres://user@host:5433/name?sslmode=require", "postgresql+psycopg"),
        ("postgresql+psycopg:///name?host=/run/postgresql", "postgresql+psycopg"),
        (" postgresql://user@host/name\n", "postgresql+psycopg"),
        ("sqlite:////var/lib/patchyard.db", "sqlite"),
        ("sqlite:///beside.db", "sqlite"),
    ],
)
def test_url_has_the_installed_driver(given: str, driver: str) -> None:
    assert url_of(given).driver == driver


def test_connection_options_in_the_url_are_kept() -> None:
    url = url_of("postgresql://user:se%40cret@host:5433/name?sslmode=require&connect_timeout=3")
    assert (url.username, url.password, url.host, url.port) == ("user", "se@cret", "host", 5433)
    assert url.query == {"sslmode": ("require",), "connect_timeout": ("3",)}


@pytest.mark.parametrize(
    "given",
    [
        "",
        "name",
        "/var/lib/patchyard.db",
        "mysql://user:hunter2@host/name",
        "postgresql://user:hunter2@host",
        "postgresql://user:hunter2@host:port/name",
        "sqlite://",
        "sqlite:///:memory:",
        "://user:hunter2@host/name",
    ],
)
def test_invalid_url_is_reported_without_repeating_it(given: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        url_of(given)
    assert str(caught.value) == (
        "--database (or PATCHYARD_DATABASE) is not the URL of a database; "
        "write postgresql://user@host/name or sqlite:////absolute/path"
    )
    assert caught.value.exit_code == 2
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_passwords_are_hidden_in_urls() -> None:
    url = url_of("postgresql://user:hunter2@host/name?sslmode=require&password=hunter3&sslpassword=hunter4")
    assert str(url) == "postgresql+psycopg://user:***@host/name?sslmode=require"
    assert str(url_of("sqlite:////a/b.db")) == "sqlite:////a/b.db"


def test_passwords_are_hidden_in_messages() -> None:
    url = url_of("postgresql://user:hunter2@host/name?sslpassword=hunter4")
    assert url.without_passwords("no hunter2 nor hunter4") == "no *** nor ***"
    assert url_of("postgresql://user@host/name").without_passwords("no password") == "no password"


def test_missing_postgresql_driver_names_the_extra() -> None:
    code = (
        "import sys\n"
        "sys.modules['psycopg'] = None  # as if it were not installed\n"
        "from pipeline.store.database_url import DatabaseError, url_of\n"
        "print(url_of('sqlite:////a/b.db'))\n"
        "try:\n"
        "    url_of('postgresql://user:hunter2@host/name')\n"
        "except DatabaseError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "sqlite:////a/b.db",
        "PostgreSQL needs patchyard's extra `postgres`: from a clone, `uv tool install '.[postgres]'`",
    ]


PARTS = st.text(string.ascii_letters + string.digits + "-._~%+@:/?#[]!$&'()*,;= é\\", max_size=6)
DRIVERS = ("postgresql", "postgres", "sqlite", "mysql")


@given(st.sampled_from(DRIVERS), PARTS, PARTS, PARTS, PARTS, PARTS)
@example("postgresql", "u", "p#?/", "[::1]", ":5432", "/n%20a?host=a:1&host=b:2&k=1&k=2")
@example("postgresql", "", "", "", "", "/t?host=/run/x")
@example("sqlite", "", "", "", "", "//a/b c%3F.db?timeout=3")
def test_parts_of_a_url_are_those_that_sqlalchemy_finds(  # noqa: PLR0913, PLR0917 - the parts of a URL
    driver: str, user: str, password: str, host: str, port: str, rest: str
) -> None:
    """Databases of earlier releases are named by URLs that SQLAlchemy read."""
    login = f"{user}:{password}@" if password else f"{user}@" if user else ""
    text = f"{driver}://{login}{host}{port}{rest}"
    expected = _by_sqlalchemy(text)
    try:
        found = url_of(text)
    except DatabaseError:
        assert expected is None or not _is_usable(expected)
        return
    assert expected is not None
    assert (found.username, found.password) == (expected.username, expected.password)
    assert (found.host, found.port, found.database) == (expected.host, expected.port, expected.database)
    assert found.query == expected.normalized_query


def _by_sqlalchemy(text: str) -> URL | None:
    try:
        return make_url(text.strip())
    except (ArgumentError, ValueError):
        return None


def _is_usable(url: URL) -> bool:
    has_server = bool(url.username or url.password or url.host or url.port)
    if url.database in {None, "", ":memory:"}:
        return False
    return url.drivername in {"postgresql", "postgres"} or (url.drivername == "sqlite" and not has_server)
