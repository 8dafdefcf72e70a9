"""Several engines: their addresses, which one a task goes to, and what happens when one goes away."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Lock

import anyio
import pytest
from engine_stage import RecordingWatcher, script
from repositories import Clone
from stand_in_engine import StandIn, command_line

from containers.dagger_engine import step_script as driver
from containers.dagger_engine.address import EngineAddress
from containers.dagger_engine.config import ContainerConfig
from containers.dagger_engine.engines import Engines
from containers.dagger_engine.query import EngineError
from containers.dagger_engine.session import CLI
from containers.git.repository import Repository
from containers.runner import Job
from containers.worktrees.worktree import Worktree
from tasks.outcome import StepResult

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

DONE = f"{driver.MARK}run run-7\n{driver.MARK}step 1\n{driver.MARK}end 1 0 0 1\n"


@pytest.mark.parametrize(
    ("text", "engine"),
    [
        ("tcp://host:1234", EngineAddress("tcp://host:1234")),
        ("tcp://host:1234=4", EngineAddress("tcp://host:1234", 4)),
        ("unix:///run/engine.sock=1", EngineAddress("unix:///run/engine.sock", 1)),
        ("kube-pod://pod?namespace=dagger", EngineAddress("kube-pod://pod?namespace=dagger")),
        ("kube-pod://pod?namespace=dagger=2", EngineAddress("kube-pod://pod?namespace=dagger", 2)),
        ("kube-pod://pod?namespace=42", EngineAddress("kube-pod://pod?namespace=42")),
        ("kube-pod://pod?namespace=42=2", EngineAddress("kube-pod://pod?namespace=42", 2)),
        ("kube-pod://pod?context=a&namespace=42", EngineAddress("kube-pod://pod?context=a&namespace=42")),
        ("kube-pod://pod?context=a&namespace=42=3", EngineAddress("kube-pod://pod?context=a&namespace=42", 3)),
        ("ssh://me@host", EngineAddress("ssh://me@host")),
        ("container://dagger-engine", EngineAddress("container://dagger-engine")),
        (
            "image://registry.dagger.io/engine:v0.21.8=3",
            EngineAddress("image://registry.dagger.io/engine:v0.21.8", 3),
        ),
    ],
)
def test_an_address_is_read(text: str, engine: EngineAddress) -> None:
    assert EngineAddress.parse(text) == engine
    assert str(engine) == engine.url


@pytest.mark.parametrize("text", ["", "host:1234", "http://host", "tcp:host", "tcp://host:1=0", "://x", "=4"])
def test_invalid_address_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"not an engine address|a share is at least 1"):
        EngineAddress.parse(text)


@pytest.mark.parametrize("text", ["tcp://", "tcp://host", "tcp://:1234", "tcp://host:x", "tcp://host=4"])
def test_an_address_without_a_host_or_a_port_is_refused(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"is not an engine address: it needs a host and a port, as in tcp://host:1234$"
    ):
        EngineAddress.parse(text)


@pytest.mark.parametrize("scheme", ["unix", "ssh", "kube-pod", "container"])
def test_an_address_of_nothing_is_refused(scheme: str) -> None:
    with pytest.raises(ValueError, match=rf"is not an engine address: nothing follows {scheme}://$"):
        EngineAddress.parse(f"{scheme}://")


class Held:
    """Holds the execs of an engine until it lets them go, and counts them."""

    def __init__(self, engine: StandIn) -> None:
        self._go = Event()
        self._lock = Lock()
        self.begun = 0
        engine.answers["stdout"] = self._exec

    def _exec(self, _: str) -> str:
        with self._lock:
            self.begun += 1
        assert self._go.wait(60)
        return DONE

    def release(self) -> None:
        """Let all of them end."""
        self._go.set()


class Machine:
    """Engines that stand in for real ones, and a repository to run tasks on."""

    def __init__(self, engines: Sequence[StandIn], clone: Clone, directory: Path) -> None:
        self.engines = engines
        self.clone = clone
        self.directory = directory
        self.environ = {CLI: str(command_line(directory))}
        self.repository = Repository.open(clone.path, clone.user.environ)
        self.notices: list[str] = []
        self.watchers: list[RecordingWatcher] = []

    def over(self, *addresses: str) -> Engines:
        """Return a runner over engines."""
        place = ContainerConfig(self.repository.common, self.repository.identity())
        parsed = [EngineAddress.parse(address) for address in addresses]
        return Engines(parsed, place, self.environ, self.directory / "log", self.notices.append)

    async def run(self, engines: Engines, number: int, *, is_teardown: bool = False) -> tuple[StepResult, ...]:
        """Run a task in a worktree of its own, or its teardown there."""
        path = self.directory / "pool" / f"wt-{number}"
        checkout = self.repository.worktree(path) or self.repository.add_worktree(path, self.clone.head)
        checkout.reset(self.clone.head)
        job = Job(
            run="run-7",
            task=f"1.{number}",
            steps=(script("true"),),
            log=self.directory / f"{number}.log",
            scratch=self.directory / "scratch",
            start=self.clone.head,
            is_teardown=is_teardown,
        )
        self.watchers.append(RecordingWatcher())
        return await engines.run(job, Worktree(path.name, path, checkout), self.watchers[-1])


@pytest.fixture
def machine(clone: Clone, tmp_path: Path) -> Iterator[Machine]:
    with ExitStack() as stack:
        yield Machine([stack.enter_context(StandIn()) for _ in range(3)], clone, tmp_path)


async def until(happened: Callable[[], object]) -> None:
    with anyio.fail_after(60):
        while not happened():  # noqa: ASYNC110 - it is another thread that is waited for
            await anyio.sleep(0.01)


async def begun_when_all_wait(machine: Machine, addresses: Mapping[str, StandIn], tasks: int) -> list[int]:
    """Return how many tasks each engine has when none of them ends."""
    held = [Held(engine) for engine in addresses.values()]
    async with machine.over(*addresses) as engines, anyio.create_task_group() as group:
        for number in range(tasks):
            group.start_soon(machine.run, engines, number)
        shares = [EngineAddress.parse(address).share for address in addresses]
        room = sum(share or tasks for share in shares)
        await until(lambda: sum(one.begun for one in held) == min(room, tasks))
        await anyio.sleep(0.2)
        counts = [one.begun for one in held]
        for one in held:
            one.release()
    assert sum(one.begun for one in held) == tasks
    return counts


async def test_tasks_are_spread_evenly(machine: Machine) -> None:
    first, second, _ = machine.engines
    assert await begun_when_all_wait(machine, {first.address: first, second.address: second}, 4) == [2, 2]


async def test_shares_are_kept_and_weighed(machine: Machine) -> None:
    first, second, third = machine.engines
    limited = {f"{first.address}=1": first, f"{second.address}=2": second}
    assert await begun_when_all_wait(machine, limited, 5) == [1, 2]
    weighed = {f"{first.address}=1": first, f"{third.address}=4": third}
    machine.directory = machine.directory / "again"
    machine.directory.mkdir()
    assert await begun_when_all_wait(machine, weighed, 5) == [1, 4]


async def test_teardown_runs_on_the_engine_of_its_task(machine: Machine) -> None:
    first, second, _ = machine.engines
    ended = f"{driver.MARK}run run-7\n{driver.MARK}step 1\n{driver.MARK}end 1 0 100 250\n"
    for engine in (first, second):
        engine.answers["stdout"] = lambda _: ended
    async with machine.over(first.address, second.address) as engines:
        async with anyio.create_task_group() as group:
            for number in (1, 2):
                group.start_soon(machine.run, engines, number)
        for number in (2, 1, 1):
            await machine.run(engines, number, is_teardown=True)
        execs = [sum(query.endswith(".stdout") for query in engine.asked) for engine in (first, second)]
        assert execs == [2, 2], "and once, not where nothing is left"
        await machine.run(engines, 1)
        first.cut()
        second.cut()
        with pytest.raises(EngineError):
            await machine.run(engines, 1, is_teardown=True)


async def test_an_engine_that_goes_gives_its_task_to_another(machine: Machine) -> None:
    first, second, _ = machine.engines
    going, staying = Held(first), Held(second)
    staying.release()
    results: list[StepResult] = []
    async with machine.over(first.address, second.address) as engines, anyio.create_task_group() as group:

        async def run(number: int) -> None:
            results.extend(await machine.run(engines, number))

        for number in range(4):
            group.start_soon(run, number)
        await until(lambda: going.begun)
        lost = going.begun
        first.cut()
        going.release()
    assert [result.exit_code for result in results] == [0] * 4
    assert staying.begun == 4
    again_begun = [
        watcher for watcher in machine.watchers if watcher.events == ["started 1", "started 1", "finished 1"]
    ]
    assert 1 <= lost <= len(again_begun)  # one more may have been on its way there when it went
    gone, *again = machine.notices
    assert gone.startswith(f"{first.address} is unavailable: it does not answer any more (")
    assert gone.endswith("); the run continues without it")
    assert len(again) == len(again_begun)
    assert all(one.endswith("starts again on another engine") for one in again)


async def test_when_all_have_gone_the_run_cannot_go_on(machine: Machine) -> None:
    first, second, _ = machine.engines
    async with machine.over(first.address, second.address) as engines:
        first.cut()
        second.cut()
        for number in (1, 2):  # a later task gets the same reason
            with pytest.raises(EngineError, match=r" is unavailable, and no other engine is left: it "):
                await machine.run(engines, number)


async def test_engine_that_fails_while_resolving_digests_is_not_used_again(machine: Machine) -> None:
    first, second, _ = machine.engines
    digest = f"sha256:{'1' * 64}"
    second.answers["imageRef"] = lambda _: f"image:1@{digest}"
    async with machine.over(first.address, second.address) as engines:
        first.cut()
        assert await engines.resolve_digests(["image:1"]) == {"image:1": digest}
        (notice,) = machine.notices
        assert notice.startswith(f"{first.address} is unavailable: it does not answer any more (")
        second.cut()
        with pytest.raises(EngineError, match=r" is unavailable, and no other engine is left: it "):
            await engines.resolve_digests(["image:1"])


async def test_a_task_under_which_two_engines_went_is_not_tried_on_a_third(machine: Machine) -> None:
    first, second, third = machine.engines
    async with machine.over(*(engine.address for engine in machine.engines)) as engines:
        first.cut()
        second.cut()
        (result,) = await machine.run(engines, 1)
        assert result.error == "two engines in turn became unavailable while they ran it"
        assert machine.watchers[0].events == ["started 1", "started 1", "finished 1"]
        third.answers["stdout"] = lambda _: DONE
        (result,) = await machine.run(engines, 2)
        assert result.ok


async def test_engine_unavailable_at_the_start_is_left_out(machine: Machine, tmp_path: Path) -> None:
    first = machine.engines[0]
    first.answers["stdout"] = lambda _: DONE
    nowhere = f"unix://{tmp_path}/nowhere.sock"
    async with machine.over(nowhere, first.address) as engines:
        (result,) = await machine.run(engines, 1)
    assert result.ok
    (notice,) = machine.notices
    assert notice.startswith(f"{nowhere} does not answer: cannot connect (")
    assert notice.endswith("; the run continues without it")


async def test_when_none_is_there_it_is_an_error(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="does not answer: cannot connect"):
        async with machine.over(f"unix://{tmp_path}/a.sock", f"unix://{tmp_path}/b.sock"):
            pass


async def test_a_cancelled_task_gives_its_room_back(machine: Machine) -> None:
    first = machine.engines[0]
    held = Held(first)
    async with machine.over(f"{first.address}=1") as engines:
        async with anyio.create_task_group() as group:
            group.start_soon(machine.run, engines, 1)
            await until(lambda: held.begun)
            group.cancel_scope.cancel()
        held.release()
        with anyio.fail_after(30):
            assert (await machine.run(engines, 2))[0].ok
