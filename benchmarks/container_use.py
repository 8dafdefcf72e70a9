"""Run commands in environments of container-use, through its server of the Model Context Protocol.

https://github.com/dagger/container-use, https://modelcontextprotocol.io/specification/2025-06-18/basic/transports
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

PROTOCOL = "2025-06-18"
IMAGE_FILE = Path(".container-use", "environment.json")
"""File of a repository that names the image of its environments."""


def image_file(image: str) -> str:
    """Return the content of `IMAGE_FILE`."""
    return json.dumps({"workdir": "/workdir", "base_image": image})


class Server:
    """A context manager: a server that works on one repository; it exits at the end of its input."""

    def __init__(self, program: Path, repository: Path, environ: Mapping[str, str]) -> None:
        self._command = [str(program), "stdio"]
        self._repository = repository
        self._environ = environ
        self._number = 0

    def __enter__(self) -> Self:
        """Start it."""
        self._process = subprocess.Popen(
            self._command,
            cwd=self._repository,
            env=self._environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        client = {"name": "benchmark", "version": "1"}
        asked = self._request(
            "initialize", {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": client}
        )
        if self._answer()[0] != asked:
            sys.exit("container-use answers something that was not asked")
        self._send({"method": "notifications/initialized"})
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until it has exited."""
        self._process.communicate()

    def run(self, commands: Sequence[str]) -> None:
        """Run each command in a new environment of its own, all at the same time. Blocking."""
        pending: dict[int, str | None] = {
            self._call("environment_create", title=command): command for command in commands
        }
        while pending:
            number, text = self._answer()
            command = pending.pop(number)
            if command is not None:
                made, _ = json.JSONDecoder().raw_decode(text[text.index("{") :])
                ran = self._call("environment_run_cmd", environment_id=made["id"], command=command)
                pending[ran] = None

    def _call(self, tool: str, **arguments: str) -> int:
        given = {"environment_source": str(self._repository), "explanation": "benchmark", **arguments}
        return self._request("tools/call", {"name": tool, "arguments": given})

    def _request(self, method: str, parameters: Mapping[str, Any]) -> int:
        self._number += 1
        self._send({"id": self._number, "method": method, "params": parameters})
        return self._number

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._process.stdin:
            self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            self._process.stdin.flush()

    def _answer(self) -> tuple[int, str]:
        """Wait for the next answer; return its number, and its text if a tool was called."""
        for line in self._process.stdout or ():
            message = json.loads(line)
            if "id" not in message or "method" in message:
                continue
            result = message.get("result", {})
            if "error" in message or result.get("isError"):
                sys.exit(f"container-use failed: {message}")
            texts = [part["text"] for part in result.get("content", ()) if part["type"] == "text"]
            return message["id"], "".join(texts)
        sys.exit("container-use exited")
