"""The server against its own OpenAPI: whatever is sent, it answers as it says, and never with a 5xx."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import Project
from repositories import User, make_repository
from served import Serving

SECONDS = 60
"""How long the API is called for each run, and for none."""
LEAST = 20
"""Calls that have to be made in each part of that time, or the test says nothing."""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Serving]:
    """A server with a run of every kind."""
    project = Project(make_repository(User.at(tmp_path / "user"), tmp_path / "repo", {"a": "a"}))
    with Serving(project, ["--root", project.root, "--root", project.plans]) as server:
        for name, script in (("good", "echo b > b; echo said"), ("bad", "echo c > c; false")):
            server.wait(server.start(project.tasks({"1.1": script, "1.2": "true"}, f"{name}.md", title=name)))
        yield server


@pytest.mark.timeout(180)
def test_the_api_does_what_its_openapi_says(served: Serving, tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text("", encoding="utf-8")
    runs = [item["execution_id"] for item in served.get("").json()["executions"]]
    # Whatever is called for a run is called for runs that there are, too.
    for number, run in enumerate([*runs, None]):
        if run is not None:
            config.write_text(
                "[[operations]]\n"
                'include-path-regex = "execution_id"\n'
                f'parameters = {{ "path.execution_id" = "{run}", "path.number" = "1.{number + 1}" }}\n',
                encoding="utf-8",
            )
        else:
            config.write_text("", encoding="utf-8")
        _call(served, config, tmp_path, seed=number)
    assert served.client.get("/health").json()["status"] == "ok"


def _call(served: Serving, config: Path, directory: Path, *, seed: int) -> None:
    """Call everything, and fail when something is not as the OpenAPI says."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", config, "run"),
            *(f"{served.url}/openapi.json", "--checks", ",".join(CHECKS), "--mode", "all"),
            *(
                "--max-time",
                str(SECONDS),
                "--seed",
                str(seed),
                "--generation-database",
                "none",
                "--no-color",
            ),
            *("--phases", "examples,coverage,fuzzing", "--max-failures", "20", "--request-timeout", "30", "--max-examples", "10"),
        ],
        cwd=directory,
        env={**served.project.environ},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    print(done.stdout)
    generated = re.search(r"([0-9]+) generated", done.stdout)
    assert generated, done.stdout
    assert int(generated[1]) > LEAST, done.stdout
