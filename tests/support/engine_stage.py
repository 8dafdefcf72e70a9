"""Run tasks in containers: a repository, its worktrees, and a runner whose image can be changed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
from repositories import Clone

from containers.dagger_engine.client.api import Client, Container
from containers.dagger_engine.config import ContainerConfig
from containers.dagger_engine.runner import EngineRunner
from containers.git.repository import Repository
from containers.runner import Job
from containers.worktrees.worktree import Worktree
from tasks.model import Step, StepKind
from tasks.outcome import Patch, StepResult
from tasks.secrets import Secrets

Furnish = Callable[[Container], Container]


class Furnished(EngineRunner):
    """A runner that changes its image before it runs steps, to stand in for another image."""

    def __init__(self, client: Client, place: ContainerConfig, furnish: Furnish) -> None:
        super().__init__(client, place)
        self._furnish = furnish

    def _image(self, name: str | None, layers: "tuple[str, ...] | list[str]") -> Container:  # type: ignore[override]  # narrower: only called like this
        return self._furnish(super()._image(name, layers))


@dataclass
class RecordingWatcher:
    """A watcher that records its calls."""

    events: list[str] = field(default_factory=list)

    async def step_started(self, number: int, _: Step) -> None:
        self.events.append(f"started {number}")

    async def step_finished(self, number: int, _: StepResult) -> None:
        self.events.append(f"finished {number}")

    async def next_round(self, _: StepResult) -> None:
        return None


@dataclass
class Stage:
    """A repository with worktrees, and the configuration of its containers."""

    client: Client
    clone: Clone
    directory: Path
    image: str
    place: ContainerConfig = field(init=False)
    runner: EngineRunner = field(init=False)
    watcher: RecordingWatcher = field(default_factory=RecordingWatcher)
    made: int = 0

    def __post_init__(self) -> None:
        self.repository = Repository.open(self.clone.path, self.clone.user.environ)
        self.place = ContainerConfig(self.repository.common, self.repository.identity())
        self.runner = EngineRunner(self.client, self.place)

    def settings(self, **changes: object) -> None:
        """Change the configuration that all containers share."""
        self.place = replace(self.place, **changes)  # type: ignore[arg-type]  # each test names the right ones
        self.runner = EngineRunner(self.client, self.place)

    def furnish(self, furnish: Furnish) -> None:
        """Change the image with a function before steps run."""
        self.runner = Furnished(self.client, self.place, furnish)

    def worktree(self, commit: str | None = None) -> Worktree:
        """Create a worktree."""
        self.made += 1
        path = self.directory / "pool" / f"wt-{self.made}"
        checkout = self.repository.add_worktree(path, commit or self.clone.head)
        checkout.reset(commit or self.clone.head)
        return Worktree(path.name, path, checkout)

    async def run(  # noqa: PLR0913 - the options of a task, by name
        self,
        *scripts: str | Step,
        worktree: Worktree | None = None,
        task: str = "1.1",
        run: str = "run-7",
        commit: str | None = None,
        secrets: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        limit: float | None = 120,
        layers: tuple[str, ...] = (),
        image: str | None = None,
        patch_limit: int | None = None,
        attempt: int = 1,
        is_teardown: bool = False,
    ) -> "Ran":
        """Run a task of these steps."""
        worktree = worktree or self.worktree(commit)
        log = self.directory / f"{worktree.name}-{run}.log"
        job = Job(
            run=run,
            task=task,
            steps=tuple(script(one) if isinstance(one, str) else one for one in scripts),
            log=log,
            scratch=self.directory / "scratch",
            start=commit or self.clone.head,
            secrets=Secrets(secrets or {}),
            environment=environment or {},
            timeout=limit,
            grace=1,
            image=image or self.image,
            layers=layers,
            patch_limit=patch_limit,
            attempt=attempt,
            is_teardown=is_teardown,
        )
        with anyio.fail_after(200):
            results = await self.runner.run(job, worktree, self.watcher)
        return Ran(results, worktree, job.start, await anyio.Path(log).read_text(errors="surrogateescape"))


@dataclass(frozen=True)
class Ran:
    """The results of a task, and what it left in its worktree."""

    results: tuple[StepResult, ...]
    worktree: Worktree
    start: str
    log: str

    @property
    def last(self) -> StepResult:
        """The last step's result."""
        return self.results[-1]

    @property
    def output(self) -> str:
        """The tail of the last step's output; the task must have succeeded."""
        assert self.last.ok, (self.last, self.log)
        return self.last.tail

    def text(self, name: str) -> str:
        """Return a file of the worktree."""
        return (self.worktree.path / name).read_text()

    def patch(self) -> Patch:
        """Create the patch of the worktree."""
        return self.worktree.checkout.patch(self.start)


def script(text: str, kind: StepKind = StepKind.RUN) -> Step:
    """Return a step that runs a script."""
    return Step(kind, text.splitlines()[0], ("sh", "-e", "-c", text))
