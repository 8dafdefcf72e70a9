"""A scripted language model behind the HTTP APIs of the providers.

It implements OpenAI's chat completions and responses, Anthropic's messages and Gemini's generateContent,
streamed on request. An answer depends only on its request: the number of tool results in it is the number of
the turn. So several agents can use one server concurrently.
"""

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType, TracebackType
from typing import Any, Self, cast

from tasks.agent_report import Tokens

Json = dict[str, Any]
SHELLS = ("bash", "shell", "exec_command", "run_shell_command", "shell_command")
"""Names of the tool that runs a command, in lower case; each agent has its own."""
ARGUMENTS = ("command", "cmd")
USED = Tokens(1000, 100, 200)
"""What each answer is charged with."""
KEYS = ("authorization", "x-api-key", "x-goog-api-key")


@dataclass(frozen=True, slots=True)
class Turn:
    """An answer of the model: a text, and a command to run."""

    text: str = ""
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A request of an agent: its path, API key and body."""

    path: str
    key: str
    body: Json = field(repr=False)

    @property
    def text(self) -> str:
        """The whole body as text, for searching."""
        return json.dumps(self.body, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call: the name of the tool and its arguments."""

    name: str
    arguments: Json


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer of a provider that does not serve a request: its status, body and headers."""

    status: int
    body: Json
    headers: Mapping[str, str] = field(default_factory=dict)


class ModelServer:
    """A context manager that runs the server; `turns` is the script of every conversation.

    Those whose requests have the words of `scripts` follow that script instead. As many prompts as there are
    `refusals` are refused first; with `itertools.repeat`, all are.
    """

    def __init__(
        self,
        turns: Sequence[Turn],
        refusals: Iterable[Refusal] = (),
        scripts: Mapping[str, Sequence[Turn]] = MappingProxyType({}),
    ) -> None:
        self._refusals = iter(refusals)
        self._scripts = scripts
        self._lock = threading.Lock()
        self.requests: list[Request] = []
        self.charged = Tokens()
        """What all answers so far were charged with."""
        self.turns = tuple(turns)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.answer = self.answer  # type: ignore[attr-defined]  # read by the handler
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        """Start the server."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, request: Request) -> "list[Json] | Json | Refusal | None":
        """Return the events of a streamed answer or the object of another; `None` for an unknown path."""
        self.requests.append(request)
        path, body = request.path, request.body
        if request.body and not path.endswith(("/count_tokens", ":countTokens")):
            with self._lock:
                refusal = next(self._refusals, None)
            if refusal:
                return refusal
        return self._served(path, body)

    def _served(self, path: str, body: Json) -> "list[Json] | Json | None":
        if path.endswith("/chat/completions"):
            return _chat(body, *self._turn(body, _openai_tools(body), '"role": "tool"'))
        if path.endswith("/responses"):
            return _responses(*self._turn(body, _openai_tools(body), '"type": "function_call_output"'))
        if path.endswith("/messages"):
            return _messages(body, *self._turn(body, _anthropic_tools(body), '"type": "tool_result"'))
        if path.endswith(("/messages/count_tokens", ":countTokens")):
            return {"input_tokens": 1, "totalTokens": 1}
        if ":generateContent" in path or ":streamGenerateContent" in path:
            answer = _gemini(*self._turn(body, _gemini_tools(body), '"functionResponse":'))
            return [answer] if ":streamGenerateContent" in path else answer
        return {} if path.endswith("/models") else None

    def _turn(self, body: Json, tools: Mapping[str, Json], result: str) -> tuple[str, Call | None]:
        """Return the text and the tool call of the current turn, which is charged."""
        self.charged += USED
        text = json.dumps(body)
        turns = next((script for words, script in self._scripts.items() if words in text), self.turns)
        turn = turns[min(text.count(result), len(turns) - 1)]
        if turn.command is None:
            return turn.text, None
        shell = next((name for name in tools if name.lower() in SHELLS), None)
        if shell is None:  # such as a request for a title
            return turn.text or "A task", None
        return turn.text, Call(shell, _arguments(tools[shell], turn.command))


def _arguments(schema: Json, command: str) -> Json:
    """Return the arguments of a tool that runs a command, including its other required ones."""
    properties: Json = schema.get("properties", {})
    name = next(name for name in ARGUMENTS if name in properties)
    needed = {other: "Write the file" for other in schema.get("required", ()) if other != name}
    return {name: command, **needed}


def _openai_tools(body: Json) -> dict[str, Json]:
    tools: Iterable[Json] = (tool.get("function", tool) for tool in body.get("tools", ()))
    return {tool["name"]: tool["parameters"] for tool in tools if "name" in tool and "parameters" in tool}


def _anthropic_tools(body: Json) -> dict[str, Json]:
    return {tool["name"]: tool.get("input_schema", {}) for tool in body.get("tools", ())}


def _gemini_tools(body: Json) -> dict[str, Json]:
    declared = [one for tool in body.get("tools", ()) for one in tool.get("functionDeclarations", ())]
    return {one["name"]: one.get("parametersJsonSchema") or one.get("parameters", {}) for one in declared}


def _chat(body: Json, text: str, call: Call | None) -> "list[Json] | Json":
    message: Json = {"role": "assistant", "content": text}
    if call:
        function = {"name": call.name, "arguments": json.dumps(call.arguments)}
        message["tool_calls"] = [{"index": 0, "id": "call_1", "type": "function", "function": function}]
    head = {"id": "chat_1", "created": 1, "model": body["model"]}
    usage: Json = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    usage["prompt_tokens_details"] = {"cached_tokens": USED.cached}
    reason = "tool_calls" if call else "stop"
    if not body.get("stream"):
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
    head["object"] = "chat.completion.chunk"
    return [
        {**head, "choices": [{"index": 0, "delta": message, "finish_reason": None}]},
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]},
        {**head, "choices": [], "usage": usage},
    ]


def _responses(text: str, call: Call | None) -> list[Json]:
    if call:
        item: Json = {
            "type": "function_call",
            "id": "item_1",
            "call_id": "call_1",
            "name": call.name,
            "arguments": json.dumps(call.arguments),
        }
    else:
        content = [{"type": "output_text", "text": text, "annotations": []}]
        item = {"type": "message", "id": "item_1", "role": "assistant", "content": content}
    usage = {
        "input_tokens": 1000,
        "input_tokens_details": {"cached_tokens": USED.cached},
        "output_tokens": 100,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 1100,
    }
    response = {"id": "response_1", "object": "response", "output": []}
    return [
        {"type": "response.created", "response": response},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {**response, "output": [item], "usage": usage}},
    ]


def _messages(body: Json, text: str, call: Call | None) -> "list[Json] | Json":
    blocks: list[Json] = [{"type": "text", "text": text}] if text else []
    if call:
        blocks.append({"type": "tool_use", "id": "call_1", "name": call.name, "input": call.arguments})
    reason = "tool_use" if call else "end_turn"
    usage = {"input_tokens": 800, "cache_read_input_tokens": USED.cached, "output_tokens": 100}
    message: Json = {
        "id": "message_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": blocks,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": usage,
    }
    if not body.get("stream"):
        return message
    return [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
        *(event for number, block in enumerate(blocks) for event in _block(number, block)),
        {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]


def _block(number: int, block: Json) -> Iterator[Json]:
    """Yield the events of a content block, which starts empty and grows."""
    if block["type"] == "text":
        empty, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
    else:
        empty = {**block, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    yield {"type": "content_block_start", "index": number, "content_block": empty}
    yield {"type": "content_block_delta", "index": number, "delta": delta}
    yield {"type": "content_block_stop", "index": number}


def _gemini(text: str, call: Call | None) -> Json:
    part: Json = {"functionCall": {"name": call.name, "args": call.arguments}} if call else {"text": text}
    return {
        "candidates": [{"index": 0, "content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}],
        "usageMetadata": {
            "promptTokenCount": 1000,
            "cachedContentTokenCount": USED.cached,
            "candidatesTokenCount": 100,
            "totalTokenCount": 1100,
        },
    }


class _Handler(BaseHTTPRequestHandler):
    """Reads a request and writes its answer."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer requests such as the list of models."""
        self._answer({}) if not self.headers.get("upgrade") else self._send(426, "text/plain", b"")

    def do_POST(self) -> None:
        """Answer a prompt."""
        size = int(self.headers.get("content-length") or 0)
        self._answer(json.loads(self.rfile.read(size) or b"{}"))

    def do_HEAD(self) -> None:
        """Answer a check that the server is running."""
        self._send(200, "text/plain", b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's own name
        """Log nothing."""

    def _answer(self, body: Json) -> None:
        key = next((self.headers[name] for name in KEYS if self.headers.get(name)), "")
        answer = cast("Any", self.server).answer(Request(self.path.partition("?")[0], key, body))
        if answer is None:
            self._send(404, "application/json", b'{"error": {"message": "there is nothing here"}}')
        elif isinstance(answer, Refusal):
            self._send(answer.status, "application/json", json.dumps(answer.body).encode(), answer.headers)
        elif isinstance(answer, list):
            self._send(200, "text/event-stream", "".join(map(_event, answer)).encode())
        else:
            self._send(200, "application/json", json.dumps(answer).encode())

    def _send(self, status: int, kind: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _event(event: Json) -> str:
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event)}\n\n"
