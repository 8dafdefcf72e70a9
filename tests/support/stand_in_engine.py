"""A stand-in for a Dagger engine: a GraphQL server on loopback with scripted answers that records queries.

It has the part of the schema that the program uses. Every object whose id is queried is in `known`: an id such
as `Directory-1` maps to the text of the query for the object.
"""

import json
import stat
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from graphql import GraphQLError, GraphQLResolveInfo, build_schema, graphql_sync

SCHEMA = """
interface Node { id: ID! }
type Query {
  node(id: ID!): Node!
  version: String!
  defaultPlatform: String!
  container: Container!
  directory: Directory!
  host: Host!
  cacheVolume(key: String!): CacheVolume!
  setSecret(name: String!, plaintext: String!): Secret!
}
enum ReturnType { SUCCESS FAILURE ANY }
type Host implements Node {
  id: ID!
  directory(path: String!, include: [String!], exclude: [String!], noCache: Boolean): Directory!
}
type CacheVolume implements Node { id: ID! }
type Secret implements Node { id: ID! }
type GitRepository implements Node { id: ID! ref(name: String!): GitRef! }
type GitRef implements Node { id: ID! tree(depth: Int): Directory! }
type Directory implements Node {
  id: ID!
  sync: ID!
  asGit: GitRepository!
  changes(from: ID!): Changeset!
  diff(other: ID!): Directory!
  filter(include: [String!], exclude: [String!]): Directory!
  withDirectory(path: String!, source: ID!): Directory!
  withNewDirectory(path: String!): Directory!
  withNewFile(path: String!, contents: String!): Directory!
  withoutDirectory(path: String!): Directory!
  withoutFiles(paths: [String!]!): Directory!
  export(path: String!): String!
}
type Changeset implements Node {
  id: ID!
  sync: ID!
  layer: Directory!
  addedPaths: [String!]!
  modifiedPaths: [String!]!
  removedPaths: [String!]!
}
type Container implements Node {
  id: ID!
  sync: ID!
  from(address: String!): Container!
  user: String!
  imageRef: String!
  directory(path: String!): Directory!
  withEnvVariable(name: String!, value: String!): Container!
  withExec(args: [String!]!, expect: ReturnType): Container!
  withMountedCache(path: String!, cache: ID!, owner: String): Container!
  withMountedDirectory(path: String!, source: ID!, owner: String): Container!
  withMountedSecret(path: String!, source: ID!, mode: Int): Container!
  withNewFile(path: String!, contents: String!): Container!
  withSecretVariable(name: String!, secret: ID!): Container!
  withWorkdir(path: String!): Container!
  stdout: String!
  stderr: String!
  exitCode: Int!
}
"""
SCALARS = frozenset({"String", "Int", "ID", "Boolean"})
Answer = Callable[[str], Any]
"""Returns the value of a field, given the text of the query for its object."""


@dataclass
class StandIn:
    """A context manager that runs the stand-in; `cut` makes it unavailable like a crash would."""

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """The queries, each as `path.to.field`, in order."""
    known: dict[str, str] = field(default_factory=dict)
    """The queries for objects, by object id."""
    bodies: list[str] = field(default_factory=list)
    """The request bodies, byte for byte."""
    version: str = "v0.21.8"
    is_cut: bool = False

    def __post_init__(self) -> None:
        self._schema = build_schema(SCHEMA)
        self._plain: dict[str, Answer] = {
            "version": lambda _: self.version,
            "defaultPlatform": lambda _: "linux/amd64",
            "user": lambda _: "",
            "stderr": lambda _: "",
            "exitCode": lambda _: 0,
            "export": lambda _: "",
            "addedPaths": lambda _: [],
            "modifiedPaths": lambda _: [],
            "removedPaths": lambda _: [],
        }

    def __enter__(self) -> Self:
        """Start the server."""
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return int(self._server.server_address[1])

    @property
    def address(self) -> str:
        """The address, in the form of an engine's address."""
        return f"tcp://127.0.0.1:{self.port}"

    def cut_at(self, name: str) -> None:
        """Become unavailable while a query for a field is answered."""

        def go(_: str) -> str:
            self.cut()
            raise ValueError("connection reset")

        self.answers[name] = go

    def cut(self) -> None:
        """Answer every query with status 502, like a session whose engine is unavailable."""
        self.is_cut = True

    def execute(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a query."""
        result = graphql_sync(
            self._schema,
            body["query"],
            root_value="",
            variable_values=body.get("variables"),
            field_resolver=self._resolve,
            type_resolver=lambda value, *_: value.kind,
        )
        return result.formatted  # type: ignore[return-value]  # a TypedDict of the same shape

    def _id(self, text: str, kind: str) -> str:
        """Return the id of an object, creating one if needed."""
        if text in self.known:
            return text
        for known, other in self.known.items():
            if other == text:
                return known
        name = f"{kind}-{1 + sum(known.startswith(f'{kind}-') for known in self.known)}"
        self.known[name] = text
        return name

    @cached_property
    def _server(self) -> ThreadingHTTPServer:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                if stand_in.is_cut:
                    self.send_response(502)
                    self.end_headers()
                    return
                if "IntrospectionQuery" not in text:
                    stand_in.bodies.append(text)
                data = json.dumps(stand_in.execute(json.loads(text))).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        return ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def _resolve(self, source: object, info: "GraphQLResolveInfo[Any]", /, **arguments: object) -> object:
        kind = str(info.return_type).strip("!")
        before = str(source)
        if info.field_name == "node":
            return _Object(str(arguments["id"]), _kind_of(info))
        path = f"{before}.{info.field_name}{_written(arguments)}".lstrip(".")
        if kind in SCALARS or kind.startswith("["):
            self.asked.append(path)
            if info.field_name in {"id", "sync"}:
                return self._id(before, info.parent_type.name)
            return (self.answers.get(info.field_name) or self._plain[info.field_name])(before)
        return _Object(path, kind)


class _Object(str):
    """The text of the query for an object, and its type."""

    __slots__ = ("kind",)
    kind: str

    def __new__(cls, text: str, kind: str) -> Self:
        made = super().__new__(cls, text)
        made.kind = kind
        return made


def _kind_of(info: "GraphQLResolveInfo[Any]") -> str:
    """Return the type of a node, from the fragment in the query."""
    selection = info.field_nodes[0].selection_set
    fragment = selection.selections[0] if selection else None
    condition = getattr(fragment, "type_condition", None)
    if condition is None:
        raise GraphQLError("the query for a node has no type condition")
    return str(condition.name.value)


def _written(arguments: Mapping[str, object]) -> str:
    """Return arguments in the syntax of a query; ids in angle brackets."""
    ids = {"source", "cache", "secret", "from", "other"}
    parts = (
        f"{name}: {f'<{value}>' if name in ids else json.dumps(value)}" for name, value in arguments.items()
    )
    return f"({', '.join(parts)})" if arguments else ""


def command_line(directory: Path) -> Path:
    """Create a stand-in for the `dagger` command line, whose session is at the port of the engine's address."""
    path = directory / "dagger"
    path.write_text(
        "#!/bin/sh\n"
        'echo "$@" >> "$0.calls"\n'
        'echo "{\\"port\\": ${_EXPERIMENTAL_DAGGER_RUNNER_HOST##*:}, \\"session_token\\": \\"token\\"}"\n'
        "cat > /dev/null\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path
