"""What the providers of the built-in agents answer when they do not serve a request."""

from collections.abc import Mapping
from datetime import datetime

from model_server import Refusal

OF_ANTHROPIC = frozenset({"claude", "opencode"})
"""Agents that the tests let use Anthropic's API; gemini uses Google's, and the others OpenAI's."""


def openai(status: int, **error: object) -> Refusal:
    """Return an error of OpenAI's API."""
    return Refusal(status, {"error": error})


def anthropic(status: int, kind: str, message: str, **headers: str) -> Refusal:
    """Return an error of Anthropic's API; `headers` are named with `_` in place of `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Refusal(status, {"type": "error", "error": {"type": kind, "message": message}}, named)


def google(status: int, message: str, *details: Mapping[str, object]) -> Refusal:
    """Return an error of Google's API."""
    return Refusal(status, {"error": {"code": status, "message": message, "details": list(details)}})


def overloaded(agent: str) -> Refusal:
    """Return the answer of an overloaded provider."""
    if agent in OF_ANTHROPIC:
        return anthropic(529, "overloaded_error", "Overloaded")
    if agent == "gemini":
        return google(503, "The model is overloaded. Please try again later.")
    return openai(503, message="The server is overloaded", type="server_error", code="server_is_overloaded")


def refused_key(agent: str) -> Refusal:
    """Return the answer to a key that is not valid."""
    if agent in OF_ANTHROPIC:
        return anthropic(401, "authentication_error", "invalid x-api-key")
    if agent == "gemini":
        return google(400, "API key not valid. Please pass a valid API key.")
    return openai(
        401,
        message="Incorrect API key provided: sk-x.",
        type="invalid_request_error",
        code="invalid_api_key",
    )


def limited(agent: str, seconds: int, until: datetime) -> Refusal:
    """Return the answer at a limit, in the way in which a provider names the time.

    Args:
        agent: The agent's name.
        seconds: For how long, where the provider says that.
        until: Until when, where it says that; a full minute, since no more is shown.
    """
    moment = int(until.timestamp())
    match agent:
        case "claude":  # of a plan that is logged in to: https://code.claude.com/docs/en/costs
            return anthropic(
                429,
                "rate_limit_error",
                "This request would exceed your account's rate limit. Please try again later.",
                anthropic_ratelimit_unified_status="rejected",
                anthropic_ratelimit_unified_reset=str(moment),
                anthropic_ratelimit_unified_representative_claim="five_hour",
                x_should_retry="false",
            )
        case "opencode":
            message = "Your credit balance is too low to access the Anthropic API."
            return anthropic(400, "invalid_request_error", message, retry_after=str(seconds))
        case "gemini":
            return google(429, f"You exceeded your current quota. Please retry in {seconds}s.")
        case "codex":
            return openai(
                429, type="usage_limit_reached", message="It is reached", plan_type="pro", resets_at=moment
            )
    message = f"You exceeded your current quota. Please try again in {seconds}s."
    return openai(429, message=message, type="insufficient_quota", code="insufficient_quota")
