"""The chat protocols as data: where text is, what the length limit counts, where usage and ids are.

Everything that no path names is never touched: ids, tool calls, files, audio, signatures, metadata.
A value at a text's path must be a string; a list or an object passes there only where another path
leads into it, so that no shape of a message goes by unseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sidecar.json_path import Path, compile_path


class Shape(StrEnum):
    """What an error looks like to a client; drawn in `refusals.py`."""

    PLAIN = "plain"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    CHATKIT = "chatkit"
    VERCEL = "vercel"
    AG_UI = "ag_ui"
    GRADIO = "gradio"
    LANGGRAPH = "langgraph"
    JSON_RPC = "json_rpc"


@dataclass(frozen=True, slots=True)
class Usage:
    """Where an answer or a stream's event counts tokens, and names its model."""

    input: Path
    output: Path
    model: Path


@dataclass(frozen=True, slots=True)
class Protocol:
    """One protocol.

    texts          what is sanitized
    lenient        values of other types at those paths are data, not faults (tool arguments)
    required       a body without any text is no message of this protocol
    turns          the list of messages: the length limit counts the last one of the user;
                   without it (or where it is no list), every text by itself
    endings        how the request's path ends, for `auto`
    shape          how its client reads a refusal
    usage          in a JSON answer and in a stream's events alike; absent paths are simply not found
    deltas         text in a stream's events
    conversations  ids in a request that name a conversation (`ownership`)
    learned        the same ids in an answer or a stream's events
    """

    name: str
    texts: tuple[Path, ...]
    lenient: bool = False
    required: bool = False
    turns: Path | None = None
    endings: tuple[str, ...] = ()
    shape: Shape = Shape.PLAIN
    usage: tuple[Usage, ...] = ()
    deltas: tuple[Path, ...] = ()
    conversations: tuple[Path, ...] = ()
    learned: tuple[Path, ...] = ()


def paths(*texts: str) -> tuple[Path, ...]:
    return tuple(compile_path(text) for text in texts)


def content(base: str) -> tuple[str, ...]:
    """The paths of a `content` that is a string, a list of strings, or a list of parts with `text`."""
    return (base, f"{base}[*]", f"{base}[*].text")


def usage(base: str, given: str, made: str, model: str) -> Usage:
    return Usage(compile_path(f"{base}.{given}"), compile_path(f"{base}.{made}"), compile_path(model))


MESSAGES: Final = compile_path("$.messages")
OPENAI_USAGE: Final = usage("$.usage", "prompt_tokens", "completion_tokens", "$.model")

PLAIN = Protocol(
    "plain",
    paths("$.message"),
    required=True,
    deltas=paths("$.delta", "$.text", "$.content"),
    conversations=paths("$.conversationId", "$.conversation_id", "$.threadId", "$.thread_id"),
    learned=paths("$.conversationId", "$.conversation_id", "$.threadId", "$.thread_id"),
)
OPENAI = Protocol(
    "openai",
    paths(*content("$.messages[*].content")),
    required=True,
    turns=MESSAGES,
    endings=("/chat/completions",),
    shape=Shape.OPENAI,
    usage=(OPENAI_USAGE,),
    deltas=paths("$.choices[*].delta.content"),
)
OPENAI_RESPONSES = Protocol(
    "openai-responses",
    paths("$.input", "$.input[*]", *content("$.input[*].content"), "$.instructions"),
    turns=compile_path("$.input"),
    endings=("/responses",),
    shape=Shape.OPENAI,
    usage=(
        usage("$.usage", "input_tokens", "output_tokens", "$.model"),
        usage("$.response.usage", "input_tokens", "output_tokens", "$.response.model"),
    ),
    deltas=paths("$.delta"),
    conversations=paths("$.previous_response_id", "$.conversation", "$.conversation.id"),
    learned=paths("$.id", "$.response.id", "$.conversation.id", "$.response.conversation.id"),
)
OPENAI_REALTIME = Protocol(
    "openai-realtime",
    paths(
        "$.item.content[*].text",
        "$.response.instructions",
        "$.response.input[*].content[*].text",
        "$.session.instructions",
    ),
    endings=("/realtime",),
    shape=Shape.OPENAI,
    usage=(usage("$.response.usage", "input_tokens", "output_tokens", "$.response.model"),),
    deltas=paths("$.delta"),
)
ANTHROPIC = Protocol(
    "anthropic",
    paths(*content("$.messages[*].content"), *content("$.system")),
    required=True,
    turns=MESSAGES,
    endings=("/v1/messages", "/v1/messages/count_tokens"),
    shape=Shape.ANTHROPIC,
    usage=(
        usage("$.usage", "input_tokens", "output_tokens", "$.model"),
        usage("$.message.usage", "input_tokens", "output_tokens", "$.message.model"),
    ),
    deltas=paths("$.delta.text"),
)
CHATKIT = Protocol(
    "chatkit",
    paths(
        "$.params.input.content",
        "$.params.input.content[*]",
        "$.params.input.content[*].text",
        "$.params.input.quoted_text",
        "$.params.title",
    ),
    endings=("/chatkit",),
    shape=Shape.CHATKIT,
    deltas=paths("$.update.delta"),
    conversations=paths("$.params.thread_id"),
    learned=paths("$.thread.id"),
)
VERCEL_AI = Protocol(
    "vercel-ai",
    paths(
        "$.messages[*].parts[*].text",
        *content("$.messages[*].content"),
        "$.message.parts[*].text",
        *content("$.message.content"),
        "$.prompt",
    ),
    turns=MESSAGES,
    shape=Shape.VERCEL,
    usage=(usage("$.messageMetadata.usage", "inputTokens", "outputTokens", "$.messageMetadata.model"),),
    deltas=paths("$.delta"),
    conversations=paths("$.id", "$.chatId"),
)
AG_UI = Protocol(
    "ag-ui",
    paths(*content("$.messages[*].content")),
    turns=MESSAGES,
    shape=Shape.AG_UI,
    deltas=paths("$.delta"),
    conversations=paths("$.threadId", "$.thread_id"),
    learned=paths("$.threadId", "$.thread_id"),
)
GRADIO = Protocol(
    "gradio",
    paths("$.data[0]", "$.data[0].text"),
    lenient=True,
    endings=("/queue/join",),
    shape=Shape.GRADIO,
    conversations=paths("$.session_hash"),
)
LANGGRAPH = Protocol(
    "langgraph",
    paths(
        "$.input.messages",
        "$.input.messages.content",
        "$.input.messages[*]",
        "$.input.messages[*][1]",  # ("user", text)
        *content("$.input.messages[*].content"),
    ),
    turns=compile_path("$.input.messages"),
    endings=("/runs/stream", "/runs/wait", "/runs"),
    shape=Shape.LANGGRAPH,
    conversations=paths("$.thread_id"),
    learned=paths("$.thread_id"),
)
MCP = Protocol(
    "mcp",
    paths("$.params.arguments..*", "$[*].params.arguments..*"),
    lenient=True,
    endings=("/mcp",),
    shape=Shape.JSON_RPC,
)
CHAINLIT = Protocol(  # the arguments of a socket.io packet
    "chainlit",
    paths("$[1].message.output", "$[0].output"),
    lenient=True,
    conversations=paths("$[1].message.threadId"),
    learned=paths("$[1].threadId"),
)
OPEN_WEBUI = Protocol(  # HTTP bodies, and the arguments of a socket.io packet
    "open-webui",
    paths(*content("$.messages[*].content"), "$[1].data.content", "$[1].data.data.content", "$[1].content"),
    turns=MESSAGES,
    endings=("/api/chat/completions", "/api/v1/chats/new"),
    shape=Shape.OPENAI,
    usage=(OPENAI_USAGE,),
    deltas=paths("$.choices[*].delta.content"),
    conversations=paths("$.chat_id"),
    learned=paths("$.chat_id"),
)

SOCKET_IO: Final = frozenset({CHAINLIT.name, OPEN_WEBUI.name})
"""Spoken in socket.io packets, over a WebSocket or by long polling."""

KNOWN: Final = (
    PLAIN,
    OPENAI,
    OPENAI_RESPONSES,
    OPENAI_REALTIME,
    ANTHROPIC,
    CHATKIT,
    VERCEL_AI,
    AG_UI,
    GRADIO,
    LANGGRAPH,
    MCP,
    CHAINLIT,
    OPEN_WEBUI,
)


def union(protocols: Iterable[Protocol]) -> Protocol:
    """Join the texts of all: `auto` looks wherever any protocol has text.

    A client could dress a message as another protocol than the backend reads, so what is recognised
    decides about limits and refusals only, never about where text is looked for.
    """
    texts = {path.text: path for protocol in protocols for path in protocol.texts}
    return Protocol("auto", tuple(texts.values()), required=True)


AUTO: Final = union(protocol for protocol in KNOWN if not protocol.lenient)
LENIENT_IN_AUTO: Final = union(protocol for protocol in KNOWN if protocol.lenient)
BY_NAME: Final[Mapping[str, Protocol]] = {protocol.name: protocol for protocol in (*KNOWN, AUTO)} | {
    "openai-chat": OPENAI,
    "responses": OPENAI_RESPONSES,
    "realtime": OPENAI_REALTIME,
}


def recognise(path: str, value: Any) -> Protocol | None:
    """Say which protocol a request speaks, by its path or by its shape; None: none that is known."""
    ends = [(len(end), p.name) for p in KNOWN for end in p.endings if path.rstrip("/").endswith(end)]
    if ends:
        return BY_NAME[max(ends)[1]]  # the longest ending is the most telling
    if "/gradio_api/call/" in path:
        return GRADIO
    if isinstance(value, list):
        return MCP if any(isinstance(one, dict) and "jsonrpc" in one for one in value) else None
    return recognise_object(value) if isinstance(value, dict) else None


def recognise_object(value: dict[str, Any]) -> Protocol | None:
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


TELLING: Final[tuple[tuple[frozenset[str], Protocol], ...]] = (
    (frozenset({"jsonrpc", "method"}), MCP),
    (frozenset({"threadId", "runId", "messages"}), AG_UI),
    (frozenset({"assistant_id", "input"}), LANGGRAPH),
    (frozenset({"data", "session_hash"}), GRADIO),
    (frozenset({"type", "params"}), CHATKIT),
)
