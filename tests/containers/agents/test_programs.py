"""The built-in agents that are installed here, with a provider that does not serve them."""

import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import repeat
from pathlib import Path

import pytest
from agent_cases import CASES, KEY, UNATTENDED, path, require
from model_server import ModelServer, Refusal
from provider_answers import anthropic, google, openai, overloaded, refused_key

from containers.agents.builtin import BUILT_IN
from containers.agents.reports.formats import read_report
from containers.runner import with_prompt_file
from tasks.agent_report import LimitKind

BY_AGENT = {case.agent: case for case in CASES}
QUOTA = "generativelanguage.googleapis.com/generate_content_free_tier_requests"
IN_AN_HOUR = int(time.time()) // 60 * 60 + 3600


@dataclass(frozen=True)
class Unserved:
    """An agent whose provider refuses every request, and what it reports then."""

    agent: str
    refusal: Refusal
    kind: LimitKind | None = None
    until: datetime | None = None


UNSERVED = (
    Unserved(
        "claude",
        anthropic(429, "rate_limit_error", "This would exceed your rate limit.", x_should_retry="false"),
        LimitKind.RATE,
    ),
    Unserved(
        "claude",
        anthropic(400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
        LimitKind.USAGE,
    ),
    Unserved(
        "codex",
        openai(429, type="usage_limit_reached", message="It is reached", plan_type="pro", resets_at=IN_AN_HOUR),
        LimitKind.USAGE,
        datetime.fromtimestamp(IN_AN_HOUR, UTC),
    ),
    Unserved("codex", overloaded("codex"), LimitKind.OVERLOADED),
    Unserved(
        "gemini",
        google(
            429,
            "You exceeded your current quota.",
            {
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [{"quotaMetric": QUOTA, "quotaId": "GenerateRequestsPerDayPerProjectPerModel"}],
            },
        ),
        LimitKind.USAGE,
    ),
    Unserved(
        "opencode", anthropic(400, "invalid_request_error", "Your credit balance is too low"), LimitKind.USAGE
    ),
    *(Unserved(case.agent, refused_key(case.agent)) for case in CASES),
)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("unserved", UNSERVED, ids=lambda one: f"{one.agent} {one.kind or 'refused'}")
def test_agent_reports_why_it_is_not_served(
    tmp_path: Path, environ: Mapping[str, str], unserved: Unserved
) -> None:
    case, agent = BY_AGENT[unserved.agent], BUILT_IN[unserved.agent]
    require(case)
    prompt, tree = tmp_path / "prompt.md", tmp_path / "tree"
    prompt.write_text("Write it.\n")
    subprocess.run(["git", "init", "-q", str(tree)], env=environ, check=True)
    variables = {**environ, **UNATTENDED, "PATH": path(), "HOME": str(tmp_path), case.key: KEY, "TZ": "UTC"}
    for command in case.setup:
        subprocess.run(["sh", "-c", command], env=variables, check=True)
    argv = with_prompt_file(["sh", "-c", agent.command], str(prompt))
    with ModelServer(case.turns, repeat(unserved.refusal)) as model, prompt.open() as stdin:
        variables |= {**agent.environment, **case.variables(model.port, "127.0.0.1")}
        done = subprocess.run(
            argv,
            cwd=tree,
            env=variables,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    report = read_report(done.stdout, agent.format or "", datetime.now(UTC), UTC)
    found = (report.limit and report.limit.kind, report.limit and report.limit.until, report.refused is None)
    assert found == (unserved.kind, unserved.until, unserved.kind is not None), done.stdout[-4000:]
