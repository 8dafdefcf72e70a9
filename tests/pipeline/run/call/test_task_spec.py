"""Resolving the tasks of a plan with the settings."""

from pathlib import Path

from image_plan import PLAN_WITH_IMAGES

from containers.agents.builtin import Agent
from pipeline.config.sources import load
from pipeline.run.call.task_spec import BatchSpec, apply_secrets, images_of, pin_images, resolve_batches
from tasks.model import Mode
from tasks.plan.parser import parse
from tasks.secrets import Secrets

DIGEST = f"sha256:{'1' * 64}"


def resolved(root: Path, text: str = PLAN_WITH_IMAGES, **flags: object) -> tuple[BatchSpec, ...]:
    plan = parse(text, "plan.md", agent="agent").plan
    assert plan
    return resolve_batches(plan, load(flags, {}, root).resolve(plan.settings))


def test_images_of_a_plan_are_those_of_its_tasks(tmp_path: Path) -> None:
    batches = resolved(tmp_path)
    assert images_of(batches) == ("plan:1", "task:1", "batch:1")
    assert images_of(batches, [Mode.LOCAL]) == ("batch:1", "task:1")
    assert images_of(batches, [Mode.DAGGER]) == ()
    assert images_of(resolved(tmp_path, image="flag:1", mode="dagger"), [Mode.DAGGER]) == ("flag:1",)


def test_known_digests_are_added_to_images(tmp_path: Path) -> None:
    pinned = pin_images(resolved(tmp_path), {"task:1": DIGEST})
    assert images_of(pinned) == ("plan:1", f"task:1@{DIGEST}", "batch:1")
    assert images_of(pin_images(pinned, {"task:1": f"sha256:{'2' * 64}"})) == images_of(pinned)


def test_positions_count_over_all_batches(tmp_path: Path) -> None:
    specs = [spec for batch in resolved(tmp_path) for spec in batch.tasks]
    assert [(spec.position, spec.id) for spec in specs] == list(enumerate(["1.1", "1.2", "1.3", "2.1", "2.2"]))


def test_steps_are_setup_then_work_then_verification(tmp_path: Path) -> None:
    (tmp_path / "patchyard.toml").write_text('[worktree]\nsetup = ["make deps"]\n')
    fields = "**Implementation:**\n- Write it.\n**Verification:**\n- `make test`\n"
    text = f"## Batch 1: One\n### Task 1.1: A\n{fields}"
    ((spec,),) = (batch.tasks for batch in resolved(tmp_path, text, agent="tool -p", timeout="2m"))
    assert [(step.kind, step.title) for step in spec.steps] == [
        ("setup", "make deps"),
        ("agent", "tool -p"),
        ("verify", "make test"),
    ]
    assert (spec.agent, spec.timeout, spec.mode) == (Agent("tool -p", "tool -p"), 120, Mode.PARALLEL)


def test_secrets_are_masked_in_every_title(tmp_path: Path) -> None:
    value = "a-secret-value"
    text = f"## Batch 1: B {value}\n### Task 1.1: T {value}\n**Run:**\n- `echo {value}`\n"
    (batch,) = apply_secrets(resolved(tmp_path, text), Secrets({"KEY": value}))
    (spec,) = batch.tasks
    assert value not in batch.title + spec.title + spec.steps[0].title
    assert value in "".join(spec.steps[0].argv)


def test_a_task_that_must_not_run_is_refused_before_it_starts(tmp_path: Path) -> None:
    tasks = (
        "### Task 1.1: Fine\n**Run:**\n- `true`\n",
        "### Task 1.2: Outside\n**Files:**\n- Create: `../x`\n**Run:**\n- `true`\n",
        "### Task 1.3: Secret\n**Commit:** a-secret-value\n**Run:**\n- `true`\n",
    )
    ((fine, outside, secret),) = (
        batch.tasks
        for batch in apply_secrets(
            resolved(tmp_path, "## Batch 1: B\n" + "".join(tasks)), Secrets({"KEY": "a-secret-value"})
        )
    )
    assert fine.refusal is None
    assert outside.refusal == "it declares ../x (plan.md:7), which is outside of the repository"
    assert secret.refusal == "its commit message holds the value of KEY, so it is withheld"
