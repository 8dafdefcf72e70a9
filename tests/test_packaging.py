"""The wheel, the side effects of imports, and the import rules."""

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("tasks", "containers", "pipeline")
SLOW = (
    "sqlalchemy",
    "github",
    "rich",
    "dagger",
    "yaml",
    "markdown_it",
    "httpx",
    "requests",
    "cryptography",
    "jinja2",
    "fastapi",
)
WATCH = Path(__file__).parent / "support" / "watch_imports.py"


def python(*arguments: str | Path, search: Path | None = None) -> str:
    """Run a new interpreter, and return its output."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-B", *arguments],
        cwd=Path(sys.executable).parent,
        check=False,
        capture_output=True,
        text=True,
        env={**environ, **({"PYTHONPATH": str(search)} if search else {})},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build a wheel from this source tree."""
    directory = tmp_path_factory.mktemp("wheel")
    code = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, directory], cwd=ROOT, check=True, capture_output=True)
    (path,) = directory.iterdir()
    return zipfile.ZipFile(path)


def information(wheel: zipfile.ZipFile, name: str) -> bytes:
    """Return a file of the wheel's `.dist-info`."""
    (found,) = (item for item in wheel.namelist() if item.endswith(f".dist-info/{name}"))
    return wheel.read(found)


def test_wheel_has_only_the_three_packages(wheel: zipfile.ZipFile) -> None:
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    source = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert shipped == source
    assert {f"{package}/py.typed" for package in PACKAGES} <= shipped


def test_wheel_has_the_license(wheel: zipfile.ZipFile) -> None:
    assert information(wheel, "licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert message_from_bytes(information(wheel, "METADATA"))["License-Expression"] == "Apache-2.0"


def test_wheel_metadata_matches_the_project(wheel: zipfile.ZipFile) -> None:
    metadata = message_from_bytes(information(wheel, "METADATA"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (metadata["Name"], metadata["Version"]) == ("patchyard", project["version"])
    assert set(metadata["Requires-Python"].split(",")) == {">=3.11", "<3.15"}
    supported = {f"Programming Language :: Python :: 3.{minor}" for minor in range(11, 15)}
    assert supported <= set(metadata.get_all("Classifier", []))
    assert metadata.get_payload(decode=True) == (ROOT / "README.md").read_bytes()


def test_wheel_installs_the_command(wheel: zipfile.ZipFile) -> None:
    entries = information(wheel, "entry_points.txt").decode().split("\n\n")
    assert "[console_scripts]\npatchyard = pipeline.__main__:main" in [entry.strip() for entry in entries]


def test_command_prints_its_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert python("-m", "pipeline", "--version").strip().endswith(f"version {project['version']}")


def test_imports_have_no_side_effects() -> None:
    watched = json.loads(python(WATCH, *PACKAGES))
    assert {"tasks.model", "containers.git.repository", "pipeline.cli.main", "pipeline.store.tables"} <= set(
        watched["names"]
    )
    assert watched["done"] == []


def test_side_effects_of_imports_are_detected(tmp_path: Path) -> None:
    """Guard against a test above that passes because nothing is detected."""
    package = tmp_path / "busy"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "module.py").write_text(
        "import os, socket, subprocess\n"
        "os.environ.get('HOME')\n"
        f"open({str(tmp_path / 'written')!r}, 'w').close()\n"
        "subprocess.run(['true'])\n"
        "socket.socket().close()\n"
    )
    done = json.loads(python(WATCH, "busy", search=tmp_path))["done"]
    for event in ("busy.module reads the environment", "open", "subprocess.Popen", "socket."):
        assert any(item.startswith(event) for item in done), f"{event} was not seen in {done}"


@pytest.mark.parametrize("module", ["pipeline.cli.main", "pipeline.cli.commands.run", "pipeline.__main__"])
def test_start_up_loads_no_slow_library(module: str) -> None:
    loaded = json.loads(python("-c", f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"))
    assert module in loaded
    assert sorted(set(SLOW) & set(loaded)) == []


def test_import_contracts_hold() -> None:
    """The contracts are in pyproject.toml: layers, and entry points that do not import each other."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout
