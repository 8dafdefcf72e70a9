"""Images by digest, and equal keys and patches of repeated runs, on a real engine."""

import json
import os
from pathlib import Path

import engine_access
import pytest
from project import Done, Project
from repositories import Clone

from containers.dagger_engine.digests import DIGEST
from pipeline.config.lockfile import FILE, Lock
from pipeline.report.model import read_report
from pipeline.report.parts import Report

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

SCRIPTS = {
    "1.1": "echo one > one.txt; printf '\\0\\377' > bin; rm src/app.py",
    "1.2": "echo two > two.txt; ln -s one.txt 'a link'; chmod +x README.md",
    "1.3": "echo half > half.txt; exit 7",
    "2.1": "cat one.txt two.txt > all.txt; echo $MODE >> all.txt",
}


@pytest.fixture
def project(clone: Clone) -> Project:
    """A user's project on a machine with an engine."""
    return Project(clone, engine_access.variables(os.environ))


def ran(project: Project, plan: Path, name: str, *arguments: str) -> tuple[Report, dict[str, bytes]]:
    """Run a plan, and return its report and patches."""
    out = project.root.parent / f"out-{name}"
    done = project.run(plan, "--mode", "dagger", "--keep-going", *arguments).expect(1)
    project.call("patches", done.run, "-o", out).expect(0)
    return read_report(out / "report.json"), {path.name: path.read_bytes() for path in out.glob("*.patch")}


def test_same_key_gives_the_same_patch(project: Project, test_image: str) -> None:
    plan = project.tasks(SCRIPTS, front=f"image: {test_image}\nenvironment:\n  MODE: x")
    first, patches = ran(project, plan, "first", "--fresh")
    second, again = ran(project, plan, "second", "--fresh")
    cached, from_cache = ran(project, plan, "third")

    assert set(patches) == {"1.1.patch", "1.2.patch", "2.1.patch"}
    assert patches == again == from_cache
    keys = {task.task: task.key for task in first.tasks}
    assert all(keys.values())
    assert len(set(keys.values())) == len(SCRIPTS)
    assert (
        keys == {task.task: task.key for task in second.tasks} == {task.task: task.key for task in cached.tasks}
    )
    assert first.key == second.key == cached.key
    (image,) = first.images
    assert image.name == test_image
    assert DIGEST.fullmatch(image.digest or "")
    assert {task.image for task in first.tasks} == {f"{test_image}@{image.digest}"}

    parallel = project.run(plan, "--mode", "parallel", "--keep-going").expect(1)
    out = project.root.parent / "out-parallel"
    project.call("patches", parallel.run, "-o", out).expect(0)
    assert {path.name: path.read_bytes() for path in out.glob("*.patch")} == patches
    on_machine = {task.task: task.key for task in read_report(out / "report.json").tasks}
    assert set(on_machine.values()).isdisjoint(keys.values())


def test_locked_run_uses_the_written_lock(project: Project, test_image: str) -> None:
    plan = project.tasks({"1.1": "echo 1 > one"}, front=f"image: {test_image}\nmode: dagger")
    refused = project.run(plan, "--locked").expect(2)
    assert f"image {test_image} is not in" in refused.err

    done = project.call("lock", plan).expect(0)

    (name, digest, how) = done.out.split()
    assert (name, how) == (test_image, "(added)")
    assert Lock.beside(project.root).images == {test_image: digest}
    before = (project.root / FILE).read_bytes()
    assert project.call("lock", plan).expect(0).out == f"{test_image} {digest} (kept)\n"
    assert project.call("lock", "--update").expect(0).out.splitlines()[-1] == f"{test_image} {digest} (kept)"
    assert Lock.beside(project.root).images[test_image] == digest
    (project.root / FILE).write_bytes(before)
    project.run(plan, "--locked", "--fresh").expect(0)
    assert image_of(project) == f"{test_image}@{digest}"
    place, slash, tagged = test_image.rpartition("/")
    by_digest = f"{place}{slash}{tagged.partition(':')[0]}@{digest}"
    project.run(plan, "--locked", "--image", by_digest).expect(0)
    assert image_of(project) == by_digest


def test_digest_in_the_lock_is_used(project: Project, test_image: str) -> None:
    nowhere = f"sha256:{'0' * 64}"
    Lock(project.root / FILE, {test_image: nowhere}).write()
    plan = project.tasks({"1.1": "echo 1 > one"}, front=f"image: {test_image}\nmode: dagger")
    done = project.run(plan).expect(1)
    assert nowhere[:20] in done.outcome("1.1")["error"]
    updated = project.call("lock", plan, "--update").expect(0)
    assert updated.out.endswith("(updated)\n")
    assert project.run(plan, "--locked").expect(0).statuses == {"1.1": "changed"}


def test_missing_image_is_reported(project: Project, test_image: str) -> None:
    known = Lock(project.root / FILE, {"kept:1": f"sha256:{'1' * 64}"})
    known.write()
    done = project.call("lock", "--image", test_image, "--image", "patchyard.invalid/none:1").expect(2)
    assert "image not found: patchyard.invalid/none:1" in done.err
    assert Lock.beside(project.root) == known
    plan = project.tasks(
        {"1.1": "echo 1 > one", "1.2": "echo 2 > two"},
        fields={"1.1": "**Image:** patchyard.invalid/none:1"},
        front=f"image: {test_image}\nmode: dagger",
    )
    ran_on = project.run(plan).expect(1)
    assert ran_on.statuses == {"1.1": "failed", "1.2": "changed"}
    report = json.loads(project.call("report", "--format", "json").expect(0).out)
    digests = {image["name"]: image["digest"] for image in report["images"]}
    assert digests["patchyard.invalid/none:1"] is None
    assert DIGEST.fullmatch(digests[test_image])


def image_of(project: Project) -> str | None:
    """Return the image of the newest run's only task."""
    done: Done = project.call("report", "--format", "json").expect(0)
    (task,) = json.loads(done.out)["tasks"]
    image: str | None = task["image"]
    return image
