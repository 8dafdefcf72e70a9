"""Read the settings in the YAML front matter of a plan."""

from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import yaml
from yaml.reader import ReaderError

from tasks.conflicts import OnConflict, Serialize
from tasks.diagnostics import Report, quoted
from tasks.durations import parse_duration
from tasks.lazy.patterns import regex
from tasks.model import LARGEST_POOL, Mode, SandboxMode
from tasks.text import closest

if TYPE_CHECKING:
    from yaml.nodes import MappingNode, ScalarNode, SequenceNode

    Node = MappingNode | ScalarNode | SequenceNode

_NAMED = 8
"""So many unknown keys are named in an error."""
_COUNT = regex(r"[1-9][0-9]{0,3}")
_AMOUNT = regex(r"\$?[0-9]{1,9}(?:\.[0-9]{1,6})?")
_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_TAG = "tag:yaml.org,2002:"
_Choice = TypeVar("_Choice", bound=StrEnum)


def compose(source: str, report: Report) -> "Node | None":
    """Return the tree of a YAML text. No values are constructed, so tags have no effect."""
    try:
        root = cast("Node | None", yaml.compose(source, Loader=yaml.SafeLoader))
    except ReaderError as error:
        above = source[: error.position]
        column = len(above) - above.rfind("\n")
        report.error(
            above.count("\n") + 1, column, "invalid YAML in the front matter: this character is not allowed"
        )
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = " ".join(part for part in (error.context, error.problem) if part)
        report.error(line, column, f"invalid YAML in the front matter: {problem}")
    except yaml.YAMLError as error:
        report.error(1, 1, f"invalid YAML in the front matter: {error}")
    except RecursionError:
        report.error(1, 1, "the front matter is nested too deeply")
    except (ValueError, OverflowError):
        report.error(1, 1, "invalid YAML in the front matter: an escape sequence is not a valid character")
    else:
        return root
    return None


class ValueReader:
    """Reads the settings from the YAML tree, and reports their errors."""

    def __init__(self, report: Report) -> None:
        self.agent_at = (1, 1)
        self._report = report

    def values(self, root: "Node") -> dict[str, Any]:
        """Return the values of a whole front matter, by key."""
        readers: dict[str, Callable[[Node], Any]] = {
            "base": self._text,
            "mode": partial(self._choice, Mode, "mode"),
            "agent": self._agent,
            "image": self._text,
            "timeout": self._timeout,
            "pool_size": self._pool_size,
            "budget": self._dollars,
            "task_budget": self._dollars,
            "on_conflict": partial(self._choice, OnConflict, "on_conflict"),
            "serialize": partial(self._choice, Serialize, "serialize"),
            "check_base": self._flag,
            "sandbox": partial(self._choice, SandboxMode, "sandbox"),
            "environment": self._environment,
            "agents": self._agents,
            "patchyard": self._version,
            "title": self._exact,
            "documents": self._documents,
        }
        if _is_null(root):
            return {}
        found: dict[str, Any] = {}
        unknown: list[tuple[str, Node]] = []
        for name, key, value in self._pairs(root, "the front matter"):
            if name not in readers:
                unknown.append((name, key))
            elif not _is_null(value) and (read := readers[name](value)) is not None:
                found[name] = read
        self._unknown(unknown, tuple(readers))
        return found

    def _error(self, node: "Node", message: str) -> None:
        self._report.error(node.start_mark.line + 1, node.start_mark.column + 1, message)

    def _unknown(self, keys: "list[tuple[str, Node]]", known: tuple[str, ...]) -> None:
        """Report unknown keys, which may be those of another tool, in one error at the first of them."""
        # Several are probably those of another tool: only what is nearly a known one is a typing error.
        cutoff = 0.6 if len(keys) == 1 else 0.7
        near = {name: _near(name, known, cutoff) for name, _ in keys}
        expected = f"expected one of {', '.join(known)}"
        if len(keys) == 1:
            ((name, node),) = keys
            hint = f"did you mean `{near[name]}`?" if near[name] else expected
            self._error(node, f"unknown key {quoted(name)}: {hint}")
        elif keys:
            words = [
                f"{quoted(name)} (line {node.start_mark.line + 1}; did you mean `{near[name]}`?)"
                if near[name]
                else quoted(name)
                for name, node in keys[:_NAMED]
            ]
            more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
            self._error(keys[0][1], f"unknown keys {', '.join(words)}{more}: {expected}")

    def _pairs(self, node: "Node", what: str) -> "Iterator[tuple[str, Node, Node]]":
        """Yield the names, keys and values of a mapping."""
        if node.id != "mapping":
            self._error(node, f"{what} must be a mapping, such as `key: value`")
            return
        seen: set[str] = set()
        for key, value in node.value:
            if key.id != "scalar":
                self._error(key, f"a key of {what} must be a word")
            elif key.value in seen:
                self._error(key, f"duplicate key {quoted(key.value)} in {what}")
            else:
                seen.add(key.value)
                yield key.value, key, value

    def _scalar(self, node: "Node", expected: str) -> str | None:
        """Return a scalar as it is written; report an error and return `None` for other nodes."""
        if node.id != "scalar":
            self._error(node, f"expected {expected}, not a {node.id}")
            return None
        text: str = node.value
        if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
            self._error(node, f"expected {expected} without NUL characters or unpaired surrogates")
            return None
        return text

    def _text(self, node: "Node") -> str | None:
        text = self._scalar(node, "a string")
        if text is not None and not text.strip():
            self._error(node, "expected a non-empty string")
            return None
        return text.strip() if text else None

    def _exact(self, node: "Node") -> str | None:
        """Return a text that is not blank, exactly as it is given."""
        return None if self._text(node) is None else str(node.value)

    def _agent(self, node: "Node") -> str | None:
        self.agent_at = (node.start_mark.line + 1, node.start_mark.column + 1)
        return self._text(node)

    def _choice(self, kind: type[_Choice], name: str, node: "Node") -> _Choice | None:
        expected = f"one of {', '.join(kind)}"
        text = self._scalar(node, expected)
        try:
            return None if text is None else kind(text.strip().lower())
        except ValueError:
            self._error(node, f"unknown {name} {quoted(text or '')}; expected {expected}")
            return None

    def _flag(self, node: "Node") -> bool | None:
        text = self._scalar(node, "true or false")
        if text is None:
            return None
        found = _FLAGS.get(text.strip().lower())
        if found is None:
            self._error(node, f"expected true or false, not {quoted(text)}")
        return found

    def _timeout(self, node: "Node") -> float | None:
        text = self._scalar(node, "a duration such as 90s or 10m")
        if text is None:
            return None
        if text.strip().lower() == "none":
            return float("inf")
        try:
            return parse_duration(text)
        except ValueError as error:
            self._error(node, str(error))
            return None

    def _dollars(self, node: "Node") -> float | None:
        text = self._scalar(node, "an amount of US dollars such as 20")
        if text is None:
            return None
        if not _AMOUNT.fullmatch(text.strip()):
            self._error(node, f"expected an amount of US dollars such as 20 or 2.50, not {quoted(text)}")
            return None
        return float(text.strip().removeprefix("$"))

    def _pool_size(self, node: "Node") -> int | None:
        text = self._scalar(node, f"a whole number from 1 to {LARGEST_POOL}")
        if text is None:
            return None
        if not _COUNT.fullmatch(text) or int(text) > LARGEST_POOL:
            self._error(node, f"expected a whole number from 1 to {LARGEST_POOL}, not {quoted(text)}")
            return None
        return int(text)

    def _version(self, node: "Node") -> int | None:
        text = self._scalar(node, "the version of the format, 1 or 2")
        if text not in {None, "1", "2"}:
            self._error(node, f"unknown version {quoted(text or '')} of the format; expected 1 or 2")
            return None
        return int(text or 1)

    def _documents(self, node: "Node") -> tuple[str, ...] | None:
        """Return the paths in a list."""
        if node.id != "sequence":
            self._error(node, "`documents` must be a list of paths")
            return None
        paths = (self._exact(entry) for entry in node.value)
        return tuple(path for path in paths if path is not None)

    def _environment(self, node: "Node") -> dict[str, str]:
        found: dict[str, str] = {}
        for name, key, value in self._pairs(node, "`environment`"):
            if self._scalar(key, "the name of a variable") is None:
                continue
            text = "" if _is_null(value) else self._scalar(value, "a string")
            if not name or "=" in name:
                self._error(key, f"{quoted(name)} is not a valid variable name")
            elif text is not None:
                found[name] = text
        return found

    def _agents(self, node: "Node") -> dict[str, str]:
        found: dict[str, str] = {}
        for name, key, value in self._pairs(node, "`agents`"):
            command = self._command(value) if value.id == "mapping" else self._text(value)
            if not name.strip():
                self._error(key, "an agent needs a name")
            elif command is not None:
                found[name] = command
        return found

    def _command(self, node: "Node") -> str | None:
        """Return the `command` of an agent that is declared by a mapping."""
        found: str | None = None
        has_command = False
        unknown: list[tuple[str, Node]] = []
        for name, key, value in self._pairs(node, "an agent"):
            if name == "command":
                has_command = True
                found = self._text(value)
            else:
                unknown.append((name, key))
        self._unknown(unknown, ("command",))
        if not has_command:
            self._error(node, "an agent needs a `command`")
        return found


def _near(name: str, known: tuple[str, ...], cutoff: float) -> str:
    """Return the known key that a key is nearly, or nothing."""
    return closest(name.lower().replace("-", "_"), known, cutoff)


def _is_null(node: "Node") -> bool:
    return node.tag == f"{_TAG}null"
