"""Command `trust`: remember which settings of a repository the user trusts."""

from pathlib import Path

import click

from pipeline.cli.options import repo_option
from pipeline.cli.process import environment, repository_if_any
from pipeline.config.sources import load
from pipeline.config.trust import TrustStore, needed_grants
from pipeline.run.call.plan_file import parse_plan, read_plan
from tasks.model import PlanSettings
from tasks.plan.parser import PlanError
from tasks.text import printable


@click.command()
@click.argument("plan", metavar="[PLAN]", required=False)
@repo_option
@click.option("--revoke", is_flag=True, help="Forget the trust in the present settings.")
def trust(plan: str | None, repo: Path, *, revoke: bool) -> None:
    """Trust the present settings of the repository and, with PLAN, of its front matter.

    Secrets, services, engines, agents, a webhook, the remote, publishing, files copied into containers and a
    pool elsewhere need this if the repository sets them. A setting that changes needs it again. It is
    remembered in ~/.local/state/patchyard/trust.
    """
    environ = environment()
    _, root = repository_if_any(repo, environ)
    sources, settings, batches = load({}, environ, root), PlanSettings(), None
    if plan is not None:
        parsed = parse_plan(read_plan(plan), sources, environ)
        if parsed.plan is None:
            raise PlanError(parsed.diagnostics)
        settings, batches = parsed.plan.settings, parsed.plan.batches
    grants = needed_grants(sources, settings, plan or "", root, batches)
    store = TrustStore(environ)
    (store.remove if revoke else store.add)(grants, root)
    for grant in grants:
        click.echo(printable(f"{'no longer trusted' if revoke else 'trusted'}: {grant}"))
    if not grants:
        click.echo("no setting here needs trust")
