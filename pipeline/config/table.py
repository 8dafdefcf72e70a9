"""What a declared setting consists of: one value from which every entry point takes its part."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, fields
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeVar

from tasks.lazy.dataclasses import dataclass

PREFIX = "PATCHYARD_"
NO_DEFAULT = "none"
NO_OPTION = "-"
HEADER = "| setting | flag of `run` | environment | default | |\n|---|---|---|---|---|\n"
T = TypeVar("T")


class NeedsTrust(StrEnum):
    """When a value that the repository or the plan sets needs the user's trust."""

    ALWAYS = "always"
    COMMAND = "command"
    """If it is a command, and not the name of a known agent."""
    OUTSIDE = "outside"
    """If it is a path outside of the checkout."""
    CONTAINED = "contained"
    """If a task runs in a container, which has nothing else of the user's."""
    WEAKER = "weaker"
    """If it gives tasks more than the user's own setting."""
    UNCONTAINED = "uncontained"
    """If the user's own file says that tasks run in containers, and this says otherwise."""


@dataclass(frozen=True, slots=True)
class Option:
    """How `patchyard run` takes a setting. `metavar` names the value in the help text; a flag has none."""

    metavar: str | None = None
    negatable: bool = False
    """Whether `--no-NAME` sets it to false."""


@dataclass(frozen=True, slots=True)
class ApiField:
    """How the HTTP API takes a setting: its name there if it differs, and the limits of a number."""

    name: str = ""
    maximum: int | None = None
    minimum: int = 1


@dataclass(frozen=True, slots=True)
class ModuleArgument:
    """How the Dagger module takes a setting; `publishing` restricts it to the functions that publish."""

    publishing: bool = False


@dataclass(slots=True, eq=False)
class Setting:
    """A setting: how a value is converted, what it does, and which entry points take it.

    `convert` raises `ValueError`; its return annotation is the type of the setting. `help` is one sentence of
    Markdown for the command line, the module, the API and the README; only the README adds `note` to it.
    `default_text` is the default as users read it. `section` is the table of the file that holds the setting.
    `trust` says when a value of the repository needs the user's trust (see `pipeline/config/trust.py`).
    `is_secret` says that its value may be a secret. `declared_settings` sets `name`.
    """

    convert: Callable[[object], Any]
    help: str
    default_text: str
    note: str = ""
    section: str = ""
    in_environment: bool = True
    in_file: bool = True
    trust: NeedsTrust | None = None
    option: Option | None = None
    module: ModuleArgument | None = None
    api: ApiField | None = None
    is_secret: bool = False
    name: str = ""

    @property
    def kind(self) -> Any:  # noqa: ANN401 - a type, or an alias such as `tuple[str, ...]`
        """The type of the setting's value."""
        return self.convert.__annotations__["return"]

    @property
    def is_list(self) -> bool:
        """Whether its option can be repeated."""
        return bool(self.kind == tuple[str, ...])

    @property
    def is_flag(self) -> bool:
        """Whether it is true or false."""
        return self.kind is bool

    @property
    def variable(self) -> str | None:
        """Its environment variable."""
        return PREFIX + self.name.upper() if self.in_environment and not self.section else None

    @property
    def key(self) -> str:
        """Its name in the configuration file, with its table."""
        return f"{self.section}.{self.name}" if self.section else self.name

    @property
    def flag(self) -> str:
        """The option that names it: one of a list names one item."""
        name = self.name.removesuffix("s") if self.is_list else self.name
        return f"--{name.replace('_', '-')}"

    @property
    def api_name(self) -> str:
        """Its name in the HTTP API."""
        return (self.api and self.api.name) or self.name

    @property
    def plain_help(self) -> str:
        """The sentence without marks of Markdown."""
        return self.help.replace("`", "").replace("**", "")

    @property
    def help_with_default(self) -> str:
        """The sentence with its default, as help texts show it."""
        if self.option and self.option.negatable:
            return f"{self.plain_help}  [default: {self.flag.replace('--', 'no-')}]"
        if self.is_flag or self.default_text == NO_DEFAULT:
            return self.plain_help
        return f"{self.plain_help}  [default: {self.default_text}]"


def setting(  # noqa: PLR0913 - a declaration, every part of it named
    default: T,
    convert: Callable[[object], Any],
    help: str,  # noqa: A002 - the word that click uses
    *,
    default_text: str | None = None,
    note: str = "",
    section: str = "",
    in_environment: bool = True,
    in_file: bool = True,
    trust: NeedsTrust | None = None,
    option: Option | None = None,
    module: ModuleArgument | None = None,
    api: ApiField | None = None,
    secret: bool = False,
) -> T:
    """Return the field of `Settings` that declares a setting; see `Setting` for the arguments.

    A `secret` setting does not show in the `repr`.
    """
    declared = Setting(
        convert=convert,
        help=help,
        default_text=_default_text(default) if default_text is None else default_text,
        note=note,
        section=section,
        in_environment=in_environment,
        in_file=in_file,
        trust=trust,
        option=option,
        module=module,
        api=api,
        is_secret=secret,
    )
    metadata = {Setting: declared}
    if isinstance(default, dict):
        made: T = field(default_factory=default.copy, repr=not secret, metadata=metadata)  # type: ignore[assignment]
        return made
    return field(default=default, repr=not secret, metadata=metadata)


def declared_settings(cls: type) -> Mapping[str, Setting]:
    """Return the settings that the fields of a dataclass declare, by name and in order; each gets its name."""
    found: dict[str, Setting] = {}
    for item in fields(cls):
        if declared := item.metadata.get(Setting):
            declared.name = item.name
            found[item.name] = declared
    return MappingProxyType(found)


def names_by_section(settings: Mapping[str, Setting]) -> Mapping[str, tuple[str, ...]]:
    """Return the names of the settings in each table of the configuration file."""
    sections = dict.fromkeys(item.section for item in settings.values() if item.section)
    return MappingProxyType(
        {
            section: tuple(name for name, item in settings.items() if item.section == section)
            for section in sections
        }
    )


def readme_table(settings: Iterable[Setting]) -> str:
    """Return the configuration table of the README, in Markdown."""
    return HEADER + "".join(f"| {' | '.join(_cells(item))} |\n" for item in settings)


def _cells(item: Setting) -> tuple[str, ...]:
    text = item.help.removesuffix(".")
    if not text[:2].isupper():
        text = text[:1].lower() + text[1:]
    return (
        f"`{item.key}`",
        f"`{item.flag}`" if item.option else NO_OPTION,
        f"`{item.variable}`" if item.variable else NO_OPTION,
        _code(item.default_text),
        "; ".join(filter(None, (text, item.note))),
    )


def _code(text: str) -> str:
    """Return a default in Markdown: a value as code, a phrase as text with its placeholders as code."""
    if " " not in text:
        return text if text == NO_DEFAULT else f"`{text}`"
    return re.sub(r"\S*<\S*", lambda found: f"`{found[0]}`", text)


def _default_text(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return NO_DEFAULT if default in (None, (), {}) else str(default)
