"""Sessions with engines, as far as they go without one."""

import socket
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from project import runs
from stand_in_engine import StandIn, command_line

from containers.dagger_engine import session as sessions
from containers.dagger_engine.address import EngineAddress
from containers.dagger_engine.engines import connect_engines
from containers.dagger_engine.query import EngineError
from containers.dagger_engine.session import CLI, HOST, PORT, TOKEN, CommandLineError, Session

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("blockbuster")]


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with StandIn() as engine:
        yield engine


@pytest.fixture
def cli(tmp_path: Path) -> str:
    return str(command_line(tmp_path))


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


async def test_a_session_is_opened_by_the_command_line_and_ends_with_it(
    stand_in: StandIn, cli: str, tmp_path: Path
) -> None:
    session = await Session.open(stand_in.address, {CLI: cli}, tmp_path / "log")
    assert await session.client.default_platform() == "linux/amd64"
    await session.aclose()
    calls = await anyio.Path(f"{cli}.calls").read_text()
    assert calls == "session --silent --label dagger.io/sdk.name:patchyard\n"


async def test_the_environment_may_name_the_engine_or_a_session(
    stand_in: StandIn, cli: str, tmp_path: Path
) -> None:
    named = await Session.open(None, {CLI: cli, HOST: stand_in.address}, tmp_path / "log")
    await named.aclose()
    there = await Session.open(None, {PORT: str(stand_in.port), TOKEN: "t"}, tmp_path / "log")
    await there.aclose()
    assert stand_in.asked == ["version", "version"]


async def test_without_a_command_line_it_is_said_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(CommandLineError) as raised:
        async with connect_engines(EngineAddress(), {"PATH": str(tmp_path)}, tmp_path / "log"):
            pass
    assert str(raised.value) == (
        "mode dagger needs the dagger command line: install it (https://docs.dagger.io/install), "
        "or set _EXPERIMENTAL_DAGGER_CLI_BIN to its path"
    )
    assert raised.value.exit_code == 4


async def test_refused_connection_is_reported_at_once(cli: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        addresses = (f"tcp://127.0.0.1:{free.getsockname()[1]}", f"unix://{tmp_path}/no.sock")
    for address in addresses:
        with pytest.raises(EngineError) as raised:
            async with connect_engines(EngineAddress(address), {CLI: cli}, tmp_path / "log"):
                pass
        assert str(raised.value).startswith(f"{address} does not answer: cannot connect (")
        assert str(raised.value).endswith(f"; start it, or name another with --engine or {HOST}")
        assert raised.value.exit_code == 4


@pytest.mark.parametrize("address", ["tcp://127.0.0.1", "tcp://"])
async def test_an_address_without_a_port_is_refused_at_once(cli: str, tmp_path: Path, address: str) -> None:
    with pytest.raises(EngineError, match=r"^it needs a host and a port, as in tcp://host:1234$"):
        await Session.open(None, {CLI: cli, HOST: address}, tmp_path / "log")
    assert not await anyio.Path(tmp_path, "log").exists()


@pytest.mark.parametrize(
    ("address", "program"), [("kube-pod://pod?namespace=dagger", "kubectl"), ("ssh://me@host", "ssh")]
)
async def test_program_needed_for_an_address_must_be_installed(
    cli: str, tmp_path: Path, address: str, program: str
) -> None:
    with pytest.raises(EngineError, match=rf"^{program}, which this address needs, is not on PATH$"):
        await Session.open(address, {CLI: cli, "PATH": str(tmp_path)}, tmp_path / "log")


async def test_error_without_a_named_engine_says_what_is_needed(tmp_path: Path) -> None:
    cli = script(tmp_path / "dagger", "echo 'Error: no docker here' >&2; exit 1")
    with pytest.raises(EngineError) as raised:
        async with connect_engines(EngineAddress(), {CLI: cli, "PATH": "/usr/bin:/bin"}, tmp_path / "log"):
            pass
    assert str(raised.value) == (
        "the Dagger engine does not answer: no docker here; start Docker or another container runtime for it, "
        f"or name another with --engine or {HOST}"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("echo 'Error: no engine here [traceparent:1-2]' >&2; exit 1", "no engine here"),
        ("exit 1", "its session exited without a message"),
        ("echo 'it is said' >&2; echo nonsense", "it is said"),
        ("echo '{\"port\": 1}'", "its session exited without a message"),
    ],
)
async def test_a_session_that_does_not_start_says_why(tmp_path: Path, text: str, message: str) -> None:
    cli = script(tmp_path / "dagger", text)
    with pytest.raises(EngineError) as raised:
        await Session.open("container://none", {CLI: cli, "PATH": "/usr/bin:/bin"}, tmp_path / "log")
    assert str(raised.value) == message


async def test_a_command_line_that_cannot_be_started(tmp_path: Path) -> None:
    (tmp_path / "dagger").write_text("")
    with pytest.raises(CommandLineError, match="cannot be started: Permission denied"):
        await Session.open("container://none", {CLI: str(tmp_path / "dagger")}, tmp_path / "log")


async def test_session_that_does_not_start_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SESSION_TIMEOUT", 0.5)
    cli = script(tmp_path / "dagger", f"echo $$ > {tmp_path}/pid; trap '' TERM; while :; do sleep 0.1; done")
    with anyio.fail_after(60), pytest.raises(EngineError, match=r"could not be reached within 0\.5 s"):
        await Session.open("container://none", {CLI: cli, "PATH": "/usr/bin:/bin"}, tmp_path / "log")
    pid = int(await anyio.Path(tmp_path / "pid").read_text())
    with anyio.fail_after(60):
        while runs([pid]):  # noqa: ASYNC110 - it is a process that is waited for
            await anyio.sleep(0.02)


async def test_session_that_does_not_exit_is_killed(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "CLOSE_TIMEOUT", 0.5)
    greeting = f'echo \'{{"port": {stand_in.port}, "session_token": "t"}}\''
    cli = script(tmp_path / "dagger", f"{greeting}; trap '' TERM; while :; do sleep 0.1; done")
    session = await Session.open(stand_in.address, {CLI: cli, "PATH": "/usr/bin:/bin"}, tmp_path / "log")
    with anyio.fail_after(60):
        await session.aclose()


@pytest.mark.parametrize(
    ("version", "is_fine"), [("v0.20.9", False), ("v0.21.0", True), ("v1.0.0-beta.1", True), ("x", True)]
)
async def test_an_engine_that_is_too_old(
    stand_in: StandIn, cli: str, tmp_path: Path, version: str, *, is_fine: bool
) -> None:
    stand_in.version = version
    if is_fine:
        await (await Session.open(stand_in.address, {CLI: cli}, tmp_path / "log")).aclose()
        return
    with pytest.raises(EngineError, match=r"^it is Dagger v0\.20\.9, and patchyard needs 0\.21 or newer$"):
        await Session.open(stand_in.address, {CLI: cli}, tmp_path / "log")
