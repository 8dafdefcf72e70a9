"""Door 3: the Dagger module. The same flow as everywhere, on the module runtime's own disk.

The caller's repository comes as a `Workspace`, or as a `Directory` with --source. Its git directory is put on
the runtime's disk, so that worktrees, merges and commits are real ones; only how a worktree's files reach a
container differs from the host.
"""

from collections.abc import Callable
from typing import Annotated, TypeVar

import dagger
from dagger import Doc, check, function, object_type

from pipeline.dagger_module.invocation import Invocation, Options

PlanFile = Annotated[dagger.File | None, Doc("The plan, a Markdown file [default: the repository's plan.md]")]
Source = Annotated[
    dagger.Directory | None, Doc("The repository, with its .git [default: the one that this is called from]")
]
PoolSize = Annotated[int | None, Doc("How many tasks run at once [default: 3]")]
StartBatch = Annotated[int | None, Doc("The first batch to run")]
EndBatch = Annotated[int | None, Doc("The last batch to run")]
Tasks = Annotated[list[str] | None, Doc("Run this task only; may be given several times")]
Image = Annotated[str | None, Doc("Image of the tasks' containers, whatever the plan names")]
Agent = Annotated[str | None, Doc("Who gets the text of tasks that have no Run commands")]
Secrets = Annotated[
    list[dagger.Secret] | None, Doc("A variable that tasks get as a secret, such as env:OPENAI_API_KEY")
]
Timeout = Annotated[str | None, Doc("How long a task may take, such as 90s, 10m or 1h [default: 1h]")]
KeepGoing = Annotated[bool, Doc("After a failure, skip only the tasks that name the failed one")]
Fresh = Annotated[bool, Doc("Run every task again, also what the engine has cached")]

F = TypeVar("F", bound=Callable[..., object])


def uncached(method: F) -> F:
    """Make a function of a method. The engine never keeps its result, only the tasks' own."""
    made: F = function(cache="never")(method)  # type: ignore[call-overload]  # its overloads lack `cache`
    return made


@object_type
class Patchyard:
    """Turns a Markdown plan into pull requests: every task a container over its own worktree."""

    @uncached
    async def run(
        self,
        ws: dagger.Workspace,
        plan: PlanFile = None,
        source: Source = None,
        pool_size: PoolSize = None,
        start_batch: StartBatch = None,
        end_batch: EndBatch = None,
        task: Tasks = None,
        image: Image = None,
        agent: Agent = None,
        secret: Secrets = None,
        timeout: Timeout = None,
        keep_going: KeepGoing = False,
        fresh: Fresh = False,
        github_token: Annotated[
            dagger.Secret | None, Doc("Opens the pull requests with this token, such as env:GITHUB_TOKEN")
        ] = None,
        github: Annotated[
            str | None, Doc("The repository on GitHub, as owner/repo [default: from the remote's URL]")
        ] = None,
        github_api: Annotated[
            str | None, Doc("The address of GitHub's API [default: from the remote's URL]")
        ] = None,
        draft: Annotated[bool, Doc("Open the pull requests as drafts")] = False,
        auto_merge: Annotated[
            bool, Doc("Turn on GitHub's auto-merge, or merge where nothing is required")
        ] = False,
    ) -> str:
        """Run a plan, and return the table of its tasks; with a token, open the pull requests.

        Fails, with the same table, when a task failed.
        """
        options = Options(
            pool_size,
            start_batch,
            end_batch,
            task,
            image,
            agent,
            secret,
            timeout,
            fresh=fresh,
            keep_going=keep_going,
        )
        inside = await Invocation.at(source or ws, plan, options)
        ran = await inside.run(
            await inside.forge(github_token, github_api),
            publish=github_token is not None,
            github=github,
            draft=draft or None,
            auto_merge=auto_merge or None,
        )
        return ran.checked().text

    @uncached
    async def patches(
        self,
        ws: dagger.Workspace,
        plan: PlanFile = None,
        source: Source = None,
        pool_size: PoolSize = None,
        start_batch: StartBatch = None,
        end_batch: EndBatch = None,
        task: Tasks = None,
        image: Image = None,
        agent: Agent = None,
        secret: Secrets = None,
        timeout: Timeout = None,
        keep_going: KeepGoing = False,
        fresh: Fresh = False,
    ) -> dagger.Directory:
        """Run a plan, and return its patches and its report: `patches … export --path out`.

        What `run` did before comes from the engine's cache. The directory has a `<task>.patch` for each task
        that changed something, `report.json` and `report.md`; `patchyard publish --from out` opens the pull
        requests.
        """
        options = Options(
            pool_size,
            start_batch,
            end_batch,
            task,
            image,
            agent,
            secret,
            timeout,
            fresh=fresh,
            keep_going=keep_going,
        )
        inside = await Invocation.at(source or ws, plan, options)
        return await inside.patches()

    @uncached
    async def changes(
        self,
        ws: dagger.Workspace,
        plan: PlanFile = None,
        source: Source = None,
        pool_size: PoolSize = None,
        start_batch: StartBatch = None,
        end_batch: EndBatch = None,
        task: Tasks = None,
        image: Image = None,
        agent: Agent = None,
        secret: Secrets = None,
        timeout: Timeout = None,
        keep_going: KeepGoing = False,
        fresh: Fresh = False,
    ) -> dagger.Changeset:
        """Run a plan, and return all that its tasks changed, to be shown and applied to the caller's files.

        Fails, and names them, where two tasks conflict.
        """
        options = Options(
            pool_size,
            start_batch,
            end_batch,
            task,
            image,
            agent,
            secret,
            timeout,
            fresh=fresh,
            keep_going=keep_going,
        )
        inside = await Invocation.at(source or ws, plan, options)
        return await inside.changes()

    @uncached
    @check
    async def check(
        self, ws: dagger.Workspace, plan: PlanFile = None, source: Source = None, agent: Agent = None
    ) -> str:
        """Check a plan: all of its mistakes at once, each with its line and column."""
        inside = await Invocation.at(source or ws, plan, Options(agent=agent))
        return await inside.check()
