"""The server conforms to its own OpenAPI and never responds with a 5xx."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import Project
from repositories import User, make_repository
from served import Serving

EXAMPLES = 10
"""Generated calls per operation, besides those that cover its constraints."""
FEW = 3
"""The same where most answers are that there is no such run."""
LEAST = 200
"""Minimum number of calls for a meaningful test."""
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
    """A server with a succeeded and a failed run."""
    project = Project(make_repository(User.at(tmp_path / "user"), tmp_path / "repo", {"a": "a"}))
    with Serving(project, ["--root", project.root, "--root", project.plans]) as server:
        for name, script in (("good", "echo b > b; echo said"), ("bad", "echo c > c; false")):
            server.wait(server.start(project.tasks({"1.1": script, "1.2": "true"}, f"{name}.md", title=name)))
        yield server


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_api_conforms_to_its_openapi(served: Serving, tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text("", encoding="utf-8")
    run = served.get("").json()["executions"][0]["execution_id"]
    _call(served, config, tmp_path, seed=1, examples=FEW)
    # Call the operations of a run also with a run that exists.
    config.write_text(
        "[[operations]]\n"
        'include-path-regex = "execution_id"\n'
        f'parameters = {{ "path.execution_id" = "{run}", "path.number" = "1.1" }}\n',
        encoding="utf-8",
    )
    _call(served, config, tmp_path, seed=2, examples=EXAMPLES)
    assert served.client.get("/health").json()["status"] == "ok"


def _call(served: Serving, config: Path, directory: Path, *, seed: int, examples: int) -> None:
    """Call every operation; fail if a response does not conform to the OpenAPI."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", config, "run"),
            *(f"{served.url}/openapi.json", "--checks", ",".join(CHECKS), "--mode", "all"),
            *("--max-examples", str(examples), "--seed", str(seed), "--generation-database", "none"),
            *("--phases", "examples,coverage,fuzzing", "--max-failures", "20", "--request-timeout", "60"),
            "--no-color",
        ],
        cwd=directory,
        env={**served.project.environ},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    generated = re.search(r"([0-9]+) generated", done.stdout)
    assert generated, done.stdout
    assert int(generated[1]) > LEAST, done.stdout
