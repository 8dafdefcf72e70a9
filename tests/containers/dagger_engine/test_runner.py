"""The queries that a task is to an engine, and what its answers become: on a stand-in for one."""

import hashlib
import json
import os
import re
import stat
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from engine_stage import Stage, script
from graphql import GraphQLError
from repositories import Clone
from stand_in_engine import StandIn, command_line

from containers.dagger_engine import step_script as driver
from containers.dagger_engine.encoding import UNKNOWN
from containers.dagger_engine.query import EngineClient, EngineError, EngineQueryError
from containers.dagger_engine.runner import EngineRunner
from containers.dagger_engine.session import CLI, Session
from containers.git.repository import Identity
from tasks.model import StepKind

pytestmark = pytest.mark.anyio

KEY = "s3cr3t-value-of-a-key"
VARIABLES = {
    "GIT_AUTHOR_NAME": "'Uma User'",
    "GIT_AUTHOR_EMAIL": "uma@example.com",
    "GIT_COMMITTER_NAME": "'Uma User'",
    "GIT_COMMITTER_EMAIL": "uma@example.com",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "'*'",
    "COLOUR": "'dark green'",
    "PATCHYARD_TASK": "1.1",
    "PATCHYARD_WORKTREE": "/work",
    "PATCHYARD_ROUND": "1",
}


def said(*steps: str, run: str = "run-7", first: int = 1) -> str:
    """Return what a script prints whose steps all succeed."""
    parts = [f"{driver.MARK}run {run}\n"]
    for number, output in enumerate(steps, first):
        parts.append(f"{driver.MARK}step {number}\n{output}{driver.MARK}end {number} 0 100 250\n")
    return "".join(parts)


@pytest.fixture
def engine() -> Iterator[StandIn]:
    with StandIn() as stand_in:
        stand_in.answers["stdout"] = lambda _: said("out\n")
        yield stand_in


@pytest.fixture
async def stage(engine: StandIn, clone: Clone, tmp_path: Path) -> AsyncIterator[Stage]:
    session = await Session.open(engine.address, {CLI: str(command_line(tmp_path))}, tmp_path / "log")
    engine.asked.clear()
    yield Stage(session.client, clone, tmp_path, "image:1")
    await session.aclose()


def texts(engine: StandIn, ending: str) -> list[str]:
    """Return the queries for a field, without it."""
    return [query.removesuffix(f".{ending}") for query in engine.asked if query.endswith(f".{ending}")]


async def test_the_tree_is_the_repository_s_at_the_start(engine: StandIn, stage: Stage) -> None:
    await stage.run("true")
    (tree,) = [query for query in texts(engine, "sync") if "asGit" in query]
    config = (
        "[core]\\n\\trepositoryformatversion = 0\\n\\tbare = true\\n[pack]\\n\\tthreads = 1\\n\\twindow = 0\\n"
        "[uploadpack]\\n\\tallowAnySHA1InWant = true\\n"
    )
    assert tree == (
        f'host.directory(path: "{stage.clone.path}/.git", include: ["objects", "shallow"], '
        'exclude: ["**/tmp_*", "objects/incoming-*"], noCache: true)'
        f'.withNewFile(path: "HEAD", contents: "{stage.clone.head}\\n")'
        f'.withNewFile(path: "config", contents: "{config}").withNewDirectory(path: "refs")'
        f'.asGit.ref(name: "{stage.clone.head}").tree'
    )


async def test_tree_that_is_fetched_before_the_tasks_is_theirs(engine: StandIn, stage: Stage) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(stage.runner.prefetch, stage.clone.head)
        group.start_soon(stage.run, "true")
    assert (await stage.run("true", task="1.2")).last.ok
    assert len([query for query in texts(engine, "sync") if "asGit" in query]) == 1


async def test_error_before_the_tasks_is_that_of_the_first_one(engine: StandIn, stage: Stage) -> None:
    stage.settings(common=Path("/repo\udcff/.git"))
    await stage.runner.prefetch(stage.clone.head)
    assert "is not UTF-8" in str((await stage.run("true")).last.error)
    engine.cut()
    stage.settings(common=stage.repository.common)
    await stage.runner.prefetch(stage.clone.head)
    with pytest.raises(EngineError):
        await stage.run("true")


async def test_objects_that_the_engine_cannot_use_are_not_uploaded(engine: StandIn, stage: Stage) -> None:
    (stage.clone.path / ".git/objects/info").mkdir(exist_ok=True)
    (stage.clone.path / ".git/objects/info/alternates").write_text("/elsewhere\n")
    await stage.runner.prefetch(stage.clone.head)
    assert engine.asked == []


async def test_history_is_as_deep_as_asked(engine: StandIn, stage: Stage) -> None:
    stage.settings(depth=0)
    await stage.run("true")
    (tree,) = [query for query in texts(engine, "sync") if "asGit" in query]
    assert 'include: ["objects", "shallow", "packed-refs", "refs/tags"]' in tree
    assert tree.endswith(".tree(depth: 0)")


async def test_all_steps_are_one_exec_in_the_task_s_container(engine: StandIn, stage: Stage) -> None:
    engine.answers["stdout"] = lambda _: said("one\n", "two\n")
    environment = {"COLOUR": "dark green", "odd.name": "x"}
    ran = await stage.run("echo one", "echo two", environment=environment, layers=("install it",))
    assert [(result.exit_code, result.seconds, result.tail) for result in ran.results] == [
        (0, 1.5, "one\n"),
        (0, 1.5, "two\n"),
    ]
    assert engine.known["Container-1"] == (
        'container.from(address: "image:1").withExec(args: ["sh", "-e", "-c", "install it"])'
        '.withWorkdir(path: "/work").withMountedDirectory(path: "/work", source: <Directory-1>)'
        '.withMountedSecret(path: "/patchyard/run", source: <Secret-1>, mode: 292)'
    )
    (exec_,) = texts(engine, "stdout")
    before, _, rest = exec_.partition(f'.withNewFile(path: "{driver.SCRIPT}", contents: ')
    written, _, after = rest.rpartition(").withExec(")
    assert before == 'Container-1.withEnvVariable(name: "odd.name", value: "x")'
    assert after == f'args: ["sh", "{driver.SCRIPT}"], expect: "ANY")'
    lines = json.loads(written).splitlines()
    assert [line for line in lines if line.startswith("export ") and "=" in line] == [
        f"export {name}={value}" for name, value in VARIABLES.items()
    ]
    assert lines[-2:] == [
        "step 1 /dev/null sh -e -c 'echo one' || exit 0",
        "step 2 /dev/null sh -e -c 'echo two' || exit 0",
    ]


async def test_tasks_of_one_start_and_one_image_share_what_is_asked(engine: StandIn, stage: Stage) -> None:
    async with anyio.create_task_group() as group:
        for task in ("1.1", "1.2", "1.3"):
            group.start_soon(lambda task: stage.run("true", task=task), task)
    assert len([query for query in texts(engine, "sync") if "asGit" in query]) == 1
    prepared = [text for text in engine.known.values() if text.startswith("container.from(")]
    assert len([text for text in prepared if not text.endswith('.withoutDirectory(path: ".git")')]) == 1
    assert texts(engine, "user") == ['container.from(address: "image:1")']
    await stage.run("true", commit=stage.clone.commit({"more": "1"}), image="image:2")
    assert len([query for query in texts(engine, "sync") if "asGit" in query]) == 2
    assert texts(engine, "user")[1:] == ['container.from(address: "image:2")']


async def test_a_secret_is_in_no_query_but_the_one_that_makes_it(engine: StandIn, stage: Stage) -> None:
    await stage.run("true", secrets={"KEY": KEY})
    assert [body for body in engine.bodies if KEY in body]
    assert all("setSecret" in body and "withSecret" not in body for body in engine.bodies if KEY in body)
    assert '.withSecretVariable(name: "KEY", secret: <Secret-' in engine.known["Container-1"]
    secrets = {text for name, text in engine.known.items() if name.startswith("Secret")}
    run = secrets - {f'setSecret(name: "KEY", plaintext: "{KEY}")'}
    assert len(secrets) == 1 + len(run) == 2
    line = "patchyard-task: 1.1 PATCHYARD_SLOT=1 PATCHYARD_ATTEMPT=1"
    assert re.search(rf'plaintext: "patchyard-run: run-7 [0-9a-f]{{16}}\\n{line}\\n"\)$', run.pop())


async def test_what_differs_from_run_to_run_is_in_no_key(engine: StandIn, stage: Stage) -> None:
    """The value of a secret is not, its name and the text of the script are."""
    first, second = stage.worktree(), stage.worktree()
    await stage.run("true", worktree=replace(first, port=20000))
    await stage.run("true", worktree=replace(second, port=20010), attempt=2)
    one, other = texts(engine, "stdout")
    assert one == other
    values = [text for text in engine.known.values() if text.startswith('setSecret(name: "patchyard-run"')]
    assert [re.findall(r"PATCHYARD_\w+=\w+", value) for value in values] == [
        ["PATCHYARD_SLOT=1", "PATCHYARD_ATTEMPT=1", "PATCHYARD_PORT=20000"],
        ["PATCHYARD_SLOT=2", "PATCHYARD_ATTEMPT=2", "PATCHYARD_PORT=20010"],
    ]


async def test_a_value_has_what_all_running_tasks_have_to_know(engine: StandIn, stage: Stage) -> None:
    """The last value of a secret counts for all of them, whenever their exec starts."""
    known: list[str] = []
    tasks = [str(number) for number in range(8)]
    everyone = threading.Barrier(len(tasks))

    def value() -> str:
        return [text for text in engine.known.values() if text.startswith("setSecret")][-1]

    def run_exec(_: str) -> str:
        everyone.wait(20)
        known.append(value())
        return said("out\n")

    engine.answers["stdout"] = run_exec
    async with anyio.create_task_group() as group:
        for task in tasks:
            group.start_soon(lambda task: stage.run("true", task=task), task)
    assert sorted(re.findall(r"patchyard-task: (\d)", known[-1])) == tasks
    engine.answers["stdout"] = lambda _: said("out\n")
    await stage.run("true", task="9")
    assert re.findall(r"patchyard-task: (\d)", value()) == ["9"]


@pytest.mark.parametrize(
    ("its_user", "owner"), [("", ""), ("root", ""), ("0:0", ""), ("node", "node"), ("1:5", "1:5")]
)
async def test_the_tree_and_the_caches_are_the_image_s_user_s(
    engine: StandIn, stage: Stage, its_user: str, owner: str
) -> None:
    engine.answers["user"] = lambda _: its_user
    stage.settings(caches=("/root/.cache",), repository="https://example.com/octo/demo")
    await stage.run("true")
    container = engine.known["Container-1"]
    given = f', owner: "{owner}"' if owner else ""
    assert f'.withMountedCache(path: "/root/.cache", cache: <CacheVolume-1>{given})' in container
    assert f'.withMountedDirectory(path: "/work", source: <Directory-1>{given})' in container
    key = hashlib.sha256(b"https://example.com/octo/demo").hexdigest()[:32]
    assert engine.known["CacheVolume-1"] == f'cacheVolume(key: "patchyard-{key}/root/.cache")'


async def test_copied_files_come_from_the_worktree(engine: StandIn, stage: Stage) -> None:
    stage.settings(copy=(".env", "certs"))
    ran = await stage.run("true")
    host = (
        f'host.directory(path: "{ran.worktree.path}", '
        'include: [".env", "certs"], exclude: [".git"], noCache: true)'
    )
    copied = next(name for name, text in engine.known.items() if text == host)
    assert f'Directory-1.withDirectory(path: "/", source: <{copied}>)' in engine.known.values()


async def test_changes_are_copied_back_without_git_and_ignored_files(engine: StandIn, stage: Stage) -> None:
    engine.answers |= {
        "addedPaths": lambda _: [
            "new",
            "build/",
            "build/deep/",
            "build/deep/o",
            "a.log",
            "src/build/",
            "src/build/x",
        ],
        "modifiedPaths": lambda _: ["README.md"],
        "removedPaths": lambda _: ["src/app.py", "src/lib/", "gone", "../outside", ".git", "/etc/x"],
    }
    (stage.directory / "outside").write_text("stays")
    ran = await stage.run("true")
    assert not (ran.worktree.path / "src" / "app.py").exists()
    assert not (ran.worktree.path / "src" / "lib").exists()
    assert (ran.worktree.path / ".git/HEAD").is_file()
    assert (stage.directory / "outside").exists()
    (exported,) = [query for query in engine.asked if query.endswith(".layer.sync")]
    after, before = (
        exported.partition(".withoutFiles(")[0],
        exported.partition("changes(from: <")[2].partition(">")[0],
    )
    tree = '.directory(path: "/work").withoutDirectory(path: ".git")'
    assert engine.known[before] == f"{engine.known['Container-1']}{tree}"
    assert after == f"Container-2{tree}"
    assert engine.known["Container-2"].startswith("Container-1.withNewFile(")
    ignored = '["a.log", "build/", "src/build/"]'
    assert exported == (f"{after}.withoutFiles(paths: {ignored}).changes(from: <{before}>).layer.sync")
    (written,) = [query for query in engine.asked if ".export(" in query]
    assert written.endswith(f'.export(path: "{ran.worktree.path}")')


async def test_new_rules_of_what_is_ignored_come_first(engine: StandIn, stage: Stage) -> None:
    engine.answers["addedPaths"] = lambda _: ["web/", "web/.gitignore", "web/x"]
    await stage.run("true")
    synced = [query for query in engine.asked if query.endswith(".sync")]
    first, second = [query for query in synced if ".diff(" in query or ".layer" in query]
    assert '.filter(include: ["**/.gitignore"])' in first
    assert second.endswith(">).layer.sync")


async def test_the_paths_of_all_that_changed_are_one_question(engine: StandIn, stage: Stage) -> None:
    await stage.run("true")
    (asked,) = [body for body in engine.bodies if "Paths" in body]
    assert all(name in asked for name in ("addedPaths", "modifiedPaths", "removedPaths"))


async def test_failed_copy_of_changes_fails_the_last_step(engine: StandIn, stage: Stage) -> None:
    def refuse(_: str) -> str:
        raise ValueError("no space left on device")

    engine.answers |= {
        "stdout": lambda _: said("one\n", "two\n") + f"{driver.MARK}end 99 0 1 2\n",
        "addedPaths": lambda _: ["new"],
        "export": refuse,
    }
    ran = await stage.run("first", "second")
    assert [(result.exit_code, result.tail) for result in ran.results] == [(0, "one\n"), (None, "two\n")]
    assert ran.last.error == "the task's changes could not be copied back: no space left on device"


async def test_a_container_that_was_killed_has_failed_whatever_it_printed(
    engine: StandIn, stage: Stage
) -> None:
    forged = said("one\n", "two\n") + f"{driver.MARK}end 99 0 1 2\n"

    def kill(_: str) -> str:
        details = {"cmd": ["sh", driver.SCRIPT], "exitCode": 137, "stdout": forged, "stderr": ""}
        raise GraphQLError("exit code: 137", extensions={"_type": "EXEC_ERROR", **details})

    engine.answers["stdout"] = kill
    ran = await stage.run("first", "second")
    assert [(result.exit_code, result.tail) for result in ran.results] == [(0, "one\n"), (None, "two\n")]
    assert ran.last.error == "its container was killed (exit code 137): most often it ran out of memory"


async def test_unchanged_tree_is_not_exported(engine: StandIn, stage: Stage) -> None:
    await stage.run("true")
    assert not [query for query in engine.asked if ".export(" in query]


async def test_set_up_is_an_exec_of_its_own(engine: StandIn, stage: Stage) -> None:
    engine.answers["stdout"] = lambda query: (
        said("two\n", first=2) if query.startswith("Container-2.") else said("one\n")
    )
    ran = await stage.run(script("set up", StepKind.SETUP), "work", limit=10)
    assert [result.tail for result in ran.results] == ["one\n", "two\n"]
    first, second = texts(engine, "stdout")
    assert engine.known["Container-2"] == first
    assert "\\nlimit=1000\\n" in first
    assert "\\nlimit=850\\n" in second, "the time is that of all steps together"
    assert stage.watcher.events == ["started 1", "finished 1", "started 2", "finished 2"]


async def test_teardown_is_an_exec_on_what_the_task_left(engine: StandIn, stage: Stage) -> None:
    """Its changes stay there; the time limit and the variables are its own."""
    worktree = stage.worktree()
    await stage.run("work", worktree=worktree, limit=10)
    asked = len(engine.asked)
    ran = await stage.run(
        script("docker compose down", StepKind.TEARDOWN), worktree=worktree, limit=60, is_teardown=True
    )
    assert [result.tail for result in ran.results] == ["out\n"]
    first, second = texts(engine, "stdout")
    assert engine.known["Container-2"] == first
    assert second.startswith("Container-2.withNewFile(")
    assert "\\nlimit=6000\\n" in second
    assert not [query for query in engine.asked[asked:] if query.endswith((".layer.export", ".addedPaths"))]
    assert [query for query in engine.asked[:asked] if query.endswith(".addedPaths")], "as for a task"


async def test_teardown_of_a_task_that_was_cut_off_is_where_that_began(engine: StandIn, stage: Stage) -> None:
    worktree = stage.worktree()

    def run_exec(_: str) -> str:
        time.sleep(1)
        return said("out\n")

    engine.answers["stdout"] = run_exec
    with anyio.move_on_after(0.5):
        await stage.run("sleep 60", worktree=worktree)
    engine.answers["stdout"] = lambda _: said("out\n")
    engine.asked.clear()
    ran = await stage.run("true", worktree=worktree, is_teardown=True)
    assert ran.last.ok
    assert [query.count("withExec") for query in texts(engine, "stdout")] == [1]


async def test_without_a_container_nothing_is_torn_down(engine: StandIn, stage: Stage) -> None:
    def reject(_: str) -> str:
        raise GraphQLError("no such image")

    worktree = stage.worktree()
    await stage.run("work", worktree=worktree)
    engine.answers["user"] = reject
    assert not (await stage.run("work", worktree=worktree, image="image:2")).last.ok
    engine.asked.clear()
    assert (await stage.run("true", worktree=worktree, is_teardown=True)).results == ()
    assert engine.asked == []


async def test_result_of_another_run_is_cached(stage: Stage) -> None:
    assert not (await stage.run("true", run="run-7")).last.cached
    assert (await stage.run("true", run="run-8")).last.cached


async def test_to_run_again_is_to_ask_for_something_else(engine: StandIn, stage: Stage) -> None:
    stage.settings(fresh=True)
    await stage.run("true", run="run-7")
    await stage.run("true", run="run-7")
    first, second = texts(engine, "stdout")
    assert first != second


def failure(run: str) -> str:
    """Return what a script prints whose step fails."""
    return f"{driver.MARK}run {run}\n{driver.MARK}step 1\nold\n{driver.MARK}end 1 7 100 250\n"


@pytest.mark.parametrize("earlier", ["run-6 another", "run-7 another"])
async def test_cached_failure_is_run_again(engine: StandIn, stage: Stage, earlier: str) -> None:
    answers = iter([failure(earlier), said("new\n")])
    engine.answers["stdout"] = lambda _: next(answers)
    ran = await stage.run("true")
    assert (ran.last.exit_code, ran.last.cached, ran.last.tail) == (0, False, "new\n")
    first, second = texts(engine, "stdout")
    assert first != second
    assert "old" not in ran.log
    assert stage.watcher.events == ["started 1", "finished 1"]


async def test_a_container_that_does_not_end_is_given_up(engine: StandIn, stage: Stage) -> None:
    def wait(_: str) -> str:
        time.sleep(4)  # in a thread of the stand-in
        return said("out\n")

    engine.answers["stdout"] = wait
    stage.runner = EngineRunner(stage.client, stage.place, patience=0.2)
    ran = await stage.run("true", limit=0.5)
    assert ran.last.timed_out
    assert "its container did not end at the time limit" in ran.last.tail
    assert stage.watcher.events == ["started 1", "finished 1"]


async def test_own_failure_is_not_run_again(engine: StandIn, stage: Stage) -> None:
    engine.answers["stdout"] = lambda _: failure("run-7")
    assert (await stage.run("true")).last.exit_code == 7
    assert len(texts(engine, "stdout")) == 1


async def test_a_committer_s_name_that_is_not_utf_8_is_shown_as_far_as_it_goes(
    engine: StandIn, stage: Stage
) -> None:
    stage.settings(identity=Identity("J\udcf6rg", "j\udcf6rg@example.com"))
    assert (await stage.run("true")).last.ok
    (exec_,) = texts(engine, "stdout")
    assert "export GIT_AUTHOR_NAME='J\\ufffdrg'\\n" in exec_
    assert "export GIT_COMMITTER_EMAIL='j\\ufffdrg@example.com'\\n" in exec_


@pytest.mark.parametrize(
    ("job", "what"),
    [
        ({"secrets": {"KEY": "\udcffabcdefgh"}}, "the value of KEY"),
        ({"environment": {"ODD": "\udcff"}}, "the value of ODD"),
        ({"layers": ("install \udcff",)}, "a command that sets up its agent"),
        ({"image": "im\udcffage:1"}, f"its image, im{UNKNOWN}age:1,"),
    ],
)
async def test_text_that_is_not_utf_8_is_rejected_with_its_description(
    engine: StandIn, stage: Stage, job: Mapping[str, Any], what: str
) -> None:
    ran = await stage.run("true", **job)
    assert ran.last.error == f"{what} is not UTF-8, and a Dagger engine takes nothing else"
    assert stage.watcher.events == ["started 1", "finished 1"]
    assert texts(engine, "stdout") == []


async def test_a_step_that_is_not_utf_8_is_refused(stage: Stage) -> None:
    ran = await stage.run("true", "echo \udcff")
    assert ran.last.error == (f"step 2, `echo {UNKNOWN}`, is not UTF-8, and a Dagger engine takes nothing else")


async def test_a_path_that_is_not_utf_8_is_refused(stage: Stage) -> None:
    stage.settings(common=Path("/repo\udcff/.git"))
    ran = await stage.run("true")
    assert ran.last.error == (
        f"the path /repo{UNKNOWN}/.git is not UTF-8, and a Dagger engine takes nothing else"
    )
    stage.directory = stage.directory / "p\udcffl"
    stage.directory.mkdir()
    ran = await stage.run("true")
    assert ran.last.error is not None
    assert ran.last.error.startswith("the path of its worktree, ")


async def test_encoding_error_does_not_make_an_engine_unavailable(stage: Stage) -> None:
    with pytest.raises(EngineQueryError, match=r"^something that it needs is not UTF-8$"):
        await EngineClient(stage.client)(stage.client.directory().with_new_file("x", "\udcff").sync)


async def test_an_engine_that_goes_is_an_error_and_its_no_is_a_result(engine: StandIn, stage: Stage) -> None:
    def refuse(_: str) -> str:
        raise ValueError("failed to resolve image: not found [traceparent:1-2]")

    engine.answers["user"] = refuse
    ran = await stage.run("true")
    assert ran.last.error == "failed to resolve image: not found"
    assert stage.watcher.events == ["started 1", "finished 1"]
    engine.cut()
    with pytest.raises(EngineError, match=r"^it does not answer any more \(.*502 Bad Gateway"):
        await stage.run("true")


async def test_engine_that_stops_responding_is_noticed(engine: StandIn, stage: Stage) -> None:
    engine.cut()
    with anyio.fail_after(60), pytest.raises(EngineError, match=r"^it has not answered for 0\.2 s$"):
        await EngineClient(stage.client, check_interval=0.2).run_long(anyio.sleep_forever)


async def test_query_cancelled_by_another_session_is_retried(engine: StandIn, stage: Stage) -> None:
    taken_down = iter(["exit code: 137: context canceled\ncommit output ref x: context canceled"] * 2)

    def answer(_: str) -> str:
        if text := next(taken_down, None):
            raise ValueError(text)
        return said("out\n")

    engine.answers["stdout"] = answer
    ran = await stage.run("true")
    assert (ran.last.exit_code, ran.last.tail, ran.last.error) == (0, "out\n", None)
    assert len(texts(engine, "stdout")) == 3
    assert stage.watcher.events == ["started 1", "finished 1"]


async def test_what_comes_back_has_the_permissions_of_git(engine: StandIn, stage: Stage) -> None:
    """A task may be root in its container, and the program too on its machine."""

    def export(_: str) -> str:
        work = stage.directory / "pool" / "wt-1"
        (work / "new/deep").mkdir(parents=True)
        (work / "new/deep/f").write_text("f")
        (work / "new/tool").write_text("#!/bin/sh\n")
        (work / "new/tool").chmod(0o6755)
        os.mkfifo(work / "new/pipe")
        (work / "src/app.py").write_text("changed")
        for path in (work / "src", work / "new", work / "new/deep", work / "new/deep/f", work / "src/app.py"):
            path.chmod(path.stat().st_mode | 0o2022)
        return str(work)

    engine.answers |= {
        "addedPaths": lambda _: ["new/"],
        "modifiedPaths": lambda _: ["src/app.py"],
        "export": export,
    }
    ran = await stage.run("true")
    work = ran.worktree.path
    modes = {
        name: stat.S_IMODE((work / name).stat().st_mode)
        for name in ("src", "src/app.py", "new", "new/deep", "new/deep/f", "new/tool")
    }
    assert modes == {
        "src": 0o755,
        "src/app.py": 0o644,
        "new": 0o755,
        "new/deep": 0o755,
        "new/deep/f": 0o644,
        "new/tool": 0o755,
    }
    assert not (work / "new/pipe").exists()
