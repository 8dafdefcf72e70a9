"""The sandbox of a run: what all its tasks have in common."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import field
from pathlib import Path

from containers.process_marks import ProcessMark
from containers.runner import Job
from containers.sandbox.home import HomeMask
from containers.sandbox.mounter import Mounter, SandboxError
from containers.sandbox.mounts import Places
from containers.sandbox.policy import Policy
from containers.sandbox.room import Room, open_room
from containers.sandbox.system import RootFiles
from containers.temporary import held_directory, temporary_path
from containers.worktrees.worktree import Worktree
from tasks.lazy.dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Gives each task a sandbox of its own.

    Args:
        program: The path of bubblewrap.
        policy: What the user permits.
        checkout: The user's checkout.
        common: The common git directory of the user's repository.
        home: The user's home directory; `None` without one.
        hidden: Files and directories that are secret, wherever they are.
        agents: Agents' programs, such as `claude`, by the names of the agents.
        root_files: What is taken from tasks of root.
        home_mask: What hides secrets in the home directory.
        moved: Where agents' files are besides their usual places, by these.
        mounter: Makes the file systems.
    """

    program: str
    policy: Policy
    checkout: Path
    common: Path
    home: Path | None
    hidden: tuple[Path, ...] = ()
    agents: Mapping[str, str] = field(default_factory=dict)
    root_files: RootFiles = field(default_factory=RootFiles)
    home_mask: HomeMask = field(default_factory=HomeMask)
    moved: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    mounter: Mounter = field(default_factory=Mounter)

    def close(self) -> None:
        """End what the tasks have in common. Blocking."""
        self.mounter.close()

    @contextmanager
    def room(self, job: Job, worktree: Worktree, mark: ProcessMark) -> Iterator[Room]:
        """Make the sandbox of a task; its processes and its files end with the context. Blocking.

        Raises:
            SandboxError: It cannot be made.
        """
        with ExitStack() as stack:
            try:
                path = temporary_path(job.scratch.parent, f"{job.task}-room")
                directory = stack.enter_context(held_directory(path))
            except OSError as error:
                raise SandboxError(f"cannot create {error.filename}: {error.strerror}") from None
            places = Places(
                worktree=worktree.path,
                worktrees=worktree.path.parent,
                checkout=self.checkout,
                common=self.common,
                room=directory,
                home=self.home,
                readable=(job.scratch,),
                write=self.policy.write,
                hidden=self.hidden,
                agent=self.agents.get(job.agent or ""),
                root_files=self.root_files,
                home_mask=self.home_mask,
                moved=self.moved,
            )
            yield stack.enter_context(open_room(self.program, self.policy, places, mark, self.mounter))
