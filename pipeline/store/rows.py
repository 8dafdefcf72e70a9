"""Map records that are not one row each: a task with its outcome, an attempt with its patch, a task's inputs.

The values have the types of the columns; `pipeline.store.tables` converts them for the database.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, TypeAlias

from pipeline.store.records import (
    BaseCheck,
    Run,
    SharedBranch,
    StoredAttempt,
    StoredRound,
    StoredStep,
    StoredTask,
)
from tasks.agent_report import Tokens
from tasks.conflicts import Cause
from tasks.keys import AgentUse, InputHashes
from tasks.lineage import Lineage
from tasks.outcome import Failure, Outcome, Patch, PullRequest
from tasks.patch_data import PatchData
from tasks.usage import Usage

Row: TypeAlias = Mapping[str, Any]
"""The values of a row by the names of its columns."""
DataOf: TypeAlias = Callable[[str, int, str], PatchData]
"""Returns the text of a patch by its run, its size in bytes, and its SHA-256."""
_OUTCOME = tuple(
    field.name for field in fields(Outcome) if field.name not in {"task", "files", "patch", "tokens"}
)
_ATTEMPT = tuple(field.name for field in fields(StoredAttempt) if field.name not in {"patch", "cause"})
_SHARED_BRANCH = tuple(field.name for field in fields(SharedBranch))
_ROUND = ("task", "attempt", "number", "seconds", "cost", "said")
_TOKENS = tuple(field.name for field in fields(Tokens))
_FAILURE = tuple(field.name for field in fields(Failure))
_BASE_CHECK = tuple(field.name for field in fields(BaseCheck))
_STEP = tuple(field.name for field in fields(StoredStep) if field.name != "tokens")


def run_values(run: Run) -> dict[str, Any]:
    """Return the row of a run that no process has claimed."""
    values = {field.name: getattr(run, field.name) for field in fields(run)}
    return values | {"owner": None, "lease_until": None}


def run_of(row: Row) -> Run:
    """Return the run of a row."""
    return Run(**{**row, "repository": row["repository"] or ""})  # NULL before revision 0002


def outcome_values(outcome: Outcome) -> dict[str, Any]:
    """Return the columns of `tasks` for an outcome that is stored now."""
    return {
        **{name: getattr(outcome, name) for name in _OUTCOME},
        "finished_at": datetime.now(UTC),
        **patch_values(outcome.patch),
        **_token_values(outcome.tokens),
        "files": outcome.files,
    }


def usage_values(usage: Usage) -> dict[str, Any]:
    """Return the columns of what an agent used in a step."""
    return {"cost": usage.cost, **_token_values(usage.tokens)}


def usage_of(row: Row) -> Usage:
    """Return what an agent used in the step of a row."""
    return Usage(row["cost"], _tokens_of(row))


def _token_values(tokens: Tokens) -> dict[str, Any]:
    return {f"{name}_tokens": getattr(tokens, name) for name in _TOKENS}


def _tokens_of(row: Row) -> Tokens:
    return Tokens(**{name: row[f"{name}_tokens"] for name in _TOKENS})


def patch_values(patch: Patch | None) -> dict[str, Any]:
    """Return the columns of a patch; the column `start` has the commit that it applies to."""
    if patch is None:
        return {"files": (), "tree": None, "patch_sha256": None, "patch_size": None}
    diff = patch.diff
    return {"files": patch.files, "tree": patch.tree, "patch_sha256": diff.sha256, "patch_size": diff.size}


def _patch_of(row: Row, data: DataOf) -> Patch | None:
    if row["patch_sha256"] is None:
        return None
    diff = data(row["run"], row["patch_size"], row["patch_sha256"])
    return Patch(start=row["start"], tree=row["tree"], diff=diff, files=row["files"])


def task_of(row: Row, data: DataOf, builds_on: Lineage) -> StoredTask:
    """Return the task of a row; `data` gives the text of its patch."""
    values = {name: row[name] for name in _OUTCOME}
    values["cached"] = bool(row["cached"])  # NULL in rows of older releases
    values["rounds"] = row["rounds"] or 1  # NULL before revision 0005
    values["tokens"] = _tokens_of(row)
    return StoredTask(
        outcome=Outcome(task=row["task"], files=row["files"], patch=_patch_of(row, data), **values),
        start_branch=row["start_branch"],
        builds_on=builds_on,
        finished_at=row["finished_at"],
        log=row["log"],
        pull_request=_pull_request_of(row),
        attempt=row["attempt"] or 1,  # NULL before revision 0002
    )


def _pull_request_of(row: Row) -> PullRequest | None:
    if row["request_number"] is None:
        return None
    return PullRequest(
        task=row["request_part"] or row["task"],
        number=row["request_number"],
        url=row["request_url"],
        branch=row["request_branch"] or row["branch"],
        base=row["request_base"],
        action=row["request_action"],
    )


def attempt_values(attempt: StoredAttempt) -> dict[str, Any]:
    """Return the row of an attempt."""
    cause = attempt.cause or Cause(())
    causes = {"cause_tasks": cause.tasks, "cause_files": cause.files}
    return {name: getattr(attempt, name) for name in _ATTEMPT} | causes | patch_values(attempt.patch)


def attempt_of(row: Row, data: DataOf) -> StoredAttempt:
    """Return the attempt of a row; `data` gives the text of its patch."""
    cause = Cause(row["cause_tasks"], row["cause_files"]) if row["cause_tasks"] else None
    return StoredAttempt(**{name: row[name] for name in _ATTEMPT}, patch=_patch_of(row, data), cause=cause)


def round_values(ended: StoredRound) -> dict[str, Any]:
    """Return the row of a round."""
    failure = ended.failure
    return {
        **{name: getattr(ended, name) for name in _ROUND},
        "kind": failure.kind if failure else None,
        "step": failure.step if failure else None,
        "exit_code": failure.exit_code if failure else 0,
        "timed_out": failure.timed_out if failure else False,
        "error": failure.error if failure else None,
        "output": failure.output if failure else "",
        "start": ended.patch.start if ended.patch else None,
        **_token_values(ended.tokens),
        **patch_values(ended.patch),
    }


def round_of(row: Row, data: DataOf) -> StoredRound:
    """Return the round of a row; `data` gives the text of its patch."""
    failure = Failure(**{name: row[name] for name in _FAILURE}) if row["kind"] else None
    return StoredRound(
        **{name: row[name] for name in _ROUND},
        failure=failure,
        patch=_patch_of(row, data),
        tokens=_tokens_of(row),
    )


def base_check_values(check: BaseCheck) -> dict[str, Any]:
    """Return the row of a check that ends now."""
    return {**{name: getattr(check, name) for name in _BASE_CHECK}, "finished_at": datetime.now(UTC)}


def base_check_of(row: Row) -> BaseCheck:
    """Return the check of a row."""
    return BaseCheck(**{name: row[name] for name in _BASE_CHECK})


def step_of(row: Row) -> StoredStep:
    """Return the step of a row."""
    return StoredStep(**{name: row[name] for name in _STEP}, tokens=_tokens_of(row))


def shared_branch_values(branch: SharedBranch) -> dict[str, Any]:
    """Return the row of a branch that several tasks share."""
    return {name: getattr(branch, name) for name in _SHARED_BRANCH}


def shared_branch_of(row: Row) -> SharedBranch:
    """Return the shared branch of a row."""
    return SharedBranch(**{name: row[name] for name in _SHARED_BRANCH})


def inputs_values(inputs: InputHashes) -> Mapping[str, Any]:
    """Return the row of a task's inputs."""
    agent = inputs.agent
    return {
        "key": inputs.key,
        "mode": inputs.mode,
        "start_tree": inputs.start_tree,
        "image": inputs.image,
        "agent": agent.name if agent else None,
        "agent_command": agent.command if agent else None,
        "agent_version": agent.version if agent else None,
        "environment": inputs.environment,
        "secrets": inputs.secrets,
    }


def inputs_of(row: Row) -> InputHashes:
    """Return the inputs of a row."""
    agent = AgentUse(row["agent"], row["agent_command"], row["agent_version"]) if row["agent"] else None
    return InputHashes(
        key=row["key"],
        mode=row["mode"],
        start_tree=row["start_tree"],
        image=row["image"],
        agent=agent,
        environment=row["environment"],
        secrets=row["secrets"],
    )
