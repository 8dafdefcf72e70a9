"""Errors of requests to an engine."""

from collections.abc import Mapping, Sequence
from typing import Any


class ClientError(Exception):
    """A request to an engine has failed."""


class TransportError(ClientError):
    """No answer arrived, or it is not one of a GraphQL server."""


class QueryError(ClientError):
    """The engine rejects a query; the message is that of its first error."""

    @classmethod
    def of(cls, errors: Sequence[Any]) -> "QueryError":
        """Return the error for what an answer has under `errors`.

        https://spec.graphql.org/October2021/#sec-Errors
        """
        first = errors[0] if errors and isinstance(errors[0], Mapping) else {}
        message = str(first.get("message", errors))
        details = first.get("extensions")
        if isinstance(details, Mapping) and details.get("_type") == "EXEC_ERROR":
            return ExecError(message, details)
        return cls(message)


class ExecError(QueryError):
    """A command in a container ended with an exit code that is not expected."""

    def __init__(self, message: str, details: Mapping[str, Any]) -> None:
        super().__init__(message)
        command = details.get("cmd")
        code = details.get("exitCode")
        self.command = tuple(map(str, command)) if isinstance(command, list) else ()
        self.exit_code = code if isinstance(code, int) else -1
        self.stdout = str(details.get("stdout") or "")
        self.stderr = str(details.get("stderr") or "")
