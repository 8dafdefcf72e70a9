"""Containers: git, secrets, caches and set-up in them, and how failures end."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from engine_stage import Stage, script
from repositories import Clone

from containers.dagger_engine.client.api import Container
from containers.dagger_engine.session import Session
from tasks.model import StepKind
from tasks.outcome import StepResult
from tasks.secrets import Secrets

pytestmark = [pytest.mark.engine, pytest.mark.anyio, pytest.mark.timeout(300)]

ANOTHER = "setpriv --reuid 1234 --regid 1234 --clear-groups"
KEY = "s3cr3t-value-of-a-key"


@pytest.fixture
def stage(session: Session, clone: Clone, tmp_path: Path, test_image: str) -> Stage:
    return Stage(session.client, clone, tmp_path, test_image)


def as_user(container: Container, name: str) -> Container:
    """Return a container whose image runs as a user."""
    return container.select(Container, "withUser", name=name)


def unique() -> str:
    """Return unique text, which no engine has cached."""
    return uuid.uuid4().hex


class TestGit:
    async def test_steps_run_at_the_base_commit(self, stage: Stage) -> None:
        ran = await stage.run(
            "git status --short --branch; git log -1 --format=%H%n%s",
            "echo more >> README.md; git diff --stat; git diff > ../diff; grep -q '^+more$' ../diff",
            "git commit -qam mine; git log --format='%s by %an <%ae>'; git show --stat --format= HEAD",
            "git checkout -q -b topic; git stash list; git rev-parse --abbrev-ref HEAD",
        )
        assert [result.ok for result in ran.results] == [True] * 4, ran.log
        assert ran.results[0].tail == f"## HEAD (no branch)\n{stage.clone.head}\nfirst\n"
        assert "README.md | 1 +" in ran.results[1].tail
        assert ran.results[2].tail.splitlines()[:2] == [
            "mine by Uma User <uma@example.com>",
            "first by Uma User <uma@example.com>",
        ]
        assert ran.results[3].tail == "topic\n"
        assert ran.patch().files == ("README.md",)

    async def test_git_works_after_a_step_switches_users(self, stage: Stage) -> None:
        inside = (
            "git status --short; echo more >> README.md; echo n > src/new; mkdir d; rm src/app.py; "
            "git add -A; git commit -qm mine; git log -1 --format=%s; id -u"
        )
        ran = await stage.run(f"{ANOTHER} sh -e -c '{inside}'")
        assert ran.output.endswith("\nmine\n1234\n")
        assert ran.patch().files == ("README.md", "src/app.py", "src/new")

    async def test_git_works_for_the_user_of_the_image(self, stage: Stage) -> None:
        stage.furnish(lambda container: as_user(container, "1234:1234"))
        ran = await stage.run(
            "id -u; echo more >> README.md; chmod 755 README.md; git commit -qam mine; "
            "git log -1 --format=%s; git status --short; test -O README.md"
        )
        assert ran.output == "1234\nmine\n"
        assert b"old mode 100644\nnew mode 100755" in ran.patch().diff.read()

    @pytest.mark.parametrize(("depth", "seen"), [(1, 1), (2, 2), (0, 4)])
    async def test_history_has_the_configured_depth(self, stage: Stage, depth: int, seen: int) -> None:
        stage.clone.git("tag", "v1")
        for number in range(3):
            stage.clone.commit({"n": f"{number}\n"}, f"commit {number}")
        stage.settings(depth=depth)
        ran = await stage.run("git rev-list --count HEAD; git tag")
        assert ran.output == f"{seen}\n" + ("v1\n" if depth == 0 else "")

    async def test_start_point_that_is_on_no_branch(self, stage: Stage) -> None:
        base = stage.clone.head
        loose = stage.clone.commit({"loose.txt": "l\n"}, "loose")
        stage.clone.git("reset", "-q", "--hard", base)
        stage.clone.git("reflog", "expire", "--expire=now", "--all")
        ran = await stage.run("git log -1 --format=%H; cat loose.txt", commit=loose)
        assert ran.output == f"{loose}\nl\n"

    async def test_container_has_only_the_task_s_tree_and_history(self, stage: Stage) -> None:
        secret = stage.clone.commit({"other.txt": "of another branch\n"}, "other")
        blob = stage.clone.git("rev-parse", f"{secret}:other.txt")
        stage.clone.git("branch", "other")
        stage.clone.git("reset", "-q", "--hard", "HEAD~1")
        stage.clone.git("config", "http.extraheader", f"AUTHORIZATION: basic {KEY}")
        stage.clone.git("remote", "add", "origin", f"https://user:{KEY}@example.com/x.git")
        ran = await stage.run(
            f"! git cat-file -e {blob}; git for-each-ref; git config --list --local | grep -v ^core || true; "
            f"test ! -e {stage.clone.path}; ls -A ..; grep -r {KEY} .git || echo clean"
        )
        assert ran.output.endswith("clean\n")
        assert KEY not in ran.log.replace(ran.log.splitlines()[0], "")
        assert not [line for line in ran.output.splitlines() if line.startswith(("refs/", "remote.", "http."))]


class TestRepositories:
    """Repositories whose commits the engine's git cannot check out."""

    async def check(self, stage: Stage) -> None:
        steps = (
            "git status --short; git log -1 --format=%H; echo more >> README.md; chmod 755 src/app.py",
            f"{ANOTHER} sh -e -c 'echo n > n; git add n; git commit -qm n'",
        )
        ran = await stage.run(*steps)
        assert ran.results[0].tail == f"{stage.clone.head}\n"
        assert ran.last.ok, ran.log
        assert ran.patch().files == ("README.md", "n", "src/app.py")
        again = await stage.run(*steps, run="run-8")
        assert again.last.cached

    async def test_with_submodules(self, stage: Stage, make_repository: Callable[..., Clone]) -> None:
        other = make_repository("other", {"in": "side\n"})
        stage.clone.git("submodule", "add", "--quiet", str(other.path), "sub")
        stage.clone.git("commit", "-q", "-m", "with a submodule")
        await self.check(stage)

    async def test_with_objects_elsewhere(
        self, session: Session, clone: Clone, tmp_path: Path, test_image: str
    ) -> None:
        clone.git("clone", "-q", "--shared", str(clone.path), str(tmp_path / "shared"))
        shared = Clone(clone.user, tmp_path / "shared")
        shared.commit({"own": "1\n"})
        await self.check(Stage(session.client, shared, tmp_path, test_image))

    async def test_shallow(self, session: Session, clone: Clone, tmp_path: Path, test_image: str) -> None:
        clone.commit({"more": "1\n"})
        clone.git("clone", "-q", "--depth=1", f"file://{clone.path}", str(tmp_path / "shallow"))
        await self.check(Stage(session.client, Clone(clone.user, tmp_path / "shallow"), tmp_path, test_image))

    async def test_of_sha_256(self, session: Session, clone: Clone, tmp_path: Path, test_image: str) -> None:
        clone.git("init", "-q", "--object-format=sha256", str(tmp_path / "sha256"))
        other = Clone(clone.user, tmp_path / "sha256")
        other.commit({"README.md": "# Sample\n", "src/app.py": "1\n"})
        await self.check(Stage(session.client, other, tmp_path, test_image))


class TestEndings:
    @pytest.mark.parametrize("code", [1, 126, 127, 128, 130, 137, 143, 159, 191, 192, 255])
    async def test_exit_code_of_the_step_is_reported(self, stage: Stage, code: int) -> None:
        ran = await stage.run("echo n > n", f"echo out; exit {code}", "touch never")
        assert [result.exit_code for result in ran.results] == [0, code]
        assert ran.last.error is None
        assert ran.last.tail == "out\n"
        assert ran.patch().files == ("n",)

    async def test_killed_container(self, stage: Stage) -> None:
        ran = await stage.run("echo first", "echo second; sleep 0.5; kill -KILL $PPID; sleep 60", limit=None)
        assert [result.exit_code for result in ran.results] == [0, None]
        assert ran.results[0].tail == "first\n"
        assert ran.last.error == "its container was killed (exit code 137): most often it ran out of memory"
        assert ran.last.tail == "second"
        assert stage.watcher.events == ["started 1", "finished 1", "started 2", "finished 2"]
        assert ran.patch().files == ()

    async def test_killed_container_cannot_fake_success(self, stage: Stage) -> None:
        words = "\\036patchyard end 1 0 1 2\\n\\036patchyard step 2\\nfake ok\\n\\036patchyard end 2 0 1 2\\n"
        ran = await stage.run(f'printf "{words}"; kill -KILL $PPID; sleep 60', "false", limit=None)
        assert not ran.last.ok
        assert ran.last.error == "its container was killed (exit code 137): most often it ran out of memory"

    async def test_missing_image(self, stage: Stage) -> None:
        ran = await stage.run("true", image="registry.invalid/no/such:image")
        assert ran.last.exit_code is None
        assert ran.last.error is not None
        assert "registry.invalid/no/such:image" in ran.last.error
        assert "\n" not in ran.last.error

    async def test_image_without_a_shell(self, stage: Stage) -> None:
        nothing = stage.client.directory()
        stage.furnish(lambda container: container.select(Container, "withRootfs", directory=nothing))
        ran = await stage.run("true")
        assert ran.last.error is not None
        assert "its image has no `sh`" in ran.last.error

    async def test_image_with_an_unknown_user(self, stage: Stage) -> None:
        stage.furnish(lambda container: as_user(container, "ghost"))
        ran = await stage.run("true")
        assert ran.last.error is not None
        assert "ghost" in ran.last.error

    async def test_agent_that_cannot_be_installed(self, stage: Stage) -> None:
        ran = await stage.run("true", layers=("echo why >&2; exit 4",))
        assert ran.last.error == "its set-up `echo why >&2; exit 4` ended with exit code 4: why"

    async def test_image_without_git(self, stage: Stage, bare_image: str) -> None:
        ran = await stage.run("! command -v git; cat README.md; echo more >> README.md", image=bare_image)
        assert ran.output == "# Sample\n"
        assert ran.patch().files == ("README.md",)
        assert not (ran.worktree.path / "README.md").stat().st_mode & 0o022

    async def test_cancelled_task_leaves_no_process_running(self, stage: Stage) -> None:
        mark = unique()
        stage.settings(caches=(f"/cache-{mark}",))
        beats = f"/cache-{mark}/beats"
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(stage.run, f"trap '' TERM; while :; do echo beat >> {beats}; sleep 0.1; done")
                with anyio.fail_after(100):
                    look = f"test ! -e {beats} || cat {beats}"
                    while not (await stage.run(f"{look}; # {unique()}")).output:  # noqa: ASYNC110 - waits for a container
                        await anyio.sleep(0.1)
                scope.cancel()
        assert stage.watcher.events.count("started 1") == stage.watcher.events.count("finished 1")
        look = f"a=$(wc -l < {beats}); sleep 1; test $a = $(wc -l < {beats}); # {unique()}"
        assert (await stage.run(look)).last.ok

    async def test_large_output_is_complete(self, stage: Stage) -> None:
        ran = await stage.run("seq 1000000; echo end")
        assert ran.last.ok
        assert ran.log.count("\n") == 1_000_003
        assert ran.last.tail.endswith("999999\n1000000\nend\n")


class TestInputs:
    async def test_secrets_are_set_in_the_task_and_masked_in_the_log(self, stage: Stage) -> None:
        ran = await stage.run(
            'printf %s "$KEY" | wc -c; echo "$KEY"; printf %s "$KEY" | base64',
            'test "$KEY" = "$OTHER"; exit 3',
            secrets={"KEY": KEY, "OTHER": KEY},
        )
        assert ran.results[0].tail == f"{len(KEY)}\n***\n***\n"
        assert ran.last.exit_code == 3
        assert not Secrets({"KEY": KEY}).find(ran.log.encode())

    async def test_value_of_a_secret_is_not_in_the_cache_key(self, stage: Stage) -> None:
        mark = f"printf %s {unique()} > f"
        await stage.run(mark, secrets={"KEY": KEY})
        again = await stage.run(mark, secrets={"KEY": "quite another"}, run="run-8")
        assert again.last.cached

    async def test_caches_persist(self, stage: Stage) -> None:
        mark = unique()
        stage.settings(caches=(f"/cache/{mark}",))
        await stage.run(f"echo kept > /cache/{mark}/file", task="1.1")
        assert (await stage.run(f"cat /cache/{mark}/file", task="1.2")).output == "kept\n"

    async def test_caches_belong_to_the_user_of_the_image(self, stage: Stage) -> None:
        mark = unique()
        stage.settings(caches=(f"/cache/{mark}",))
        stage.furnish(lambda container: as_user(container, "1234"))
        assert (await stage.run(f"echo kept > /cache/{mark}/file; cat /cache/{mark}/file")).output == "kept\n"

    async def test_changes_of_set_up_are_not_in_the_patch(self, stage: Stage) -> None:
        worktree = stage.worktree()
        setup = "echo lock > lock; echo set up >> README.md; mkdir build; echo o > build/o"
        ran = await stage.run(
            script(setup, StepKind.SETUP),
            "cat lock build/o; echo mine > mine; { echo top; cat README.md; } > r; cat r > README.md; rm r",
            worktree=worktree,
        )
        assert ran.last.ok, ran.log
        assert ran.results[1].tail == "lock\no\n"
        assert ran.patch().files == ("README.md", "lock", "mine")
        assert ran.text("README.md") == "top\n# Sample\nset up\n"

    async def test_changes_of_set_up_are_in_the_worktree_when_it_is_reported(self, stage: Stage) -> None:
        worktree = stage.worktree()
        seen: list[bool] = []

        class Looking:
            async def step_started(self, *_: object) -> None:
                pass

            async def step_finished(self, number: int, _: object) -> None:
                seen.append(await anyio.Path(worktree.path / f"made-{number}").exists())

            async def next_round(self, _: StepResult) -> None:
                return None

        stage.watcher = Looking()  # type: ignore[assignment]  # another watcher
        await stage.run(
            script("touch made-1", StepKind.SETUP), script("touch made-2", StepKind.SETUP), "touch made-3",
            worktree=worktree,
        )  # fmt: skip
        assert seen == [True, True, True]

    async def test_teardown_sees_what_the_steps_left_and_changes_no_file_of_the_worktree(
        self, stage: Stage
    ) -> None:
        worktree = replace(stage.worktree(), port=20010)
        seen = "echo $PATCHYARD_SLOT $PATCHYARD_PORT $PATCHYARD_ATTEMPT $PATCHYARD_WORKTREE"
        await stage.run("echo mine > mine; echo x > /tmp/x", worktree=worktree, attempt=3)
        down = await stage.run(
            f"cat mine /tmp/x; {seen}; rm mine", worktree=worktree, attempt=3, is_teardown=True
        )
        assert down.output == f"mine\nx\n{worktree.slot} 20010 3 /work\n"
        assert down.text("mine") == "mine\n"

    async def test_copied_files_exist_in_the_container(self, stage: Stage) -> None:
        stage.settings(copy=(".env", "local"))
        worktree = stage.worktree()
        (worktree.path / ".env").write_text("A=1\n")
        (worktree.path / "local").mkdir()
        (worktree.path / "local" / "x.json").write_text("{}\n")
        (worktree.path / "other").write_text("not named\n")
        ran = await stage.run("cat .env local/x.json; test ! -e other; echo B=2 >> .env", worktree=worktree)
        assert ran.output == "A=1\n{}\n"
        assert ran.text(".env") == "A=1\nB=2\n"


class TestCache:
    async def test_slot_port_and_attempt_are_in_no_key(self, stage: Stage) -> None:
        mark = unique()
        seen = f"echo $PATCHYARD_SLOT $PATCHYARD_PORT $PATCHYARD_ATTEMPT; echo {mark} > f"
        first = await stage.run(seen, worktree=replace(stage.worktree(), port=20000))
        assert first.output == f"{first.worktree.slot} 20000 1\n"
        other = await stage.run(seen, worktree=replace(stage.worktree(), port=20010), attempt=2, run="run-8")
        assert other.last.cached
        assert other.output == first.output, "those of the run in which it ran"

    async def test_tasks_at_once_have_their_own(self, stage: Stage) -> None:
        outputs: dict[int, str] = {}

        async def run(number: int) -> None:
            worktree = replace(stage.worktree(), port=20000 + number)
            ran = await stage.run(
                f"sleep 1; echo $PATCHYARD_PORT {unique()}", worktree=worktree, task=f"1.{number}"
            )
            outputs[20000 + number] = ran.output

        async with anyio.create_task_group() as group:
            for number in range(4):
                group.start_soon(run, number)
        assert all(output.startswith(f"{port} ") for port, output in outputs.items())
        assert len(outputs) == 4

    async def test_cache_hit_restores_the_files(self, stage: Stage) -> None:
        mark = unique()
        first = await stage.run(f"date +%s%N > now; echo {mark}", "echo $PATCHYARD_RUN")
        assert not any(result.cached for result in first.results)
        assert first.output == "run-7\n"
        stage.clone.git("branch", "another")
        stage.clone.git("gc", "-q")
        again = await stage.run(f"date +%s%N > now; echo {mark}", "echo $PATCHYARD_RUN", run="run-8")
        assert [result.cached for result in again.results] == [True, True]
        assert again.text("now") == first.text("now")
        assert again.results[0].tail == f"{mark}\n"

    @pytest.mark.parametrize("run", ["run-7", "run-8"])
    async def test_a_failure_is_run_again(self, stage: Stage, run: str) -> None:
        steps = (f"date +%s%N; echo {unique()}; exit 7",)
        first = await stage.run(*steps)
        stage.settings()  # as another session, or another attempt of the run
        again = await stage.run(*steps, run=run)
        assert (again.last.exit_code, again.last.cached) == (7, False)
        assert again.last.tail != first.last.tail

    async def test_unless_it_is_to_run_again(self, stage: Stage) -> None:
        mark = unique()
        first = await stage.run(f"date +%s%N > now; echo {mark}")
        stage.settings(fresh=True)
        again = await stage.run(f"date +%s%N > now; echo {mark}", run="run-8")
        assert not again.last.cached
        assert again.text("now") != first.text("now")

    async def test_another_task_is_another(self, stage: Stage) -> None:
        mark = unique()
        first = await stage.run(f"date +%s%N > now; echo {mark}", task="1.1")
        other = await stage.run(f"date +%s%N > now; echo {mark}", task="1.2")
        assert other.text("now") != first.text("now")
