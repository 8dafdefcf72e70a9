"""Which commands can be run afterwards."""

import pytest

from tasks.dialects.prose.verification import never_ends


@pytest.mark.parametrize(
    "command",
    [
        "npm run dev",
        "pnpm start",
        "npx vitest --watch",
        "mkdocs serve",
        "python manage.py runserver",
        "uvicorn app:app",
        "docker compose up",
        "tail -f log.txt",
        "curl http://localhost:8000/health",
    ],
)
def test_servers_and_watchers_never_end(command: str) -> None:
    assert never_ends(command)


@pytest.mark.parametrize(
    "command", ["npm test -- --watchAll=false", "go test ./serve", "docker compose up -d", "pytest tests/dev"]
)
def test_commands_that_only_look_like_servers_end(command: str) -> None:
    assert not never_ends(command)
