"""Private parts of the Dagger SDK (0.21) that patchyard uses; a new SDK version is checked here."""

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from dagger import Changeset, Client, Secret
    from dagger.client._session import SingleConnection

T = TypeVar("T")


def connection(port: int, token: str) -> "SingleConnection":
    """Return a connection to a session of the `dagger` command line, not yet open.

    `dagger.Connection` is not used, for three reasons: it downloads a command line if its own cache has none,
    it reads the engine's address from this process's environment only, and it waits five minutes for a session
    to end. `retry=None`: by default the SDK runs a query up to five times on a transport error.
    """
    from dagger.client._config import ConnectConfig  # noqa: PLC0415 - imports dagger, which takes a second
    from dagger.client._session import ConnectParams, SingleConnection  # noqa: PLC0415 - likewise

    return SingleConnection(ConnectParams(port=port, session_token=token), ConnectConfig(retry=None))


async def select_fields(changes: "Changeset", result: type[T], **fields: str) -> T:
    """Query several fields of a changeset in one request; the public SDK makes one request per field.

    Args:
        changes: The changeset.
        result: A dataclass with one attribute per field.
        fields: Names of the fields in the GraphQL schema, by attribute.
    """
    selection = changes._select_multiple(**fields)  # type: ignore[no-untyped-call]  # noqa: SLF001 - see above
    selected: T = await selection.execute(result)
    return selected


def secret_by_id(client: "Client", known: str) -> "Secret":
    """Return a secret that exists. The one of `set_secret` is set again with each query that has it."""
    from dagger import Secret  # noqa: PLC0415 - imports dagger, which takes a second

    return Secret(client._ctx.select_id("Secret", known))  # noqa: SLF001 - see above
