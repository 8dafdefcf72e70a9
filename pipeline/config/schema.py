"""JSON schemas of `patchyard.toml` and of the front matter of a plan, made from the table of settings.

Editors complete and check a file with them (https://json-schema.org/draft-07, which the TOML and YAML
extensions of editors support). They accept what the converters accept, and a little more: those have the last
word.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import StrEnum
from typing import Any

from containers.agents.reports.formats import FORMATS
from containers.worktrees.ports import HIGHEST_PORT
from pipeline.config import agent_converters, converters
from pipeline.config.settings import SECTIONS, SETTINGS
from pipeline.config.table import Setting
from tasks import repairs
from tasks.dialects.read_options import NAMES
from tasks.model import LARGEST_POOL, PlanSettings, SandboxMode

Schema = dict[str, Any]
DRAFT = "http://json-schema.org/draft-07/schema#"
TEXT: Schema = {"type": "string", "minLength": 1}
LIST: Schema = {"anyOf": [TEXT, {"type": "array", "items": TEXT}]}
DURATION: Schema = {"type": ["string", "number"], "examples": ["90s", "10m", "1h", "none"]}
SIZE: Schema = {"type": ["string", "integer"], "examples": ["500KB", "100MB", "1GB"]}
DOLLARS: Schema = {"type": ["string", "number"], "examples": [20, 2.5, "none"]}
SWITCH: Schema = {"type": "boolean"}
SCALARS: Schema = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}


def _whole(minimum: int, maximum: int) -> Schema:
    return {"type": "integer", "minimum": minimum, "maximum": maximum}


def _table(properties: Mapping[str, Schema], **more: object) -> Schema:
    return {"type": "object", "properties": dict(properties), "additionalProperties": False, **more}


_AGENT = _table(
    {
        "command": TEXT,
        "image": TEXT,
        "setup": LIST,
        "secrets": LIST,
        "environment": SCALARS,
        "version": TEXT,
        "cost": {**TEXT, "format": "regex"},
        "format": {"enum": sorted(FORMATS)},
        "limit": {**TEXT, "format": "regex"},
    }
)
_BY_CONVERTER: Mapping[Callable[[object], Any], Schema] = {
    converters.parse_seconds: DURATION,
    converters.parse_wait: DURATION,
    converters.parse_bytes: SIZE,
    converters.parse_patch_size: SIZE,
    converters.parse_dollars: DOLLARS,
    converters.parse_dialect: {"enum": sorted(NAMES)},
    converters.parse_pool_size: _whole(1, LARGEST_POOL),
    converters.parse_sandbox: {"enum": [*map(str, SandboxMode), True, False]},
    converters.parse_network: {"anyOf": [{"enum": ["on", "off", True, False]}, TEXT, LIST]},
    converters.parse_port: _whole(converters.LOWEST_PORT, HIGHEST_PORT),
    converters.parse_port_width: _whole(0, converters.MOST_PORTS),
    converters.parse_depth: {"type": "integer", "minimum": 0},
    converters.parse_branch_template: {**TEXT, "pattern": r"\{task"},
    converters.parse_webhook_url: {**TEXT, "pattern": "^https?://"},
    converters.parse_environment: SCALARS,
    converters.parse_services: {
        "type": "object",
        "propertyNames": {"pattern": f"^{converters.SERVICE.pattern}$"},
        "additionalProperties": {"type": "string", "pattern": f"^{converters.ADDRESS.pattern}$"},
    },
    repairs.parse_repairs: {"type": ["integer", "string"], "minimum": 0, "maximum": repairs.MOST_REPAIRS},
    agent_converters.parse_agents: {"type": "object", "additionalProperties": {"anyOf": [TEXT, _AGENT]}},
    agent_converters.parse_prices: {
        "type": "object",
        "additionalProperties": _table(dict.fromkeys(("input", "output", "cached"), DOLLARS)),
    },
}


def settings_schema() -> Schema:
    """Return the schema of `patchyard.toml`."""
    top = {name: _of(item) for name, item in SETTINGS.items() if not item.section and item.in_file}
    tables = {
        section: _table({name: _of(SETTINGS[name]) for name in names}) for section, names in SECTIONS.items()
    }
    return {"$schema": DRAFT, "title": "patchyard.toml"} | _table(top | tables)


def plan_schema() -> Schema:
    """Return the schema of the front matter of a plan."""
    found = {item.name: _of(SETTINGS[item.name]) for item in fields(PlanSettings)}
    command = _table({"command": TEXT}, required=["command"])
    found["agents"] = {
        "type": "object",
        "description": "Commands of agents, by name.",
        "additionalProperties": {"anyOf": [TEXT, command]},
    }
    found |= {
        "patchyard": {"enum": [1, 2], "description": "Version of the plan's format."},
        "title": {**TEXT, "description": "Title of the plan, where no heading gives it."},
        "documents": {
            "type": "array",
            "items": TEXT,
            "description": "Paths of documents that agents are to read.",
        },
    }
    return {"$schema": DRAFT, "title": "Front matter of a plan of patchyard"} | _table(found)


def _of(item: Setting) -> Schema:
    """Return the schema of one setting."""
    notes = "; ".join(filter(None, (item.plain_help.removesuffix("."), item.note))) + "."
    return {**_values(item), "description": f"{notes} Default: {item.default_text}."}


def _values(item: Setting) -> Schema:
    if item.convert in _BY_CONVERTER:
        return _BY_CONVERTER[item.convert]
    if item.is_flag:
        return SWITCH
    if item.is_list:
        return LIST
    kinds = [kind for kind in (item.kind, *getattr(item.kind, "__args__", ())) if isinstance(kind, type)]
    if choices := next((kind for kind in kinds if issubclass(kind, StrEnum)), None):
        return {"enum": [str(value) for value in choices]}
    return TEXT
