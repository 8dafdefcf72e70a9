"""The files of settings: of a repository, of the user."""

from collections.abc import Collection
from dataclasses import field
from pathlib import Path
from typing import Any, ClassVar

from containers.filesystem import read_small
from tasks.diagnostics import Diagnostic
from tasks.errors import PatchyardError
from tasks.lazy.dataclasses import dataclass

FILE = "patchyard.toml"
PROJECT = "pyproject.toml"
SECTION = ("tool", "patchyard")
"""Where the settings are in the file of the project."""
MAX_FILE = 1 << 20
"""A larger file, in bytes, is not read."""


class ConfigError(PatchyardError):
    """A setting is wrong; the message says where it was set."""

    exit_code: ClassVar[int] = 2


class ConfigFileError(ConfigError):
    """A file of settings has mistakes. The message has one line per diagnostic."""

    def __init__(self, diagnostics: Collection[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(map(str, self.diagnostics)))


@dataclass(slots=True)
class SettingsFile:
    """A file of settings, or the one that there could be.

    `values` are the settings by name, `written` the same as they are in the file, `lines` where each is.
    """

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    written: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    mistakes: list[Diagnostic] = field(default_factory=list)


def read_repository_file(root: Path) -> SettingsFile:
    """Return the settings of a repository: of `patchyard.toml`, else of `pyproject.toml`. Blocking."""
    path, project = root / FILE, root / PROJECT
    if path.is_file():
        return read_settings_file(path)
    if project.is_file():
        found = read_settings_file(project, SECTION)
        if found.values or found.mistakes:
            return found
    return SettingsFile(path)


def read_settings_file(path: Path, section: tuple[str, ...] = ()) -> SettingsFile:
    """Return the settings of a file, below a table of it. Blocking; what is wrong in it is in `mistakes`.

    Raises:
        ConfigError: It cannot be read at all.
    """
    from pipeline.config.file_reader import FileReader  # noqa: PLC0415 - start-up stays quick

    reader = FileReader(SettingsFile(path), section)
    try:
        reader.read(read_small(path, MAX_FILE))
    except RecursionError:
        raise ConfigError(f"{path}: it is nested too deeply") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    return reader.file
