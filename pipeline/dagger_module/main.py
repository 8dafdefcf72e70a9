"""The Dagger module: the flow of every entry point, on the disk of the module's runtime.

The caller's repository is a `Workspace`, or a `Directory` with --source. Its git directory is copied to the
runtime's disk, so that worktrees, merges and commits are real ones; only how a worktree's files reach a
container differs from the host.
"""

from typing import Annotated

import dagger
from dagger import Doc, check, object_type

from pipeline.config.settings import SETTINGS
from pipeline.dagger_module.invocation import Invocation
from pipeline.dagger_module.signature import plan_function, setting_parameters

READING = ("agent", "dialect", "unit", "order", "optional", "tag")
"""The settings that decide how a plan is read."""
PUBLISHING = setting_parameters(SETTINGS.values(), publishing=True)


@object_type
class Patchyard:
    """Turns a Markdown plan into pull requests: every task runs in a container with its own worktree."""

    @plan_function(*PUBLISHING)
    async def run(
        self,
        invocation: Invocation,
        *,
        github_token: Annotated[
            dagger.Secret | None, Doc("Opens the pull requests with this token, such as env:GITHUB_TOKEN")
        ] = None,
        github_api: Annotated[
            str | None, Doc("The address of GitHub's API [default: from the remote's URL]")
        ] = None,
    ) -> str:
        """Run a plan, and return the table of its tasks; with a token, open the pull requests.

        Fails, with the same table, when a task failed.
        """
        environ = await invocation.github_environment(github_token, github_api)
        result = await invocation.run(environ, publish=github_token is not None)
        return result.checked().text

    @plan_function()
    async def patches(self, invocation: Invocation) -> dagger.Directory:
        """Run a plan, and return its patches and its report: `patches … export --path out`.

        Results of an earlier `run` come from the engine's cache. The directory has a `<task>.patch` for each
        task with changes, `report.json` and `report.md`; `patchyard publish --from out` opens the pull
        requests.
        """
        return await invocation.patches()

    @plan_function()
    async def changes(self, invocation: Invocation) -> dagger.Changeset:
        """Run a plan, and return the changes of all its tasks, to review and apply to the caller's files.

        Fails, and names them, where two tasks conflict.
        """
        return await invocation.changes()

    @check
    @plan_function(only=("plan", "plan_path", "source", *READING))
    async def check(self, invocation: Invocation) -> str:
        """Check a plan: all of its mistakes at once, each with its line and column; else how it is read."""
        return await invocation.check()
