"""Ports of worktrees: each block is one run's alone, and nothing listens there when the run starts."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from repositories import Clone

from containers.git.repository import Repository
from containers.worktrees.pool import Pool
from containers.worktrees.ports import HIGHEST_PORT, Ports, is_free
from containers.worktrees.worktree import PoolError

BASE = 23000


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    return tmp_path / "ports"


@contextmanager
def listening(port: int, host: str = "127.0.0.1") -> Iterator[None]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((host, port))
        server.listen()
        yield


def taken(ports: Ports, *slots: int) -> list[int | None]:
    for slot in slots:
        ports.take(slot)
    return [ports.of(slot) for slot in slots]


def test_each_slot_has_a_block_of_its_own(locks: Path) -> None:
    first, *rest = [port or 0 for port in taken(Ports(BASE, 10, directory=locks), 1, 2, 3)]
    assert first >= BASE
    assert all(later - earlier >= 10 for earlier, later in zip([first, *rest], rest, strict=False))


def test_two_runs_never_have_the_same_ports(locks: Path) -> None:
    """Also with other bases and widths."""
    runs = {(BASE, 10): [1, 2], (BASE, 10, 2): [1, 2], (BASE + 5, 7): [1, 2, 3], (BASE - 20, 25): [1, 2]}
    used: set[int] = set()
    made = []
    for (base, width, *_), slots in runs.items():
        made.append(Ports(base, width, directory=locks))
        for first in taken(made[-1], *slots):
            block = set(range(first or 0, (first or 0) + width))
            assert not used & block
            used |= block
    assert len(used) == 20 + 20 + 21 + 50


def test_released_ports_are_given_again(locks: Path) -> None:
    one, other = Ports(BASE, 10, directory=locks), Ports(BASE, 10, directory=locks)
    (first,) = taken(one, 1)
    assert taken(other, 1) != [first]
    one.release()
    other.release()
    assert one.of(1) is None
    assert taken(other, 1) == [first]


def test_ports_of_a_killed_run_are_free(locks: Path) -> None:
    (first,) = taken(Ports(BASE, 10, directory=locks), 1)
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.write(writing, str(taken(Ports(BASE, 10, directory=locks), 1)[0]).encode())
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    its = int(os.read(reading, 100))
    assert its != first
    assert taken(Ports(BASE, 10, directory=locks), 1) == [its]


@pytest.mark.parametrize(
    ("host", "has_ipv6"),
    [
        *((host, True) for host in ("127.0.0.1", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1")),  # noqa: S104 - for a moment
        *((host, False) for host in ("127.0.0.1", "0.0.0.0")),  # noqa: S104 - likewise
    ],
)
def test_a_block_in_which_something_listens_is_left_out(
    locks: Path, monkeypatch: pytest.MonkeyPatch, host: str, *, has_ipv6: bool
) -> None:
    (first,) = taken(Ports(BASE, 10, directory=locks), 1)
    assert first is not None
    with ExitStack() as server:
        try:
            server.enter_context(listening(first + 13, host))
        except OSError as error:
            pytest.skip(f"nothing can listen at {host}: {error}")
        if not has_ipv6:
            monkeypatch.setattr("containers.worktrees.ports.socket.AF_INET6", 99)
        assert not is_free(first + 13)
        assert is_free(first + 14)
        blocks = taken(Ports(first, 10, directory=locks), 1, 2)
    assert first + 10 not in blocks


def test_without_free_ports_one_sentence_says_so(locks: Path) -> None:
    ports = Ports(HIGHEST_PORT - 24, 10, directory=locks)
    taken(ports, 1, 2)
    with pytest.raises(PoolError) as raised:
        ports.take(3)
    assert str(raised.value) == (
        "no 10 ports in a row from 65511 on are free for slot 3; set a lower `port_base` or a smaller "
        "`port_width` in [worktree], or `port_width = 0` for tasks without ports"
    )


def test_no_ports_if_none_are_wanted(locks: Path) -> None:
    assert taken(Ports(BASE, 0, directory=locks), 1) == [None]
    assert not locks.exists()


def test_all_users_can_lock_ports(locks: Path) -> None:
    taken(Ports(BASE, 10, directory=locks), 1)
    assert locks.stat().st_mode & 0o7777 == 0o1777
    assert all(file.stat().st_mode & 0o444 == 0o444 for file in locks.iterdir())


@pytest.mark.parametrize("what", ["directory", "file"])
def test_no_link_of_another_user_is_followed(locks: Path, tmp_path: Path, what: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if what == "directory":
        locks.symlink_to(elsewhere)
    else:
        locks.mkdir()
        for port in range(BASE, BASE + 30, 10):
            (locks / f"{port}.lock").symlink_to(elsewhere / "made")
    with pytest.raises(PoolError, match=r"cannot lock ports in .*ports: "):
        taken(Ports(BASE, 10, directory=locks), 1)
    assert not list(elsewhere.iterdir())


@pytest.mark.anyio
@pytest.mark.usefixtures("blockbuster")
async def test_a_worktree_in_place_of_one_that_is_set_aside_has_other_ports(
    clone: Clone, repository: Repository, locks: Path, tmp_path: Path
) -> None:
    """What a task left may still listen at the old ones."""
    ports = Ports(BASE, 10, directory=locks)
    async with Pool(repository, tmp_path / "pool", 2, ports=ports) as pool:
        one, other = await pool.acquire(clone.head), await pool.acquire(clone.head)
        await pool.release(one, in_quarantine=True)
        third = await pool.acquire(clone.head)
        assert [worktree.slot for worktree in (one, other, third)] == [1, 2, 3]
        assert len({worktree.port for worktree in (one, other, third)}) == 3
        await pool.release(other)
        again = await pool.acquire(clone.head)
        assert (again.slot, again.port) == (2, other.port)
    async with Pool(repository, tmp_path / "pool", 1, ports=Ports(BASE, 10, directory=locks)) as pool:
        assert (await pool.acquire(clone.head)).port == one.port, "all are free again"
