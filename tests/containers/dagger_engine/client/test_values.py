"""Objects as arguments, and values that are queried together, on the stand-in's schema."""

from collections.abc import AsyncIterator, Iterator

import anyio
import pytest
from stand_in_engine import StandIn

from containers.dagger_engine.client.api import ANY, Client, Container
from containers.dagger_engine.client.values import together

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("blockbuster")]


@pytest.fixture
def engine() -> Iterator[StandIn]:
    with StandIn() as stand_in:
        yield stand_in


@pytest.fixture
async def client(engine: StandIn) -> AsyncIterator[Client]:
    client = Client.connect(engine.port, "token")
    yield client
    await client.aclose()


async def test_object_is_an_argument_by_its_id(engine: StandIn, client: Client) -> None:
    tree = client.host().directory("/src", no_cache=True)
    secret, cache = client.set_secret("KEY", "value"), client.cache_volume("c")
    container = client.container().with_mounted_directory("/work", tree).with_mounted_cache("/c", cache)
    await container.with_mounted_secret("/run", secret, mode=0o444).with_exec(["true"], expect=ANY).exit_code()
    *ids, query = engine.asked
    assert sorted(ids) == [
        'cacheVolume(key: "c").id',
        'host.directory(path: "/src", noCache: true).id',
        'setSecret(name: "KEY", plaintext: "value").id',
    ]
    assert query == (
        'container.withMountedDirectory(path: "/work", source: <Directory-1>)'
        '.withMountedCache(path: "/c", cache: <CacheVolume-1>)'
        '.withMountedSecret(path: "/run", source: <Secret-1>, mode: 292)'
        '.withExec(args: ["true"], expect: "ANY").exitCode'
    )


async def test_id_is_queried_once_and_not_at_all_of_an_object_that_was_loaded(
    engine: StandIn, client: Client
) -> None:
    tree = client.directory()
    for _ in range(2):
        await client.container().with_mounted_directory("/work", tree).user()
    assert [query for query in engine.asked if query.endswith(".id")] == ["directory.id"]
    engine.asked.clear()
    synced = await client.directory().with_new_file("f", "x").sync()
    await client.container().with_mounted_directory("/work", synced).user()
    assert len(engine.asked) == 2


async def test_values_of_one_chain_are_one_request(engine: StandIn, client: Client) -> None:
    container = client.container().with_workdir("/work")
    synced, tree = await together(container.sync(), container.directory("/work").loaded())
    assert isinstance(synced, Container)
    assert (synced.known_id, tree.known_id) == ("Container-1", "Directory-1")
    assert len(engine.bodies) == 1
    assert engine.known["Directory-1"] == 'container.withWorkdir(path: "/work").directory(path: "/work")'


async def test_values_of_other_chains_are_one_request_too(engine: StandIn, client: Client) -> None:
    engine.answers["user"] = lambda query: query
    one, two = client.container().from_("a"), client.container().from_("b")
    assert await together(one.user(), two.user(), client.version()) == (
        'container.from(address: "a")',
        'container.from(address: "b")',
        "v0.21.8",
    )
    assert len(engine.bodies) == 1


async def test_error_of_an_argument_is_that_of_the_query(engine: StandIn, client: Client) -> None:
    broken = client.directory().with_directory("/", client.host().directory("\udcff"))
    with anyio.fail_after(60), pytest.raises(UnicodeEncodeError):
        await (
            client.container()
            .with_mounted_directory("/a", broken)
            .with_mounted_directory("/b", client.directory())
            .user()
        )
    assert not [query for query in engine.asked if query.endswith("user")]
