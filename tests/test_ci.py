"""The repository's workflows and those in docs/ci.md are valid, pinned, and safe with untrusted input."""

import re
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import Project
from repositories import Clone

ROOT = Path(__file__).parents[1]
OWN = ".github/workflows/ci.yml"
RELEASE = ".github/workflows/release.yml"
GITLAB = ".gitlab-ci.yml"
FENCE = re.compile(r"^```yaml\n# (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
Node = dict[str, Any]


def fences() -> Mapping[str, str]:
    """Return the workflows of docs/ci.md, by the path in their first line."""
    return dict(FENCE.findall((ROOT / "docs" / "ci.md").read_text(encoding="utf-8")))


def workflows() -> Mapping[str, str]:
    """Return every GitHub workflow, by path."""
    mine = {name: (ROOT / name).read_text(encoding="utf-8") for name in (OWN, RELEASE)}
    return {**mine, **{name: text for name, text in fences().items() if name != GITLAB}}


def loaded(text: str) -> Node:
    """Parse a workflow; every value stays a string, because YAML parses `on` as true."""
    data: Node = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - creates only strings, lists and mappings
    return data


def steps(text: str) -> Iterator[Node]:
    """Yield the steps of all jobs."""
    for job in loaded(text)["jobs"].values():
        yield from job["steps"]


def call(*arguments: str | Path, cwd: Path) -> str:
    """Run a checker that must succeed, and return its output."""
    done = subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def written(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_page_has_workflows_for_github_and_gitlab() -> None:
    assert set(fences()) == {".github/workflows/plan.yml", GITLAB}


@pytest.mark.parametrize("name", [*workflows(), GITLAB])
def test_workflow_matches_its_schema(name: str, tmp_path: Path) -> None:
    schema = "vendor.gitlab-ci" if name == GITLAB else "vendor.github-workflows"
    path = written(tmp_path, name, {**workflows(), **fences()}[name])
    check = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema)
    call(*check, path, cwd=tmp_path)
    broken = written(
        tmp_path,
        "broken.yml",
        path.read_text().replace("image:", "imag3: [1]\n  image: 3.")
        if name == GITLAB
        else path.read_text().replace("runs-on:", "runs_on:"),
    )
    with pytest.raises(AssertionError):
        call(*check, broken, cwd=tmp_path)


@pytest.mark.parametrize("name", workflows())
def test_workflow_has_no_known_security_problem(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, name, workflows()[name])
    zizmor = (Path(sysconfig.get_path("scripts"), "zizmor"), "--offline", "--no-progress", "--quiet")
    call(*zizmor, path, cwd=tmp_path)
    unsafe = workflows()[name].replace("make test PYTHON=python", "echo ${{ github.head_ref }}")
    unsafe = unsafe.replace('patchyard run --plan="$PLAN"', 'patchyard run --plan="${{ inputs.plan }}"')
    with pytest.raises(AssertionError, match="template-injection"):
        call(*zizmor, written(tmp_path, name, unsafe), cwd=tmp_path)


@pytest.mark.parametrize("name", workflows())
def test_actions_are_pinned_by_commit_with_their_version(name: str) -> None:
    used = re.findall(r"^ *(?:- )?uses: (.*)$", workflows()[name], re.MULTILINE)
    assert used
    assert [line for line in used if not PINNED.fullmatch(line)] == []


def test_every_action_has_the_same_version_everywhere() -> None:
    used = {
        tuple(line.split("@")) for text in workflows().values() for line in re.findall(r"uses: (\S+)", text)
    }
    assert len({name for name, _ in used}) == len(used)


@pytest.mark.parametrize("name", workflows())
def test_no_script_contains_an_expression(name: str) -> None:
    scripts = [step["run"] for step in steps(workflows()[name]) if "run" in step]
    assert scripts
    assert [script for script in scripts if "${{" in script] == []


@pytest.mark.parametrize("name", workflows())
def test_jobs_have_minimal_permissions(name: str) -> None:
    workflow = loaded(workflows()[name])
    assert workflow["permissions"] in ({}, "{}")
    assert workflow["concurrency"]["group"]
    for job in workflow["jobs"].values():
        writes = {right for right, kind in job["permissions"].items() if kind == "write"}
        publishes = any("patchyard publish" in step.get("run", "") for step in job["steps"])
        releases = any("actions/attest-build-provenance@" in step.get("uses", "") for step in job["steps"])
        allowed = {"contents", "pull-requests"} if publishes else set()
        if releases:  # the job has no checkout, so it cannot run code of the repository
            allowed = {"attestations", "contents", "id-token"}
            assert not any(step.get("uses", "").startswith("actions/checkout@") for step in job["steps"])
        assert writes == allowed
        assert int(job["timeout-minutes"]) <= 120
        runs_plan = any("patchyard run" in step.get("run", "") for step in job["steps"])
        assert not (publishes and runs_plan)
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] == "false"
            assert publishes or releases or "token" not in str(step.get("env", "")).lower()


def test_ci_tests_every_supported_python() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    prefix = "Programming Language :: Python :: "
    supported = [name.removeprefix(prefix) for name in project["classifiers"] if name.startswith(f"{prefix}3.")]
    jobs = loaded((ROOT / OWN).read_text(encoding="utf-8"))["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == supported
    install, test = (step for step in jobs["test"]["steps"] if "run" in step)
    assert "bubblewrap" in install["run"]
    assert test["run"] == "make test PYTHON=python"
    assert test["env"]["PATCHYARD_REQUIRE_SANDBOX"] == "1"


def test_engine_job_requires_an_engine_of_the_module_version() -> None:
    job = loaded((ROOT / OWN).read_text(encoding="utf-8"))["jobs"]["engine"]
    (run,) = (step for step in job["steps"] if "run" in step)
    assert run["env"]["PATCHYARD_REQUIRE_ENGINE"] == "1"
    assert "-m engine" in run["run"]
    (dagger,) = (step for step in job["steps"] if "dagger" in step.get("uses", ""))
    module = yaml.safe_load((ROOT / "dagger.json").read_text(encoding="utf-8"))
    assert dagger["with"]["version"] == module["engineVersion"]
    steps = loaded(fences()[".github/workflows/plan.yml"])["jobs"]["run"]["steps"]
    assert [step["with"]["version"] for step in steps if "dagger" in step.get("uses", "")] == [
        module["engineVersion"]
    ]


def test_text_of_an_issue_is_never_interpreted_by_the_shell(tmp_path: Path) -> None:
    job = loaded(fences()[".github/workflows/plan.yml"])["jobs"]["run"]
    (step,) = (step for step in job["steps"] if "ISSUE" in step.get("env", {}))
    scripts = tmp_path / "bin"
    written(scripts, "patchyard", '#!/bin/sh\nfor it; do printf "<%s>" "$it"; done\n').chmod(0o755)
    text = "# Plan `touch x` $(touch x) \"; touch x; ' %s \\n\r\n-e end"
    environ = {
        "PATH": f"{scripts}:/usr/bin:/bin",
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_EVENT_NAME": "issues",
        "ISSUE": text,
        "PLAN": "",
    }
    script = ("bash", "-e", "-c", step["run"])
    done = subprocess.run(script, cwd=tmp_path, env=environ, capture_output=True, check=True)
    assert (tmp_path / "plan.md").read_bytes() == text.encode() + b"\n"
    assert done.stdout.startswith(f"<run><--plan={tmp_path}/plan.md>".encode())
    by_hand = {**environ, "GITHUB_EVENT_NAME": "workflow_dispatch", "PLAN": "--help; touch x"}
    done = subprocess.run(script, cwd=tmp_path, env=by_hand, capture_output=True, check=True)
    assert done.stdout.startswith(b"<run><--plan=--help; touch x>")
    assert not (tmp_path / "x").exists()


def test_settings_on_gitlab_are_those_of_the_target_branch(clone: Clone, tmp_path: Path) -> None:
    victim = written(tmp_path, "victim", "kept")
    clone.git("remote", "add", "origin", clone.path)
    clone.commit({"pyproject.toml": "[tool.base]\n"})
    clone.git("switch", "-q", "-c", "change")
    clone.commit({"patchyard.toml": "trusted = 1\n", "pyproject.toml": "[tool.patchyard]\n"})
    (clone.path / "patchyard.lock").symlink_to(victim)
    script = [line for line in loaded(fences()[GITLAB])["plan"]["script"] if "FETCH_HEAD" in line]
    environ = {**clone.user.environ, "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main"}

    subprocess.run(["sh", "-e", "-c", *script], cwd=clone.path, env=environ, check=True)

    assert not (clone.path / "patchyard.toml").exists()
    assert not (clone.path / "patchyard.lock").is_symlink()
    assert (clone.path / "pyproject.toml").read_text() == "[tool.base]\n"
    assert victim.read_text() == "kept"


def test_patches_become_branches_on_gitlab(clone: Clone, tmp_path: Path) -> None:
    project = Project(clone)
    remote = tmp_path / "remote.git"
    clone.git("init", "-q", "--bare", remote)
    clone.user.git("config", "receive.advertisePushOptions", "true", cwd=remote)
    clone.git("remote", "add", "origin", remote)
    clone.git("push", "-q", "origin", "main")
    plan = project.tasks({"1.1": "echo 1 > one", "1.2": "echo 2 > two", "2.1": "echo 3 >> one"})
    project.run(plan).expect(0)
    project.call("patches", "latest", "--output", "report").expect(0)
    job = loaded(fences()[GITLAB])["branches"]
    base = clone.head
    environ = {**clone.user.environ, **job["variables"], "CI_COMMIT_SHA": base, "CI_DEFAULT_BRANCH": "main"}

    done = subprocess.run(
        ["sh", "-e", "-c", *job["script"]],
        cwd=project.root,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "task 2.1 builds on another one" in done.stdout
    listed = clone.user.git("for-each-ref", "--format=%(refname:short) %(parent)", "refs/heads", cwd=remote)
    parents = dict(line.partition(" ")[::2] for line in listed.splitlines())
    assert parents == {"main": "", "patchyard/1.1": base, "patchyard/1.2": base}
    assert clone.user.git("show", "patchyard/1.2:two", cwd=remote) == "2"


def test_release_is_built_and_tested_before_it_is_attested() -> None:
    jobs = loaded((ROOT / RELEASE).read_text(encoding="utf-8"))["jobs"]
    assert jobs["release"]["needs"] == "build"
    scripts = [step["run"] for step in jobs["build"]["steps"] if "run" in step]
    assert scripts[:2] == ["make test PYTHON=python", "make dist PYTHON=python"]


def test_changelog_describes_the_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(
        rf"^## \[{re.escape(project['version'])}\] - \d{{4}}-\d{{2}}-\d{{2}}$", changelog, re.MULTILINE
    )


def test_pre_commit_runs_the_checks_of_make() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    entries = {hook["entry"].removeprefix(".venv/bin/").removesuffix(" --fix") for hook in hooks}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lint = makefile.partition("\nlint:")[2].partition("\n\n")[0]
    checks = {line.partition("$(BIN)/")[2].strip() for line in lint.splitlines()[1:]}
    normalized = {check.removesuffix(" .").replace(" --check", "") for check in checks}
    assert entries == {*normalized, "make types"}
