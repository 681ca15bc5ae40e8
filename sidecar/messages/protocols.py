"""The chat protocols as data: where text is, what the length limit counts, where usage and ids are.

Everything that no path names is never touched: ids, tool calls, files, audio, signatures, metadata.
A value at a text's path must be a string; a list or an object passes there only where another path
leads into it, so that no form of a message goes by unseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sidecar.json_path import Path, compile_path

EVERYTHING: Final = compile_path("$..*")


class Shape(StrEnum):
    """What an error looks like to a client; written by `refusals.py`."""

    PLAIN = "plain"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    CHATKIT = "chatkit"
    VERCEL = "vercel"
    AG_UI = "ag_ui"
    GRADIO = "gradio"
    LANGGRAPH = "langgraph"
    OPEN_WEBUI = "open_webui"
    JSON_RPC = "json_rpc"


@dataclass(frozen=True, slots=True)
class Usage:
    """Where an answer or a stream's event counts tokens, and names its model."""

    input: Path
    output: Path
    model: Path


@dataclass(frozen=True, slots=True)
class Condition:
    """Holds for a message that has one of `values` at `path`; any value but null, if `values` is empty.

    `bare`: a list or an object without any string in it.
    """

    path: Path
    values: frozenset[str] = frozenset()
    bare: bool = False

    def holds(self, value: Any) -> bool:
        """Return whether the parsed message meets the condition."""
        found = (each for _, each in self.path.find(value))
        if self.bare:
            return any(isinstance(each, dict | list) and not has_string(each) for each in found)
        if self.values:
            return any(isinstance(each, str) and each in self.values for each in found)
        return any(each is not None for each in found)


class Framing(StrEnum):
    """How messages are written on a WebSocket."""

    JSON = "json"
    SOCKET_IO = "socket.io"
    BOKEH = "bokeh"
    SHINY = "shiny"
    STREAMLIT = "streamlit"


@dataclass(frozen=True, slots=True)
class Protocol:
    """One protocol.

    texts          what is sanitized
    skipped        names below which `..*` finds nothing (arguments of tools)
    labels         names whose strings, below `..*`, are protocol tokens if they look like it: ids, types
    embedded       strings that hold JSON, whose own strings are texts
    lenient        values of other types at those paths are data, not faults (tool arguments)
    textless       messages for which one of these holds may do without text; any other that has none is
                   MESSAGE_UNREADABLE
    turns          lists of messages: the length limit counts the last one of the user in each
    counted        texts beside those turns that the length limit counts, each by itself; None: all texts of a
                   message without turns, none of a message with turns
    endings        how the request's path ends, for `auto`
    counted_by_text  limits count messages that say something new only: a page sends others with each of them
    framing        how messages are written on a WebSocket
    shape          how its client reads a refusal
    usage          in a JSON answer and in a stream's events alike; absent paths are simply not found
    deltas         text in a stream's events
    conversations  ids in a request that name a conversation (`ownership`)
    learned        the same ids in an answer or a stream's events
    """

    name: str
    texts: tuple[Path, ...]
    skipped: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    embedded: tuple[Path, ...] = ()
    lenient: bool = False
    textless: tuple[Condition, ...] = ()
    turns: tuple[Path, ...] = ()
    counted: tuple[Path, ...] | None = None
    endings: tuple[str, ...] = ()
    counted_by_text: bool = False
    framing: Framing = Framing.JSON
    shape: Shape = Shape.PLAIN
    usage: tuple[Usage, ...] = ()
    deltas: tuple[Path, ...] = ()
    conversations: tuple[Path, ...] = ()
    learned: tuple[Path, ...] = ()

    def may_be_textless(self, value: Any) -> bool:
        """Say whether a message in which no text was found is one of those that have none."""
        return any(condition.holds(value) for condition in self.textless)


def has_string(value: Any) -> bool:
    """Say whether a string stands anywhere below a list or an object (names of members are none)."""
    return any(isinstance(each, str) for _, each in EVERYTHING.find(value))


def bare(path: str) -> Condition:
    """Condition: at `path` is a list or an object without any string in it."""
    return Condition(compile_path(path), bare=True)


def when(path: str, *values: str) -> Condition:
    """Condition: at `path` is one of `values`; any value but null, if none are given."""
    return Condition(compile_path(path), frozenset(values))


def paths(*texts: str) -> tuple[Path, ...]:
    """Compile several paths. Raises PathError."""
    return tuple(compile_path(text) for text in texts)


def content(base: str) -> tuple[str, ...]:
    """The paths of a `content` that is a string, a list of strings, or a list of parts with `text`."""
    return (base, f"{base}[*]", f"{base}[*].text")


def usage(base: str, given: str, made: str, model: str) -> Usage:
    """Return where a response reports its tokens: `given` and `made` below `base`, and its model."""
    return Usage(compile_path(f"{base}.{given}"), compile_path(f"{base}.{made}"), compile_path(model))


MESSAGES: Final = paths("$.messages")
OPENAI_USAGE: Final = usage("$.usage", "prompt_tokens", "completion_tokens", "$.model")

# Parts of a message that hold something else than text.
OTHER_PARTS: Final = (
    "image_url", "input_audio", "file", "input_image", "input_file", "image", "document", "refusal", "image_file",
)  # fmt: skip

PLAIN = Protocol(
    "plain",
    paths("$.message"),
    deltas=paths("$.delta", "$.text", "$.content"),
    conversations=paths("$.conversationId", "$.conversation_id", "$.threadId", "$.thread_id"),
    learned=paths("$.conversationId", "$.conversation_id", "$.threadId", "$.thread_id"),
)
OPENAI = Protocol(
    "openai",
    paths(*content("$.messages[*].content")),
    textless=(when("$.messages[*].content[*].type", *OTHER_PARTS),),
    turns=MESSAGES,
    endings=("/chat/completions",),
    shape=Shape.OPENAI,
    usage=(OPENAI_USAGE,),
    deltas=paths("$.choices[*].delta.content"),
)
OPENAI_TEXT = Protocol(  # completions, embeddings, moderations, images, speech: one text, or a list of them
    "openai-text",
    paths("$.prompt", "$.prompt[*]", "$.input", "$.input[*]", "$.input[*].text", "$.suffix", "$.instructions"),
    textless=(when("$.input[*].type", *OTHER_PARTS),),
    endings=("/completions", "/embeddings", "/moderations", "/images/generations", "/audio/speech"),
    shape=Shape.OPENAI,
    usage=(OPENAI_USAGE,),
    deltas=paths("$.choices[*].text"),
)
OPENAI_RESPONSES = Protocol(
    "openai-responses",
    paths(
        "$.input",
        "$.input[*]",
        *content("$.input[*].content"),
        *content("$.input[*].output"),
        "$.instructions",
        "$.prompt.variables.*",
        "$.prompt.variables.*.text",
    ),
    textless=(
        when("$.prompt.id"),
        when("$.input[*].type", "item_reference", "mcp_approval_response", "computer_call_output"),
        when("$.input[*].content[*].type", *OTHER_PARTS),
    ),
    turns=paths("$.input"),
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
OPENAI_THREADS = Protocol(  # threads, their messages and runs; conversations and their items
    "openai-threads",
    paths(
        *content("$.content"),
        *content("$.messages[*].content"),
        *content("$.additional_messages[*].content"),
        *content("$.thread.messages[*].content"),
        *content("$.items[*].content"),
        "$.instructions",
        "$.additional_instructions",
    ),
    textless=(
        bare("$"),
        when("$.assistant_id"),
        when("$.metadata"),
        when("$.content[*].type", *OTHER_PARTS),
        when("$.items[*].type", "item_reference", "function_call", "function_call_output", "reasoning"),
    ),
    turns=paths("$.messages", "$.additional_messages", "$.thread.messages", "$.items"),
    counted=paths(*content("$.content")),
    endings=("/threads", "/threads/runs", "/conversations"),
    shape=Shape.OPENAI,
    conversations=paths("$.thread_id"),
)
# What a client may say on a realtime socket without any text.
REALTIME_TEXTLESS: Final = (
    "session.update", "transcription_session.update", "input_audio_buffer.append", "input_audio_buffer.commit",
    "input_audio_buffer.clear", "output_audio_buffer.clear", "response.create", "response.cancel",
    "conversation.item.delete", "conversation.item.truncate", "conversation.item.retrieve",
)  # fmt: skip
OPENAI_REALTIME = Protocol(
    "openai-realtime",
    paths(
        "$.item.content[*].text",
        "$.item.output",
        "$.response.instructions",
        "$.response.input[*].content[*].text",
        "$.session.instructions",
        "$.session.audio.input.transcription.prompt",
    ),
    textless=(
        when("$.type", *REALTIME_TEXTLESS),
        when("$.item.content[*].type", *OTHER_PARTS),
        when("$.item.type", "mcp_approval_response"),
    ),
    endings=("/realtime",),
    shape=Shape.OPENAI,
    usage=(usage("$.response.usage", "input_tokens", "output_tokens", "$.response.model"),),
    deltas=paths("$.delta"),
)
ANTHROPIC = Protocol(
    "anthropic",
    paths(*content("$.messages[*].content"), *content("$.messages[*].content[*].content"), *content("$.system")),
    textless=(when("$.messages[*].content[*].type", *OTHER_PARTS, "tool_result", "container_upload"),),
    turns=MESSAGES,
    endings=("/v1/messages", "/v1/messages/count_tokens"),
    shape=Shape.ANTHROPIC,
    usage=(
        usage("$.usage", "input_tokens", "output_tokens", "$.model"),
        usage("$.message.usage", "input_tokens", "output_tokens", "$.message.model"),
    ),
    deltas=paths("$.delta.text"),
)
ANTHROPIC_BATCHES = Protocol(
    "anthropic-batches",
    paths(
        *content("$.requests[*].params.messages[*].content"),
        *content("$.requests[*].params.messages[*].content[*].content"),
        *content("$.requests[*].params.system"),
    ),
    turns=paths("$.requests[*].params.messages"),
    shape=Shape.ANTHROPIC,
)
GOOGLE = Protocol(  # Gemini's API
    "google",
    paths(
        "$.contents",
        "$.contents[*].parts[*].text",
        "$.contents.parts[*].text",
        "$.content.parts[*].text",
        "$.requests[*].content.parts[*].text",
        "$.systemInstruction.parts[*].text",
        "$.system_instruction.parts[*].text",
    ),
    textless=(when("$.contents[*].parts[*].inlineData"), when("$.contents[*].parts[*].functionResponse")),
    turns=paths("$.contents"),
    endings=(":generateContent", ":streamGenerateContent", ":countTokens", ":embedContent"),
    shape=Shape.OPENAI,
    deltas=paths("$.candidates[*].content.parts[*].text"),
)
RERANK = Protocol(
    "rerank",
    paths("$.query", "$.documents[*]", "$.documents[*].text"),
    endings=("/rerank",),
    shape=Shape.OPENAI,
)
OLLAMA = Protocol(
    "ollama",
    paths(*content("$.messages[*].content"), "$.prompt", "$.system", "$.suffix", "$.input", "$.input[*]"),
    # A model is loaded by a message without a prompt, and unloaded by one with keep_alive.
    textless=(when("$.keep_alive"), when("$.messages[*].images[*]"), when("$.model")),
    turns=MESSAGES,
    endings=("/api/generate", "/api/embed"),  # `/api/chat` is the path of many
    usage=(Usage(compile_path("$.prompt_eval_count"), compile_path("$.eval_count"), compile_path("$.model")),),
    deltas=paths("$.message.content", "$.response"),
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
    textless=(
        when(
            "$.type",
            "threads.get_by_id", "threads.list", "threads.delete", "threads.retry_after_item",
            "threads.custom_action", "threads.sync_custom_action", "threads.add_client_tool_output",
            "items.list", "items.feedback", "attachments.create", "attachments.delete", "input.transcribe",
        ),
        when("$.params.input.attachments[*]"),
    ),
    endings=("/chatkit",),
    shape=Shape.CHATKIT,
    deltas=paths("$.update.delta"),
    conversations=paths("$.params.thread_id"),
    learned=paths("$.thread.id"),
)  # fmt: skip
VERCEL_AI = Protocol(
    "vercel-ai",
    paths(
        "$.messages[*].parts[*].text",
        *content("$.messages[*].content"),
        "$.message.parts[*].text",
        *content("$.message.content"),
        "$.prompt",
    ),
    textless=(bare("$.messages"), when("$.messages[*].parts[*].type"), when("$.message.parts[*].type")),
    turns=MESSAGES,
    counted=paths("$.message.parts[*].text", *content("$.message.content"), "$.prompt"),
    shape=Shape.VERCEL,
    usage=(usage("$.messageMetadata.usage", "inputTokens", "outputTokens", "$.messageMetadata.model"),),
    deltas=paths("$.delta"),
    conversations=paths("$.id", "$.chatId"),
)
AG_UI = Protocol(
    "ag-ui",
    paths(*content("$.messages[*].content")),
    textless=(bare("$.messages"), when("$.messages[*].toolCalls"), when("$.messages[*].content[*].type")),
    turns=MESSAGES,
    shape=Shape.AG_UI,
    deltas=paths("$.delta"),
    conversations=paths("$.threadId", "$.thread_id"),
    learned=paths("$.threadId", "$.thread_id"),
)
GRADIO = Protocol(
    "gradio",
    paths("$.data..*", "$.data"),
    skipped=frozenset({"path", "url", "orig_name", "mime_type"}),  # of uploaded files: read again as they were given
    labels=frozenset({"role", "type"}),
    lenient=True,
    counted_by_text=True,
    textless=(when("$.data"),),  # most calls of a page carry states and nulls
    counted=paths("$.data[*]", "$.data[*].text"),  # the rest is the conversation, sent again
    endings=("/queue/join",),
    shape=Shape.GRADIO,
    conversations=paths("$.session_hash"),
)
LANGGRAPH_TEXTS: Final = tuple(
    f"{base}.{name}{end}"
    for base in ("$", "$[*]")
    for name in ("input", "command", "values", "value", "params", "supersteps")
    for end in ("..*", "")
)
LANGGRAPH = Protocol(
    "langgraph",
    paths(*LANGGRAPH_TEXTS),
    skipped=frozenset({"tool_calls", "invalid_tool_calls", "additional_kwargs", "response_metadata", "artifact"}),
    labels=frozenset({"id", "type", "role", "name", "tool_call_id", "thread_id", "status"}),
    lenient=True,
    textless=(
        bare("$"),
        when("$.assistant_id"),  # a run that goes on without input
        when("$[*].assistant_id"),
        when("$.values"),
        when("$.as_node"),
        when("$.thread_id"),
        when("$.metadata"),
        when("$.method"),
        when("$.namespace"),
        when("$.channels"),
    ),
    turns=paths(
        *(f"{base}.{at}messages" for base in ("$", "$[*]") for at in ("input.", "command.update.", "values.", "")),
        "$.params.input.messages",
    ),
    counted=paths(*LANGGRAPH_TEXTS),
    endings=("/runs/stream", "/runs/wait", "/runs", "/runs/batch", "/state"),
    shape=Shape.LANGGRAPH,
    conversations=paths("$.thread_id"),
    learned=paths("$.thread_id"),
)
MCP = Protocol(
    "mcp",
    paths("$.params.arguments..*", "$[*].params.arguments..*", "$.result..*", "$[*].result..*"),
    lenient=True,
    textless=(when("$.jsonrpc"), when("$[*].jsonrpc")),  # most methods carry no arguments
    endings=("/mcp",),
    shape=Shape.JSON_RPC,
)
A2A = Protocol(
    "a2a",
    paths("$.params.message.parts[*].text", "$.params.message.parts[*].data..*"),
    lenient=True,
    textless=(
        when("$.method", "tasks/get", "tasks/cancel", "tasks/resubscribe", "tasks/list"),
        when("$.params.message.parts[*].kind", "file"),
    ),
    shape=Shape.JSON_RPC,
)  # fmt: skip
CHAINLIT_EVENTS: Final = (
    "connection_successful", "clear_session", "stop", "fetch_favorites", "message_favorite", "audio_start",
    "audio_chunk", "audio_end", "chat_settings_change", "chat_settings_edit", "window_message",
)  # fmt: skip
CHAINLIT = Protocol(  # the arguments of a socket.io packet
    "chainlit",
    paths(
        "$[1].message.output",
        "$[0].output",  # an answer to a question of the app: the arguments of an acknowledgement
        "$[1].data..*",
        "$[1]..*",
    ),
    skipped=frozenset({"metadata", "fileReferences", "id", "threadId", "parentId", "createdAt", "audio"}),
    lenient=True,
    counted_by_text=True,
    textless=(when("$[0]", *CHAINLIT_EVENTS), when("$[0].id"), when("$[0].path"), when("$[0].name")),
    counted=paths("$[1].message.output", "$[0].output", "$[1]"),
    framing=Framing.SOCKET_IO,
    conversations=paths("$[1].message.threadId"),
    learned=paths("$[1].threadId"),
)
CHAINLIT_API = Protocol(
    "chainlit-api",
    paths("$.feedback.comment", "$.name", "$.action.payload..*", "$.element.props..*", "$.element.name"),
    lenient=True,
    textless=(when("$.feedback.value"), when("$.action.name"), when("$.element.id")),
)
OPEN_WEBUI = Protocol(  # HTTP bodies, and the arguments of a socket.io packet
    "open-webui",
    paths(
        *content("$.user_message.content"),
        *content("$.parent_message.content"),
        *content("$.messages[*].content"),
        *content("$.content"),
        "$.prompt",
        "$.params.system",
        "$[1].data.content",
        "$[1].data.data.content",
        "$[1].content",
    ),
    textless=(
        when("$.chat_id"),  # an answer that is made anew
        when("$.messages[*].content[*].type", *OTHER_PARTS),
        when("$.user_message.files[*]"),
        when(
            "$[0]",
            "usage", "user-join", "heartbeat", "join-channels", "join-note", "events:channel", "events:chat",
            "ydoc:document:join", "ydoc:document:state", "ydoc:document:leave", "ydoc:awareness:update",
        ),
    ),
    turns=MESSAGES,
    counted=paths(*content("$.user_message.content"), *content("$.content"), "$.prompt"),
    endings=("/api/chat/completions",),
    framing=Framing.SOCKET_IO,
    counted_by_text=True,
    shape=Shape.OPEN_WEBUI,
    usage=(OPENAI_USAGE,),
    deltas=paths("$.choices[*].delta.content"),
    conversations=paths("$.chat_id"),
    learned=paths("$.chat_id"),
)  # fmt: skip
OPEN_WEBUI_API = Protocol(  # what the page stores: conversations, titles, tags
    "open-webui-api",
    paths(
        *content("$.chat.history.messages.*.content"),
        *content("$.chat.messages[*].content"),
        "$.chats[*].chat.history.messages.*.content",
        "$.chat.title",
        "$.title",
        *content("$.content"),
        "$.name",
    ),
    textless=(when("$"),),
    counted_by_text=True,
    counted=paths(*content("$.content"), "$.title"),
    shape=Shape.OPEN_WEBUI,
)
STREAMLIT = Protocol("streamlit", (), framing=Framing.STREAMLIT)  # its texts: `streamlit.py`
BOKEH = Protocol(
    "bokeh",
    paths("$.events..*", "$.doc..*"),
    labels=frozenset({"id", "kind", "attr", "type", "name", "msg_type"}),
    lenient=True,
    textless=(bare("$"), when("$.events")),
    framing=Framing.BOKEH,
)
SHINY = Protocol(
    "shiny",
    paths("$.data..*", "$.args..*"),
    lenient=True,
    textless=(when("$.method"),),
    counted=paths("$.data.*", "$.data.*.text"),
    framing=Framing.SHINY,
)
NICEGUI = Protocol(  # the arguments of a socket.io packet
    "nicegui",
    paths("$[1].result", "$[1].result..*"),
    embedded=paths("$[1].args[*]"),
    lenient=True,
    counted_by_text=True,
    textless=(when("$[0]", "event", "handshake", "ack", "log", "javascript_response"),),
    framing=Framing.SOCKET_IO,
)

# Events of NiceGUI's elements by which a person sends what the server already holds.
SENDING: Final = frozenset({"keydown", "keypress", "keyup", "click", "submit"})
SOCKET_IO: Final = frozenset({CHAINLIT.name, OPEN_WEBUI.name, NICEGUI.name})
"""Spoken in socket.io packets, over a WebSocket or by long polling."""

KNOWN: Final = (
    PLAIN,
    OPENAI,
    OPENAI_TEXT,
    OPENAI_RESPONSES,
    OPENAI_THREADS,
    OPENAI_REALTIME,
    ANTHROPIC,
    ANTHROPIC_BATCHES,
    GOOGLE,
    RERANK,
    OLLAMA,
    CHATKIT,
    VERCEL_AI,
    AG_UI,
    GRADIO,
    LANGGRAPH,
    MCP,
    A2A,
    CHAINLIT,
    CHAINLIT_API,
    OPEN_WEBUI,
    OPEN_WEBUI_API,
    STREAMLIT,
    BOKEH,
    SHINY,
    NICEGUI,
)


def union(protocols: Iterable[Protocol]) -> Protocol:
    """Join the texts of all: `auto` looks wherever any protocol has text.

    A client could dress a message as another protocol than the backend reads, so what is recognised
    decides about limits and refusals only, never about where text is looked for.
    """
    joined = tuple(protocols)
    texts = {path.text: path for protocol in joined for path in protocol.texts}
    embedded = {path.text: path for protocol in joined for path in protocol.embedded}
    skipped = frozenset[str]().union(*(protocol.skipped for protocol in joined))
    return Protocol("auto", tuple(texts.values()), skipped, embedded=tuple(embedded.values()))


AUTO: Final = union(protocol for protocol in KNOWN if not protocol.lenient)
BY_NAME: Final[Mapping[str, Protocol]] = {protocol.name: protocol for protocol in (*KNOWN, AUTO)} | {
    "openai-chat": OPENAI,
    "responses": OPENAI_RESPONSES,
    "realtime": OPENAI_REALTIME,
}


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


TELLING: Final[tuple[tuple[frozenset[str], Protocol], ...]] = (
    (frozenset({"jsonrpc", "method"}), MCP),
    (frozenset({"threadId", "runId", "messages"}), AG_UI),
    (frozenset({"assistant_id", "input"}), LANGGRAPH),
    (frozenset({"data", "session_hash"}), GRADIO),
    (frozenset({"type", "params"}), CHATKIT),
)
