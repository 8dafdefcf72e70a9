"""The event loop is never blocked by git, the store or a file: server and client in one process."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest
import uvicorn
from project import Project
from served import API, OVER, gate

from pipeline.web.app import create_app
from pipeline.web.services import ServerSettings, Services

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("blockbuster")]


@asynccontextmanager
async def serving(project: Project, **more: object) -> AsyncIterator[tuple[httpx.AsyncClient, Services]]:
    """Serve a project on this event loop."""
    settings = ServerSettings((project.root, project.plans), project.environ, **more)  # type: ignore[arg-type]  # its own fields
    app = await anyio.to_thread.run_sync(create_app, settings)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="on", log_level="error", ws="none"))
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # signals are the test's
        async with anyio.create_task_group() as group:
            group.start_soon(server._serve, [listener])  # noqa: SLF001 - `serve` would take the signals
            with anyio.fail_after(30):
                while not server.started:  # noqa: ASYNC110 - uvicorn offers no event to wait for
                    await anyio.sleep(0.01)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            try:
                async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
                    yield client, app.state.services
            finally:
                with anyio.CancelScope(shield=True):
                    await app.state.services.workers.stop()  # also after a failed test
                app.state.services.subscribers.close()
                server.should_exit = True


async def status(client: httpx.AsyncClient, run: str) -> str:
    """Return the status of a run."""
    return str((await client.get(f"{API}/{run}/status")).json()["status"])


async def over(client: httpx.AsyncClient, run: str, *statuses: str) -> None:
    """Wait until a run is over, or has one of the statuses."""
    with anyio.fail_after(60):
        while (await status(client, run)) not in (statuses or OVER):  # noqa: ASYNC110 - another process does it
            await anyio.sleep(0.05)


async def test_requests_do_not_block(project: Project) -> None:
    plan = project.tasks({"1.1": f"echo said; {gate()}echo a > a", "1.2": "false", "2.1": "true"})
    bad = project.plan("# Nothing\n", "bad.md")
    async with serving(project) as (client, _):
        started = await client.post(f"{API}/start", json={"plan_path": str(plan)})
        run = started.json()["execution_id"]
        async with anyio.create_task_group() as group:
            streams: list[httpx.Response] = []

            async def get(path: str) -> None:
                streams.append(await client.get(path))

            group.start_soon(get, f"{API}/{run}/events")
            group.start_soon(get, f"{API}/{run}/tasks/1.1/log/follow")
            for action in ("pause", "resume"):
                assert (await client.post(f"{API}/{run}/{action}")).status_code == 200, action
            await anyio.Path(project.shared / "go").touch()
        assert [stream.status_code for stream in streams] == [200, 200]
        await over(client, run)
        for path, status in (
            ("/docs", 200),
            ("/openapi.json", 200),
            ("/health", 200),
            (API, 200),
            (f"{API}/{run}/status", 200),
            (f"{API}/{run}/batches", 200),
            (f"{API}/{run}/tasks/1.1", 200),
            (f"{API}/{run}/tasks/1.1/log", 200),
            (f"{API}/{run}/tasks/1.1/diff", 200),
            (f"{API}/unknown/status", 404),
        ):
            assert (await client.get(path)).status_code == status, path
        for action in ("publish", "retry"):
            assert (await client.post(f"{API}/{run}/{action}")).status_code in {200, 409}, action
        await over(client, run)
        assert (await client.post(f"{API}/{run}/cancel")).status_code in {200, 409}
        assert (await client.post(f"{API}/start", json={"plan_path": str(bad)})).status_code == 422
        assert (await client.post(f"{API}/start", json={"plan_path": "/etc/passwd"})).status_code == 403


async def test_waiting_run_is_cancelled_and_resumed(project: Project, tmp_path: Path) -> None:
    plans = [project.tasks({"1.1": gate(name)}, f"{name}.md", title=name) for name in ("a", "b")]
    async with serving(project, runs=1) as (client, services):
        first, second = [
            (await client.post(f"{API}/start", json={"plan_path": str(plan)})).json()["execution_id"]
            for plan in plans
        ]
        await over(client, first, "executing")
        assert (await client.get(f"{API}/{second}/status")).json()["status"] == "started"
        assert (await client.post(f"{API}/{second}/pause")).status_code == 409
        assert (await client.post(f"{API}/{second}/retry")).status_code == 409
        assert (await client.post(f"{API}/{second}/cancel")).json()["run_status"] == "cancelled"
        assert (await client.post(f"{API}/{second}/resume")).status_code == 200
        assert services.workers.has(second)
        assert (await client.post(f"{API}/{second}/cancel")).json()["run_status"] == "cancelled"
        await anyio.Path(project.shared / "a").touch()
        await over(client, first)
        with anyio.fail_after(30):
            while services.workers.has(second):  # noqa: ASYNC110 - there is no event for its end
                await anyio.sleep(0.01)
        assert (await client.get(f"{API}/{second}/status")).json()["run_status"] == "cancelled"
    assert not (tmp_path / "shared" / "b.in").exists()


async def test_concurrent_requests_share_a_snapshot(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(project) as (client, services):
        plan = project.tasks({"1.1": "true"})
        run = (await client.post(f"{API}/start", json={"plan_path": str(plan)})).json()["execution_id"]
        await over(client, run)
        looks: list[str] = []
        look = services._read_snapshot  # noqa: SLF001 - what is counted

        def counted(name: str) -> object:
            looks.append(name)
            return look(name)

        monkeypatch.setattr(services, "_read_snapshot", counted)
        services.expire(run)
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(client.get, f"{API}/{run}/status")
        assert 1 <= len(looks) <= 10
