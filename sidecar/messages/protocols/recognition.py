"""Which protocol a request speaks, by its path or by the keys of its body."""

from __future__ import annotations

from typing import Any, Final

from sidecar.messages.protocols.agents import AG_UI, CHATKIT, LANGGRAPH, MCP, VERCEL_AI
from sidecar.messages.protocols.catalogue import BY_NAME, KNOWN
from sidecar.messages.protocols.definition import Protocol
from sidecar.messages.protocols.model_apis import ANTHROPIC, OPENAI, OPENAI_RESPONSES
from sidecar.messages.protocols.pages import GRADIO, PLAIN

TELLING: Final[tuple[tuple[frozenset[str], Protocol], ...]] = (
    (frozenset({"jsonrpc", "method"}), MCP),
    (frozenset({"threadId", "runId", "messages"}), AG_UI),
    (frozenset({"assistant_id", "input"}), LANGGRAPH),
    (frozenset({"data", "session_hash"}), GRADIO),
    (frozenset({"type", "params"}), CHATKIT),
)


def recognise(path: str, value: Any) -> Protocol | None:
    """Return the protocol of a request, by its path or by its shape; None: none that is known."""
    ends = [(len(end), p.name) for p in KNOWN for end in p.endings if path.rstrip("/").endswith(end)]
    if ends:
        return BY_NAME[max(ends)[1]]  # the longest ending is the most telling
    if "/gradio_api/call/" in path or "/gradio_api/run/" in path:
        return GRADIO
    if isinstance(value, list):
        return MCP if any(isinstance(one, dict) and "jsonrpc" in one for one in value) else None
    return recognise_object(value) if isinstance(value, dict) else None


def recognise_object(value: dict[str, Any]) -> Protocol | None:
    """Return the protocol that a JSON object most likely belongs to, by its keys; None if none fits."""
    for keys, protocol in TELLING:
        if keys <= value.keys():
            return protocol
    messages = value.get("messages")
    if isinstance(messages, list):
        if any(isinstance(one, dict) and "parts" in one for one in messages):
            return VERCEL_AI
        return ANTHROPIC if "system" in value and "max_tokens" in value else OPENAI
    if "input" in value:
        return LANGGRAPH if isinstance(value["input"], dict) else OPENAI_RESPONSES
    return VERCEL_AI if isinstance(value.get("message"), dict) else PLAIN if "message" in value else None
