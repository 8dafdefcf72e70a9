"""What the output of each built-in agent says; the lines are of the programs themselves."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from containers.agents.builtin import BUILT_IN
from containers.agents.reports.formats import FORMATS, read_report
from containers.agents.reports.reader import summary
from tasks.agent_report import AgentReport, Limit, LimitKind, Tokens

NOW = datetime(2026, 11, 28, 20, 0, tzinfo=UTC)


def claude(**event: object) -> str:
    return json.dumps({**event, "session_id": "4e771488"})


def opencode(**event: object) -> str:
    return json.dumps({**event, "timestamp": 1795897667804, "sessionID": "ses_1"})


def gemini(**event: object) -> str:
    return json.dumps({**event, "timestamp": "2026-11-28T20:27:41.831Z"})


def claude_says(text: str, **more: object) -> str:
    message = {"role": "assistant", "content": [{"type": "text", "text": text}]}
    return claude(type="assistant", message=message, **more)


def claude_ends(**more: object) -> str:
    return claude(**{"type": "result", "subtype": "success", "is_error": False, **more})


CLAUDE_USAGE = {
    "total_cost_usd": 0.0132,
    "usage": {"input_tokens": 1600, "cache_read_input_tokens": 400, "output_tokens": 200},
}
OPENCODE_STEP = opencode(
    type="step_finish",
    part={
        "type": "step-finish",
        "tokens": {"input": 700, "output": 90, "reasoning": 10, "cache": {"write": 100, "read": 200}},
        "cost": 0.00396,
    },
)
AIDER_SENT = '{"event": "message_send", "properties": {"prompt_tokens": 1000, "completion_tokens": 100, '
AIDER_SENT += '"cost": 0.00325, "total_cost": 0.00325}, "user_id": "6ad5", "time": 1795897890}'
MINI = '{"trajectory": [{"instance_cost": 0.0065}, {"exit_status": "Submitted"}, {"completion_tokens": 100}, '
MINI += '{"prompt_tokens": 1000}, {"cached_tokens": 200}, {"content": "I write it."}, {}]}'
GEMINI_STATS = {"total_tokens": 2300, "input_tokens": 2000, "output_tokens": 200, "cached": 400}
CODEX_USAGE = '{"input_tokens":2000,"cached_input_tokens":400,"output_tokens":200,"reasoning_output_tokens":0}'


@pytest.mark.parametrize(
    ("name", "lines", "report"),
    [
        (
            "claude",
            [claude_says("I write it."), claude_says("Done."), claude_ends(result="Done.", **CLAUDE_USAGE)],
            AgentReport(0.0132, Tokens(2000, 200, 400), "Done."),
        ),
        (
            "codex",
            [
                '{"type":"item.completed","item":{"id":"item_2","type":"agent_message","text":"Done."}}',
                f'{{"type":"turn.completed","usage":{CODEX_USAGE}}}',
            ],
            AgentReport(None, Tokens(2000, 200, 400), "Done."),
        ),
        (
            "gemini",
            [
                gemini(type="message", role="user", content="Write it."),
                gemini(type="message", role="assistant", content="Do", delta=True),
                gemini(type="message", role="assistant", content="ne.", delta=True),
                gemini(type="result", status="success", stats=GEMINI_STATS),
            ],
            AgentReport(None, Tokens(2000, 300, 400), "Done."),
        ),
        (
            "opencode",
            [OPENCODE_STEP, opencode(type="text", part={"type": "text", "text": "Done."}), OPENCODE_STEP],
            AgentReport(0.00792, Tokens(2000, 200, 400), "Done."),
        ),
        (
            "aider",
            [
                *(
                    "Here it is.",
                    "",
                    "Tokens: 1.0k sent, 100 received. Cost: $0.0033 message, $0.0033 session.",
                ),
                *("Applied edit to greeting.txt", AIDER_SENT),
            ],
            AgentReport(0.00325, Tokens(1000, 100), "Here it is."),
        ),
        (
            "mini-swe-agent",
            ["mini-swe-agent (step 1, $0.00):", "I write it.", MINI],
            AgentReport(0.0065, Tokens(1000, 100, 200), "I write it."),
        ),
        ("aider", ["Cost: $0.001 message, $0.0045 session."], AgentReport(0.0045)),
        ("mini-swe-agent", ["mini-swe-agent (step 2, $0.13):"], AgentReport(0.13)),
    ],
)
def test_what_an_agent_reports(name: str, lines: list[str], report: AgentReport) -> None:
    assert read_report("\n".join(lines), name, NOW, UTC) == report
    assert read_report("\r\n".join(["", *lines, ""]), name, NOW, UTC) == report


@pytest.mark.parametrize(
    ("name", "lines", "kind", "until"),
    [
        (
            "claude",
            [claude_ends(is_error=True, result="Claude AI usage limit reached|1795899600")],
            LimitKind.USAGE,
            timedelta(hours=1),
        ),
        (
            "claude",
            [claude_says("You've hit your session limit · resets 3pm (Europe/Berlin)", error="rate_limit")],
            LimitKind.USAGE,
            timedelta(hours=18),
        ),
        (
            "claude",
            [
                claude(type="rate_limit_event", rate_limit_info={"status": "rejected", "resetsAt": 1795903200}),
                claude_says("API Error: Request rejected (429)", error="rate_limit"),
                claude_ends(is_error=True, result="API Error: Request rejected (429)", api_error_status=429),
            ],
            LimitKind.RATE,
            timedelta(hours=2),
        ),
        ("claude", [claude_says("Credit balance is too low", error="billing_error")], LimitKind.USAGE, None),
        (
            "claude",
            [claude(type="system", subtype="api_retry", attempt=8, error_status=529, error="overloaded")],
            LimitKind.OVERLOADED,
            None,
        ),
        (
            "claude",
            [claude(type="system", subtype="api_retry", attempt=8, error_status=None, error="unknown")],
            LimitKind.UNREACHABLE,
            None,
        ),
        (
            "codex",
            ['{"type":"error","message":"You\\u2019ve hit your limit. Try again at Dec 1st, 2026 10:36 PM."}'],
            LimitKind.USAGE,
            timedelta(days=3, hours=2, minutes=36),
        ),
        (
            "codex",
            ['{"type":"error","message":"exceeded retry limit, last status: 429 Too Many Requests"}'],
            LimitKind.RATE,
            None,
        ),
        (
            "codex",
            ['{"type":"error","message":"Selected model is at capacity. Please try a different model."}'],
            LimitKind.OVERLOADED,
            None,
        ),
        (
            "codex",
            ['{"type":"error","message":"stream disconnected before completion: error sending request"}'],
            LimitKind.UNREACHABLE,
            None,
        ),
        (
            "gemini",
            [
                gemini(
                    type="result",
                    status="error",
                    error={"message": "[API Error: You have exhausted your daily quota on this model.]\nWait."},
                )
            ],
            LimitKind.USAGE,
            None,
        ),
        (
            "gemini",
            [
                gemini(
                    type="result",
                    status="error",
                    error={
                        "message": '[API Error: {"error":{"code":503,"message":"Please try again later."}}]'
                    },
                )
            ],
            LimitKind.OVERLOADED,
            None,
        ),
        (
            "gemini",
            ["Attempt 4 failed: You exceeded your current quota. Please retry in 20.5s."],
            LimitKind.USAGE,
            timedelta(seconds=20.5),
        ),
        (
            "gemini",
            ["Attempt 5 failed. Retrying with backoff... Error: exception TypeError: fetch failed"],
            LimitKind.UNREACHABLE,
            None,
        ),
        (
            "opencode",
            [
                opencode(
                    type="error",
                    error={
                        "name": "APIError",
                        "data": {
                            "message": "This request would exceed your organization's rate limit",
                            "statusCode": 429,
                            "responseHeaders": {"retry-after": "20"},
                        },
                    },
                )
            ],
            LimitKind.RATE,
            timedelta(seconds=20),
        ),
        (
            "opencode",
            [
                opencode(
                    type="error",
                    error={
                        "name": "APIError",
                        "data": {"message": "Cannot connect to API: Unable to connect."},
                    },
                )
            ],
            LimitKind.UNREACHABLE,
            None,
        ),
        (
            "opencode",
            ['level=ERROR message="stream error" x=y error.error="AI_Error: Rate limit; try again in 2 h"'],
            LimitKind.RATE,
            timedelta(hours=2),
        ),
        (
            "aider",
            [
                "litellm.RateLimitError: RateLimitError: OpenAIException - Rate limit reached for ",
                "gpt-4o on tokens per min (TPM): Limit 30000. Please try again in 20s.",
                "The API provider has rate limited you. Try again later or check your quotas.",
                "",
            ],
            LimitKind.RATE,
            timedelta(seconds=20),
        ),
        (
            "mini-swe-agent",
            ["Retrying <unknown> in 60 seconds as it raised RateLimitError: The usage limit has been reached."],
            LimitKind.USAGE,
            None,
        ),
        (
            "mini-swe-agent",
            ['{"trajectory": [{"exit_status": "ServiceUnavailableError"}, {"exception_str": "503"}, {}]}'],
            LimitKind.OVERLOADED,
            None,
        ),
    ],
)
def test_limit_that_an_agent_ran_into(
    name: str, lines: list[str], kind: LimitKind, until: timedelta | None
) -> None:
    report = read_report("\n".join(lines), name, NOW, UTC)
    assert report.limit
    assert report.limit == Limit(kind, None if until is None else NOW + until, report.limit.message)
    assert report.refused is None
    assert "\n" not in report.limit.message


@pytest.mark.parametrize(
    ("name", "line", "refused"),
    [
        (
            "claude",
            claude_says("Not logged in · Please run /login", error="authentication_failed"),
            "Not logged in",
        ),
        (
            "claude",
            claude(type="system", subtype="api_retry", error_status=401, error="unknown"),
            "unknown (401)",
        ),
        (
            "codex",
            '{"type":"turn.failed","error":{"message":"unexpected status 401 Unauthorized: Incorrect"}}',
            "unexpected status 401 Unauthorized",
        ),
        ("gemini", "Invalid auth method selected.", "Invalid auth method"),
        (
            "gemini",
            "When using Gemini API, you must specify the GEMINI_API_KEY environment variable.",
            "When using Gemini API, you must specify",
        ),
        (
            "gemini",
            gemini(
                type="result",
                status="error",
                error={"message": '[API Error: {"error":{"code":400,"message":"API key not valid."}}]'},
            ),
            "API key not valid.",
        ),
        (
            "opencode",
            opencode(
                type="error",
                error={"name": "APIError", "data": {"message": "invalid x-api-key", "statusCode": 401}},
            ),
            "invalid x-api-key",
        ),
        (
            "opencode",
            opencode(type="error", error={"name": "ProviderAuthError", "data": {"message": "log in first"}}),
            "log in first",
        ),
        (
            "aider",
            "litellm.AuthenticationError: OpenAI - Incorrect \nAPI key provided: sk-x.\nThe API provider",
            "litellm.AuthenticationError: OpenAI - Incorrect API key provided: sk-x.",
        ),
        (
            "mini-swe-agent",
            '{"trajectory": [{"exit_status": "AuthenticationError"}, {"exception_str": "Wrong key"}, {}]}',
            "AuthenticationError: Wrong key",
        ),
        (
            "mini-swe-agent",
            "Retrying <unknown> in 4 seconds as it raised InternalServerError: Missing credentials.",
            "InternalServerError",
        ),
    ],
)
def test_agent_that_its_provider_does_not_accept(name: str, line: str, refused: str) -> None:
    report = read_report(line, name, NOW, UTC)
    assert (report.refused or "").startswith(refused)
    assert report.limit is None


@pytest.mark.parametrize(
    ("name", "failed", "served"),
    [
        (
            "claude",
            claude(type="system", subtype="api_retry", error_status=529, error="overloaded"),
            claude_says("Done."),
        ),
        ("codex", '{"type":"error","message":"Reconnecting... 1/5 (429)"}', '{"type":"turn.completed"}'),
        ("gemini", "Attempt 1 failed with status 503.", gemini(type="result", status="success")),
        (
            "opencode",
            opencode(type="error", error={"name": "APIError", "data": {"statusCode": 503}}),
            OPENCODE_STEP,
        ),
        ("aider", "litellm.RateLimitError: x\nRetrying in 0.2 seconds...", "Cost: $0.1 message, $0.1 session."),
        (
            "mini-swe-agent",
            "Retrying <unknown> in 4 seconds as it raised RateLimitError: x",
            "mini-swe-agent (step 1, $0.00):",
        ),
    ],
)
def test_a_limit_that_is_over_is_none(name: str, failed: str, served: str) -> None:
    assert read_report(failed, name, NOW, UTC).limit
    assert read_report(f"{failed}\n{served}", name, NOW, UTC).limit is None


def test_an_error_of_the_task_is_another_error() -> None:
    lines = [
        claude_ends(is_error=True, subtype="error_max_turns", errors=["Reached maximum number of turns (3)"])
    ]
    report = read_report("\n".join(lines), "claude", NOW, UTC)
    assert (report.limit, report.refused) == (None, None)


def test_tokens_of_sub_agents_count() -> None:
    models = {
        "opus": {
            "inputTokens": 10,
            "outputTokens": 2,
            "cacheReadInputTokens": 5,
            "cacheCreationInputTokens": 1,
        },
        "haiku": {"inputTokens": 100, "outputTokens": 20},
    }
    line = claude_ends(modelUsage=models, usage={"input_tokens": 10, "output_tokens": 2})
    assert read_report(line, "claude", NOW).tokens == Tokens(116, 22, 5)


def test_what_is_known_of_a_call_that_was_cut_off() -> None:
    said = [
        claude(
            type="assistant",
            message={"id": name, "content": [], "usage": {"input_tokens": 7, "output_tokens": 1}},
        )
        for name in ("a", "a", "b", *map(str, range(200)), *map(str, range(200)))
    ]
    assert read_report("\n".join(said[:3]), "claude", NOW).tokens == Tokens(14, 2)
    assert read_report("\n".join(said[:103]), "claude", NOW).tokens == Tokens(7 * 102, 102)
    whole = read_report("\n".join([*said, claude_ends(**CLAUDE_USAGE)]), "claude", NOW)
    assert whole.tokens == Tokens(2000, 200, 400)

    retry = "Retrying <unknown> in 60 seconds as it raised RateLimitError: x"
    cut = '{"trajectory": [{"instance_cost": 0.5}, {"exit_status": ""}, {"content": "I write it."}, {}]}'
    report = read_report(f"{retry}\nTerminated\n{cut}", "mini-swe-agent", NOW)
    assert (report.cost, report.last_message) == (0.5, "I write it.")
    assert report.limit


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "{}",
        "[]",
        "{]}",
        '{"a":' * 100_000 + "}",
        '{"type": 1, "session_id": "x", "sessionID": "x", "timestamp": "x"}',
        '{"type": "result", "session_id": "x", "timestamp": "x", "usage": 7, "stats": [], "error": 3}',
        '{"type": "assistant", "session_id": "x", "message": {"content": [7, {"type": "text", "text": 5}]}}',
        '{"type": "result", "session_id": "x", "total_cost_usd": "x", "modelUsage": {"a": [], "b": {}}}',
        '{"type": "result", "session_id": "x", "total_cost_usd": -1, "usage": {"input_tokens": -7}}',
        '{"type": "result", "session_id": "x", "total_cost_usd": NaN, "usage": {"input_tokens": 1e400}}',
        '{"type": "step_finish", "sessionID": "x", "part": {"cost": true, "tokens": {"input": "9"}}}',
        '{"type": "error", "sessionID": "x", "timestamp": "x", "message": {}, "error": {"data": null}}',
        '{"type": "turn.completed", "usage": {"input_tokens": null}}',
        '{"type": "item.completed", "item": {"type": "file_change", "changes": 7}}',
        '{"event": "message_send", "user_id": 1, "properties": []}',
        '{"trajectory": [{"instance_cost": "x", "prompt_tokens": "y"}]}',
        '{"trajectory": 7}',
        "Cost: $..... message, $...... session.",
    ],
)
def test_broken_and_strange_lines_say_nothing(name: str, line: str) -> None:
    report = read_report(line, name, NOW, UTC)
    assert (report.cost or None, report.tokens or Tokens()) == (None, Tokens())
    assert report.last_message is None


@pytest.mark.parametrize("name", FORMATS)
def test_only_whole_lines_count(name: str) -> None:
    ends = [
        claude_ends(**CLAUDE_USAGE),
        f'{{"type":"turn.completed","usage":{CODEX_USAGE}}}',
        OPENCODE_STEP,
        MINI,
    ]
    ends += [AIDER_SENT, gemini(type="result", status="success", stats=GEMINI_STATS)]
    for end in ends:
        for line in (f"x {end}", f" {end}", f"{end} x", end[:-1], json.dumps(end), json.dumps([end])):
            assert read_report(line, name, NOW, UTC) == AgentReport(), line


def test_the_last_report_wins() -> None:
    lines = [claude_ends(total_cost_usd=0.1, result="One"), claude_ends(total_cost_usd=0.25, result="Two")]
    assert read_report("\n".join(lines), "claude", NOW).cost == 0.25


def test_last_message_is_cut_and_plain() -> None:
    report = read_report(claude_says("\x1b[1mbold\x00\ud800\x1b[0m" + "x" * 30_000), "claude", NOW)
    assert report.last_message
    assert report.last_message.startswith("bold?xxx")
    assert len(report.last_message) == 20_000


def test_each_built_in_agent_has_a_format() -> None:
    assert {agent.format for agent in BUILT_IN.values()} == set(FORMATS)


def test_summary_says_what_is_known() -> None:
    assert summary(AgentReport()) == ""
    assert summary(AgentReport(0.5)) == "[the agent used $0.5000]"
    known = AgentReport(0.0132, Tokens(2000, 200, 400))
    assert summary(known) == "[the agent used $0.0132, 2,000 tokens in, 400 of them cached, 200 tokens out]"
    assert summary(AgentReport(None, Tokens(1, 0, 0))) == "[the agent used 1 tokens in, 0 tokens out]"
