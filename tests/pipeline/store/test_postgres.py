"""Test the PostgreSQL server of the tests: its configuration and its end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from postgres import Cluster, programs
from project import runs, wait_for

SUPPORT = Path(__file__).parents[2] / "support"
pytestmark = pytest.mark.postgres


def test_cluster_is_configured_like_one_in_production(cluster: Cluster) -> None:
    assert cluster.do("SHOW fsync") == [("on",)]
    assert cluster.do("SHOW full_page_writes") == [("on",)]
    assert cluster.do("SHOW synchronous_commit") == [("on",)]
    assert cluster.do("SHOW listen_addresses") == [("",)]


def test_each_test_has_a_new_database_that_is_dropped(cluster: Cluster) -> None:
    def there() -> set[str]:
        return {name for (name,) in cluster.do("SELECT datname FROM pg_database")}

    with cluster.database() as one, cluster.database() as other:
        own = {url.partition("@/")[2].partition("?")[0] for url in (one, other)}
        assert len(own) == 2
        assert own <= there()
    assert own.isdisjoint(there())


def test_cluster_stops_when_the_tests_are_killed(cluster: Cluster) -> None:
    code = (
        "import postgres, sys, time\n"
        "with postgres.serving(postgres.programs()) as cluster:\n"
        "    print(cluster.pid, cluster.host, flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as tests:
        assert tests.stdout is not None
        pid, _, host = tests.stdout.readline().strip().partition(" ")
        assert runs([int(pid)]) == [int(pid)]
        assert Path(host).is_dir()
        os.kill(tests.pid, signal.SIGKILL)

    wait_for(lambda: not runs([int(pid)]) and not Path(host).exists(), "the end of the server")
    assert cluster.do("SELECT 1") == [(1,)]


def test_tests_are_skipped_with_one_line_without_postgresql(tmp_path: Path) -> None:
    assert programs() is not None
    conftest = SUPPORT.parent / "conftest.py"
    (tmp_path / "conftest.py").write_text(
        "import importlib.util, sys\n"
        "import postgres\n"
        "postgres.programs = lambda: None\n"
        f"spec = importlib.util.spec_from_file_location('real', {str(conftest)!r})\n"
        "real = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(real)\n"
        "cluster, postgres = real.cluster, real.postgres\n"
        "pytest_terminal_summary = real.pytest_terminal_summary\n"
    )
    (tmp_path / "test_it.py").write_text("def test_one(postgres): pass\ndef test_two(postgres): pass\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", str(tmp_path)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}

    def outcome(**more: str) -> tuple[int, str]:
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**environ, "PYTHONPATH": str(SUPPORT), **more},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    code, said = outcome()
    assert (code, said.splitlines()[-2]) == (0, "PostgreSQL tests: 2 left out, no PostgreSQL is installed")
    code, said = outcome(PATCHYARD_REQUIRE_POSTGRES="1")
    assert code == 1
    assert "no PostgreSQL is installed" in said
    assert "left out" not in said
