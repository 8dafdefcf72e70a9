"""The command `serve`: its start, its shutdown, and what the next server resumes."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from project import SAVE_ENVIRONMENTS, Project, runs, wait_for
from repositories import Clone
from served import Serving, gate, workers_of

TOKEN = "a-long-random-text"
SHORT_GRACE = {"PATCHYARD_GRACE": "0.2s"}


def roots_of(project: Project) -> list[str | Path]:
    """Return the options that allow plans outside of the repository."""
    return ["--root", project.root, "--root", project.plans]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])  # noqa: S104 - it does not start
def test_public_address_requires_a_token(project: Project, host: str) -> None:
    done = project.call("serve", "--host", host, "--port", "0").expect(2)
    assert (done.out, done.err.count("\n")) == ("", 1)
    assert "PATCHYARD_TOKEN" in done.err


def test_empty_token_means_no_token(project: Project) -> None:
    project.call("serve", "--host", "0.0.0.0", environ={"PATCHYARD_TOKEN": ""}).expect(2)  # noqa: S104 - as above


def test_address_in_use_is_reported(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = project.call("serve", "--port", str(port)).expect(2)
    assert re.fullmatch(rf"patchyard: cannot listen on 127.0.0.1 port {port}: .*\n", done.err)


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_address_of_another_machine_is_reported(project: Project, host: str) -> None:
    done = project.call("serve", "--host", host, environ={"PATCHYARD_TOKEN": TOKEN}).expect(2)
    assert re.fullmatch(rf"patchyard: cannot listen on {host} port 8001: .*\n", done.err)


def test_missing_root_is_reported(project: Project) -> None:
    assert "nowhere" in project.call("serve", "--root", "nowhere").expect(2).err


def test_unusable_store_is_reported(project: Project) -> None:
    project.state.parent.mkdir(exist_ok=True)
    project.state.write_text("in the way")
    done = project.call("serve", "--port", "0").expect(1)
    assert (done.out, done.err.count("\n")) == ("", 1)


def test_missing_extra_is_reported(project: Project) -> None:
    code = (
        "import sys\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in {'fastapi', 'uvicorn', 'starlette', 'pydantic', 'fastapi_offline'}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hide())\n"
        "from importlib import util\n"
        "real = util.find_spec\n"
        "def find(name, package=None):\n"
        "    try:\n"
        "        return real(name, package)\n"
        "    except ModuleNotFoundError:\n"
        "        return None\n"
        "util.find_spec = find\n"
        "from pipeline.__main__ import main\n"
        "sys.argv = ['patchyard', 'serve']\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=project.root,
        env=project.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"patchyard: `serve` needs .*`uv tool install '\.\[server\]'`\n", done.stderr)


def test_every_path_but_health_requires_the_token(project: Project) -> None:
    with Serving(project, environ={"PATCHYARD_TOKEN": TOKEN}, token=TOKEN) as server:
        assert server.client.get("/health").status_code == 200
        with httpx.Client(base_url=server.url, trust_env=False) as other:
            assert other.get("/health").status_code == 200
            for path in ("/", "/docs", "/openapi.json", "/api/v1/autonomous", "/static/x"):
                assert other.get(path).status_code == 401, path
            assert other.get("/openapi.json", auth=("anyone", TOKEN)).status_code == 200
            assert other.get("/openapi.json", auth=("anyone", "wrong")).status_code == 401
        assert server.client.get("/openapi.json").status_code == 200


def test_token_and_database_reach_no_task_and_no_process_list(project: Project, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/shared.db"
    script = (
        'env > "$SHARED/env"; cat /proc/[0-9]*/cmdline > "$SHARED/args" 2> "$SHARED/gone" || true\n'
        + SAVE_ENVIRONMENTS
    )
    plan = project.tasks({"1.1": script})
    environ = {"PATCHYARD_TOKEN": TOKEN, "PATCHYARD_DATABASE": database, "GITHUB_TOKEN": "ghp_t0ken"}
    with Serving(project, roots_of(project), environ, TOKEN) as server:
        server.wait(server.start(plan), "complete")
    for name in ("env", "args", "environments"):
        text = (project.shared / name).read_text(errors="replace")
        assert len(text) > 20
        assert TOKEN not in text
        assert "shared.db" not in text
        assert "ghp_t0ken" not in text
    assert Path(f"{tmp_path}/shared.db").exists()
    assert not (project.state / "patchyard.db").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_stops_the_server_and_the_next_resumes(project: Project, number: int) -> None:
    plan = project.tasks(
        {
            "1.1": 'echo x >> "$SHARED/first"; echo a > a',
            "2.1": f"echo half > half; {gate()}echo b > b",
            "3.1": "true",
        }
    )
    options = roots_of(project)
    with Serving(project, options, SHORT_GRACE) as server:
        run = server.start(plan)
        wait_for((project.shared / "2.1.in").exists)
        pids = workers_of(server)
        with server.stream(f"/{run}/events") as events:
            server.process.send_signal(number)
            names = [event.name for event in events]
        assert names[-1] == "run_finished"
        assert server.process.wait(60) == 0
    assert len(pids) == 1
    wait_for(lambda: not runs(pids))
    (record,) = project.call("runs", "--json").expect(0).records
    assert (record["run"], record["status"]) == (run, "interrupted")
    (project.shared / "go").touch()

    with Serving(project, options, SHORT_GRACE) as server:
        status = server.wait(run, "complete")
        assert status["tasks_completed"] == 3
        detail = server.get(f"/{run}/tasks/2.1").json()
        assert [item["status"] for item in detail["attempts"]] == ["cancelled", "changed"]
        assert "+half" in server.get(f"/{run}/tasks/2.1/diff?attempt=1").text
    assert (project.shared / "first").read_text() == "x\n"


def test_workers_of_a_killed_server_continue(project: Project) -> None:
    plan = project.tasks({"1.1": f"{gate()}echo a > a"})
    options = roots_of(project)
    with Serving(project, options) as server:
        run = server.start(plan)
        wait_for((project.shared / "1.1.in").exists)
        server.kill()

    with Serving(project, options) as server:
        assert server.status(run)["status"] == "executing"
        (project.shared / "go").touch()
        assert server.wait(run, "complete")["tasks_completed"] == 1
        assert [item["number"] for item in server.get(f"/{run}/tasks/1.1").json()["attempts"]] == [1]


def test_server_stops_workers_of_a_killed_server(project: Project) -> None:
    plan = project.tasks({"1.1": f"echo half > half; {gate('never')}", "2.1": "echo b > b"})
    options = roots_of(project)
    with Serving(project, options, SHORT_GRACE) as server:
        run = server.start(plan)
        wait_for((project.shared / "1.1.in").exists)
        (worker,) = workers_of(server)
        server.kill()

    with Serving(project, options, SHORT_GRACE) as server:
        assert server.status(run)["status"] == "executing"

    assert runs([worker]) == []
    (record,) = project.call("status", run, "--json").expect(0).records
    assert record["status"] == "interrupted"
    assert [item["status"] for item in record["tasks"]] == ["cancelled", "cancelled"]


def test_killed_worker_of_a_killed_server_is_replaced(project: Project) -> None:
    plan = project.tasks({"1.1": f"{gate()}echo a > a"})
    options, environ = roots_of(project), {"PATCHYARD_LEASE": "1"}
    with Serving(project, options, environ) as server:
        run = server.start(plan)
        wait_for((project.shared / "1.1.in").exists)
        (worker,) = workers_of(server)
        server.kill()

    with Serving(project, options, environ) as server:
        (project.shared / "1.1.in").unlink()
        os.kill(worker, signal.SIGKILL)
        wait_for((project.shared / "1.1.in").exists)
        (project.shared / "go").touch()
        assert server.wait(run, "complete")["tasks_completed"] == 1


def test_killed_worker_is_replaced(project: Project) -> None:
    plan = project.tasks({"1.1": 'echo x >> "$SHARED/first"; echo a > a', "2.1": f"{gate()}echo b > b"})
    with Serving(project, roots_of(project)) as server:
        run = server.start(plan)
        wait_for((project.shared / "2.1.in").exists)
        (worker,) = workers_of(server)
        (project.shared / "2.1.in").unlink()
        os.kill(worker, signal.SIGKILL)
        wait_for((project.shared / "2.1.in").exists)
        assert server.status(run)["status"] == "executing"
        (project.shared / "go").touch()
        assert server.wait(run, "complete")["tasks_completed"] == 2
    assert (project.shared / "first").read_text() == "x\n"


def test_ctrl_c_reaches_only_the_server(project: Project) -> None:
    """The process group gets the signal; the worker is in another one, and is asked to stop."""
    plan = project.tasks({"1.1": gate("never")})
    options = roots_of(project)
    with Serving(project, options, SHORT_GRACE) as server:
        run = server.start(plan)
        wait_for((project.shared / "1.1.in").exists)
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.wait(60) == 0
    (record,) = project.call("runs", "--json").expect(0).records
    assert (record["run"], record["status"]) == (run, "interrupted")


def test_closing_server_starts_nothing_and_a_second_signal_does_not_wait(project: Project) -> None:
    plan = project.tasks({"1.1": f'trap "" TERM; {gate("never")}'})
    options = roots_of(project)
    with Serving(project, options, {"PATCHYARD_GRACE": "20s"}) as server:
        run = server.start(plan)
        wait_for((project.shared / "1.1.in").exists)
        pids = workers_of(server)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: server.client.get("/health").json()["status"] == "closing")
        server.post("/start", 503, json={"plan_path": str(plan)})
        assert server.status(run)["status"] == "executing"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        assert runs(pids) == pids, "its worker completes the run"
        (project.shared / "never").touch()
    wait_for(lambda: not runs(pids))


def test_interrupted_runs_of_the_command_line_are_not_resumed(project: Project) -> None:
    plan = project.tasks({"1.1": gate("never")})
    with project.start("run", plan, "--json") as started:
        wait_for((project.shared / "1.1.in").exists)
        wait_for(lambda: project.call("runs", "--json").expect(0).records)
        started.signal(signal.SIGKILL)
        started.process.wait()
    with Serving(project) as server:
        status = server.status("latest")
        assert (status["status"], status["run_status"]) == ("failed", "interrupted")
        assert workers_of(server) == []
        (project.shared / "never").touch()
        server.post("/latest/resume")
        assert server.wait("latest", "complete")["tasks_completed"] == 1


def test_run_of_the_command_line_that_the_server_resumed_is_resumed_again(project: Project) -> None:
    plan = project.tasks({"1.1": f"{gate()}echo a > a"})
    with project.start("run", plan, "--json") as started:
        wait_for((project.shared / "1.1.in").exists)
        started.signal(signal.SIGINT)
        started.done()
    (project.shared / "1.1.in").unlink()
    with Serving(project, environ=SHORT_GRACE) as server:
        server.post("/latest/resume")
        wait_for((project.shared / "1.1.in").exists)
    (project.shared / "go").touch()

    with Serving(project) as server:
        assert server.wait("latest", "complete")["tasks_completed"] == 1


def test_waiting_run_is_cancelled_by_the_command_line(project: Project) -> None:
    first = project.tasks({"1.1": gate()}, "first.md")
    second = project.tasks({"1.1": 'touch "$SHARED/ran"'}, "second.md", title="Second")
    with Serving(project, [*roots_of(project), "--runs", "1"]) as server:
        run = server.start(first)
        wait_for((project.shared / "1.1.in").exists)
        waiting = server.start(second)

        assert "cancelled" in project.call("cancel", waiting).expect(0).out

        assert server.wait(waiting, "failed")["run_status"] == "cancelled"
        (project.shared / "go").touch()
        server.wait(run, "complete")
        wait_for(lambda: workers_of(server) == [])
        assert server.status(waiting)["run_status"] == "cancelled"
    assert not (project.shared / "ran").exists()


def test_run_cancelled_at_its_start_does_not_run(project: Project) -> None:
    """By the command line, at any moment."""
    plan = project.tasks({"1.1": f"{gate('never')}"})
    with Serving(project, roots_of(project), SHORT_GRACE) as server:
        for _ in range(3):
            run = server.start(plan)
            assert "cancelled" in project.call("cancel", run).expect(0).out
            wait_for(lambda: workers_of(server) == [])
            assert server.status(run)["run_status"] == "cancelled"


def test_cancelled_run_is_not_resumed_by_the_next_server(project: Project) -> None:
    plan = project.tasks({"1.1": f"trap '' TERM; {gate('never')}"})
    with Serving(project, roots_of(project), {"PATCHYARD_GRACE": "2s"}) as server:
        run = server.start(plan)
        wait_for((project.shared / "1.1.in").exists)
        server.post(f"/{run}/cancel")
    (record,) = project.call("runs", "--json").expect(0).records
    assert record["status"] == "cancelled"

    with Serving(project, roots_of(project)) as server:
        assert server.status(run)["run_status"] == "cancelled"
        assert workers_of(server) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_paused_run_remains_paused_until_it_is_resumed(project: Project, number: int) -> None:
    """Across a shutdown of the server and a kill of its worker."""
    plan = project.tasks({"1.1": f"{gate()}echo a > a", "2.1": 'touch "$SHARED/ran"; echo b > b'})
    environ = {"PATCHYARD_LEASE": "1"}
    with Serving(project, roots_of(project), environ) as server:
        run = server.start(plan)
        wait_for((project.shared / "1.1.in").exists)
        server.post(f"/{run}/pause")
        server.wait(run, "paused")
        (project.shared / "go").touch()
        wait_for(lambda: server.tasks(run)["1.1"]["status"] == "complete")
        if number == signal.SIGKILL:
            (worker,) = workers_of(server)
            os.kill(worker, number)
            wait_for(lambda: worker not in workers_of(server) and workers_of(server))
            server.wait(run, "paused")

    with Serving(project, roots_of(project), environ) as server:
        server.wait(run, "paused")
        assert not (project.shared / "ran").exists()
        server.post(f"/{run}/resume")
        assert server.wait(run, "complete")["tasks_completed"] == 2


def test_served_repositories_are_those_of_the_roots(project: Project, tmp_path: Path) -> None:
    plan = project.tasks({"1.1": "true"})
    run = project.run(plan).expect(0).run
    cases: list[tuple[list[str | Path], list[str]]] = [
        ([], [run]),
        (["--root", tmp_path], [run]),
        (["--root", project.root / "src"], []),
        (["--root", project.plans], []),
    ]
    for options, expected in cases:
        with Serving(project, options) as server:
            found = [item["execution_id"] for item in server.get("").json()["executions"]]
            assert found == expected, options


def test_run_of_a_killed_host_is_taken_over(project: Project, tmp_path: Path) -> None:
    take_over(project, tmp_path, f"sqlite:///{tmp_path}/shared.db")


@pytest.mark.postgres
def test_run_is_taken_over_with_postgresql(project: Project, tmp_path: Path, postgres: str) -> None:
    take_over(project, tmp_path, postgres)


def take_over(project: Project, tmp_path: Path, url: str) -> None:
    """Two servers on two hosts, with a clone each and one database; the first is killed with its worker."""
    bare = tmp_path / "origin.git"
    project.clone.git("clone", "--quiet", "--bare", project.root, bare)
    project.clone.git("remote", "add", "origin", bare)
    user, other = project.clone.user, tmp_path / "other" / "repo"
    user.git("clone", "--quiet", bare, other, cwd=tmp_path)
    second = Project(Clone(user, other), {"SHARED": str(project.shared)})
    database = ["--database", url]
    lease = {"PATCHYARD_LEASE": "2", **SHORT_GRACE}
    plan = project.tasks({"1.1": 'echo x >> "$SHARED/first"; echo a > a', "2.1": f"{gate()}echo b > b"})
    with (
        Serving(project, [*roots_of(project), *database], {"PATCHYARD_HOST": "one", **lease}) as one,
        Serving(second, ["--root", second.root, *database], {"PATCHYARD_HOST": "two", **lease}) as two,
    ):
        run = one.start(plan)
        wait_for((project.shared / "2.1.in").exists)
        wait_for(lambda: two.tasks(run)["2.1"]["status"] == "in_progress")
        assert workers_of(two) == []
        (worker,) = workers_of(one)
        (project.shared / "2.1.in").unlink()
        one.kill()
        os.kill(worker, signal.SIGKILL)
        wait_for((project.shared / "2.1.in").exists, "another attempt")
        assert len(workers_of(two)) == 1
        (project.shared / "go").touch()
        assert two.wait(run, "complete")["tasks_completed"] == 2
        attempts = two.get(f"/{run}/tasks/2.1").json()["attempts"]
        assert [item["status"] for item in attempts] == ["cancelled", "changed"]
        assert [item["has_log"] for item in attempts] == [False, True], "the first is on the other host"
    assert (project.shared / "first").read_text() == "x\n"
