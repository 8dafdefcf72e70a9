"""A connection to a session with an engine: GraphQL over HTTP."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from containers.dagger_engine.client.document import Field, write
from containers.dagger_engine.client.errors import QueryError, TransportError

if TYPE_CHECKING:
    from containers.dagger_engine.client.http import HttpClient, Response


def http_client() -> "type[HttpClient]":
    """Return the class of HTTP clients; the first time, it is imported, which takes as long as all the rest."""
    from containers.dagger_engine.client.http import HttpClient  # noqa: PLC0415 - see above

    return HttpClient


class Connection:
    """A connection to a session of the `dagger` command line."""

    def __init__(self, port: int, token: str, headers: Callable[[], Mapping[str, str]]) -> None:
        """Take the session's port on this machine, its token, and what returns the headers of a request."""
        self._http = http_client()(port, token)
        self._headers = headers

    async def aclose(self) -> None:
        """Close the connection; queries that run fail."""
        await self._http.aclose()

    async def fetch(self, leaves: Sequence[Field]) -> list[Any]:
        """Query the ends of chains of fields in one request, and return their values.

        Raises:
            QueryError: The engine rejects the query.
            TransportError: There is no answer, or it is not valid.
            UnicodeEncodeError: The query has text that is not UTF-8.
        """
        document, paths = write(leaves)
        body = json.dumps({"query": document}, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", **self._headers()}
        data = _data(await self._http.post("/query", body, headers))
        try:
            return [_at(data, path) for path in paths]
        except (KeyError, TypeError) as error:
            raise TransportError("its answer does not have what was queried") from error


def _data(response: "Response") -> object:
    """Return the data of an answer.

    A server may send its errors with another status than 200.

    Raises:
        QueryError: The answer has errors.
        TransportError: It is not an answer to a query.
    """
    try:
        answer = json.loads(response.body)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and (errors := answer.get("errors")):
        raise QueryError.of(errors if isinstance(errors, list) else [errors])
    if response.status != 200:  # noqa: PLR2004 - OK
        raise TransportError(f"HTTP status {response.status} {response.reason}".rstrip())
    if not isinstance(answer, dict):
        raise TransportError("its answer is not valid JSON")
    return answer.get("data")


def _at(data: Any, path: Sequence[str]) -> object:  # noqa: ANN401 - any value of JSON
    for key in path:
        data = data[key]
    return data
