"""What is shipped: the wheel, what importing it does, and which part may import which."""

import json
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("tasks", "containers", "pipeline")
SLOW = ("sqlalchemy", "github", "rich", "dagger", "yaml", "markdown_it", "httpx", "requests", "cryptography")
IMPORT_EACH = """
import importlib, json, os, pkgutil, sys, sysconfig

done = []
own = {"tasks", "containers", "pipeline"}

def watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        writes = (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) or set(mode or "") & set("wax+")
        if writes and path != os.devnull:
            done.append(f"{event} {arguments}")
    elif event.startswith(WATCHED):
        done.append(f"{event} {arguments}")

class Environment(dict):
    "Notes which module of the program looks at it."

    def look(self):
        frame = sys._getframe(2)
        while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in {"os", "collections", "_collections_abc"}:
            frame = frame.f_back
        name = frame.f_globals.get("__name__", "") if frame else ""
        if name.partition(".")[0] in own:
            done.append(f"{name} reads the environment")

    def __getitem__(self, key):
        self.look()
        return super().__getitem__(key)

    def get(self, key, default=None):
        self.look()
        return super().get(key, default)

    def __iter__(self):
        self.look()
        return super().__iter__()

    def __contains__(self, key):
        self.look()
        return super().__contains__(key)

    def items(self):
        self.look()
        return super().items()

    def copy(self):
        self.look()
        return super().copy()

WATCHED = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.mkdir",
           "os.remove", "os.rename", "os.rmdir", "os.chdir", "os.chmod", "os.link", "os.symlink", "os.putenv",
           "os.unsetenv", "shutil.", "tempfile.", "urllib.", "sqlite3.connect", "signal.")
names = []
for top in sorted(own):
    package = importlib.import_module(top)
    names += [top, *(module.name for module in pkgutil.walk_packages(package.__path__, top + "."))]
before = os.getcwd(), sorted(os.environ)
os.environ = Environment(os.environ)
sys.addaudithook(watch)
for name in names:
    importlib.import_module(name)
modules = [name for name in names if name not in sys.modules]
done += [f"{name} was not imported" for name in modules]
print(json.dumps({"names": names, "done": done}))
"""


def python(code: str, *arguments: str) -> str:
    """Run code in an interpreter of its own, in which nothing is imported yet, and return what it writes."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, *arguments],
        cwd=Path(sys.executable).parent,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel of this source tree."""
    directory = tmp_path_factory.mktemp("wheel")
    code = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, directory], cwd=ROOT, check=True, capture_output=True)
    (path,) = directory.iterdir()
    return zipfile.ZipFile(path)


def information(wheel: zipfile.ZipFile, name: str) -> bytes:
    """Return a file of the wheel's `.dist-info`."""
    (found,) = (item for item in wheel.namelist() if item.endswith(f".dist-info/{name}"))
    return wheel.read(found)


def test_the_wheel_has_the_three_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    source = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert shipped == source
    assert {f"{package}/py.typed" for package in PACKAGES} <= shipped


def test_the_wheel_has_the_licence(wheel: zipfile.ZipFile) -> None:
    assert information(wheel, "licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert message_from_bytes(information(wheel, "METADATA"))["License-Expression"] == "Apache-2.0"


def test_the_wheel_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    metadata = message_from_bytes(information(wheel, "METADATA"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (metadata["Name"], metadata["Version"]) == ("patchyard", project["version"])
    assert set(metadata["Requires-Python"].split(",")) == {">=3.11", "<3.15"}
    supported = {f"Programming Language :: Python :: 3.{minor}" for minor in range(11, 15)}
    assert supported <= set(metadata.get_all("Classifier", []))
    assert metadata.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_wheel_brings_the_command(wheel: zipfile.ZipFile) -> None:
    entries = information(wheel, "entry_points.txt").decode().split("\n\n")
    assert "[console_scripts]\npatchyard = pipeline.__main__:main" in [entry.strip() for entry in entries]


def test_the_command_knows_its_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    told = subprocess.run(
        [sys.executable, "-m", "pipeline", "--version"],
        cwd=Path(sys.executable).parent,
        check=True,
        capture_output=True,
        text=True,
    )
    assert told.stdout.strip().endswith(f"version {project['version']}")


def test_importing_does_nothing() -> None:
    """Every module, in an interpreter that notes each write, process, connection and look at the environment."""
    said = json.loads(python(IMPORT_EACH))
    assert {"tasks.model", "containers.git", "pipeline.cli", "pipeline.tables"} <= set(said["names"])
    assert said["done"] == []


def test_the_watch_over_imports_sees_what_it_should(tmp_path: Path) -> None:
    """The test above could pass because its watch is blind."""
    package = tmp_path / "tasks"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "busy.py").write_text(
        "import os, socket, subprocess, sys\n"
        "os.environ.get('HOME')\n"
        f"open({str(tmp_path / 'written')!r}, 'w').close()\n"
        "subprocess.run(['true'])\n"
        "socket.socket().close()\n"
    )
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n" + IMPORT_EACH.replace('"containers", ', "")
    done = json.loads(python(code.replace(', "pipeline"}', "}")))["done"]
    for event in ("tasks.busy reads the environment", "open", "subprocess.Popen", "socket."):
        assert any(event in item for item in done), f"{event} was not seen in {done}"


@pytest.mark.parametrize("module", ["pipeline.cli", "pipeline.running", "pipeline.__main__"])
def test_the_start_loads_no_slow_library(module: str) -> None:
    loaded = json.loads(python(f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"))
    assert module in loaded
    assert sorted(set(SLOW) & set(loaded)) == []


def test_imports_point_one_way() -> None:
    """The contracts of pyproject.toml: tasks <- containers <- pipeline, and nobody imports a door."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout
