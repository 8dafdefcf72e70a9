"""A PostgreSQL server for tests, which ends with them.

As a script it supervises the server: it creates one, prints where it is, and stops it at the end of its
standard input, which is closed however the tests end.

usage: postgres.py DIRECTORY-OF-PROGRAMS
"""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

NONE = "no PostgreSQL is installed"
"""Prefix of the skip reason of tests that need it."""
REQUIRED = "PATCHYARD_REQUIRE_POSTGRES"
DEBIAN = Path("/usr/lib/postgresql")
WITH_ICU = 15
PATIENCE = 60.0
"""Longest time that the server may take to start, in seconds."""
LEFT = ("PG", "PSQL")
"""Prefixes of the variables that change how PostgreSQL's programs behave; they are not passed on."""


def programs() -> Path | None:
    """Return the directory of the newest server's programs, or `None` if none is installed."""
    found = [path.parent for path in DEBIAN.glob("*/bin/postgres") if path.with_name("initdb").exists()]
    if found:
        return max(found, key=_version)
    server = shutil.which("postgres")
    return Path(server).resolve().parent if server and shutil.which("initdb") else None


def _version(directory: Path) -> float:
    name = directory.parent.name
    return float(name) if name.replace(".", "", 1).isdigit() else WITH_ICU


@dataclass(frozen=True)
class Cluster:
    """A running server: the directory of its socket, and its process id."""

    host: str
    pid: int

    def url(self, database: str, *, user: str = "tests", password: str | None = None) -> str:
        """Return the URL of a database, with a password only if one is given."""
        return f"postgresql://{user}{f':{password}' if password else ''}@/{database}?host={self.host}"

    def do(self, statement: str, *values: object, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Execute a statement outside of a transaction, and return its rows."""
        import psycopg  # noqa: PLC0415 - only needed if there is a server

        with psycopg.connect(dbname=database, user="tests", host=self.host, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def database(self) -> Iterator[str]:
        """Yield the URL of a new database, which is dropped at the end."""
        name = f"t{uuid4().hex}"
        self.do(f'CREATE DATABASE "{name}"')
        try:
            yield self.url(name)
        finally:
            self.do(f'DROP DATABASE "{name}" WITH (FORCE)')

    def cut(self, url: str) -> int:
        """Terminate every connection to a database, and return their number."""
        name = url.partition("@/")[2].partition("?")[0]
        return len(self.do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", name))


@contextmanager
def serving(directory: Path) -> Iterator[Cluster]:
    """Run a server with the programs in a directory."""
    # A session of its own, so that Ctrl-C ends only the tests; then the supervisor stops the server.
    supervisor = subprocess.Popen(
        [sys.executable, __file__, directory],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with supervisor:
        line = supervisor.stdout.readline() if supervisor.stdout else ""
        if not line:
            raise RuntimeError(f"PostgreSQL did not start: {supervisor.communicate()[1]}")
        yield Cluster(**json.loads(line))
        supervisor.communicate(timeout=PATIENCE)


# The supervisor, which runs as a script.


def _user() -> str | None:
    """Return the user that the server runs as, since it rejects root; `None` is the current user."""
    if os.geteuid():
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in known)


def _initialise(directory: Path, data: Path, user: str | None, environ: dict[str, str]) -> None:
    # A collation that does not sort by bytes, like that of most servers.
    icu = ["--locale-provider=icu", "--icu-locale=en-US"] if _version(directory) >= WITH_ICU else []
    subprocess.run(
        [
            *(directory / "initdb", "--pgdata", data, "--username=tests", "--auth=trust"),
            *("--encoding=UTF8", "--locale=C", "--no-sync", *icu),
        ],
        check=True,
        user=user,
        stdout=subprocess.DEVNULL,
        env=environ,
        cwd="/",
    )


def _serve(directory: Path, home: Path, user: str | None) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(LEFT)}
    data = home / "data"
    _initialise(directory, data, user, environ)
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(home),
        "shared_buffers": "16MB",
        "max_connections": "200",
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [directory / "postgres", "-D", data, *options],
            user=user,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environ,
            cwd="/",
        )
    with server:
        try:
            _wait(server, [directory / "pg_isready", "--quiet", "--host", home], home / "log")
            print(json.dumps({"host": str(home), "pid": server.pid}), flush=True)  # noqa: T201 - the output of the script
            sys.stdin.read()
        finally:
            _end(server)


def _wait(server: "subprocess.Popen[bytes]", ready: list[str | Path], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while subprocess.run(ready, check=False).returncode:
        if server.poll() is not None or time.monotonic() > end:
            raise SystemExit(log.read_text(errors="replace"))
        time.sleep(0.02)


def _end(server: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        server.send_signal(number)
        try:
            server.wait(PATIENCE / 4)
        except subprocess.TimeoutExpired:
            continue
        return


def main() -> None:
    """Run a server until the end of standard input."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    # The path of a socket must be short, and its directory accessible to the user of the server.
    home = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    user = _user()
    try:
        if user:
            shutil.chown(home, user)
        _serve(Path(sys.argv[1]), home, user)
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
