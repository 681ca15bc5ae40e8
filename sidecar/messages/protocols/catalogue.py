"""All protocols, by name, and their union `auto`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from sidecar.messages.protocols.agents import A2A, AG_UI, CHATKIT, LANGGRAPH, MCP, VERCEL_AI
from sidecar.messages.protocols.definition import Protocol
from sidecar.messages.protocols.model_apis import (
    ANTHROPIC,
    ANTHROPIC_BATCHES,
    GOOGLE,
    OLLAMA,
    OPENAI,
    OPENAI_AUDIO,
    OPENAI_IMAGE,
    OPENAI_REALTIME,
    OPENAI_RESPONSES,
    OPENAI_TEXT,
    OPENAI_THREADS,
    RERANK,
)
from sidecar.messages.protocols.pages import (
    BOKEH,
    CHAINLIT,
    CHAINLIT_API,
    GRADIO,
    NICEGUI,
    OPEN_WEBUI,
    OPEN_WEBUI_API,
    OPEN_WEBUI_NOTES,
    OPEN_WEBUI_STORED,
    PLAIN,
    SHINY,
    STREAMLIT,
)

# The length is no part of the type: native modules are made against it.
KNOWN: Final[tuple[Protocol, ...]] = (
    PLAIN,
    OPENAI,
    OPENAI_TEXT,
    OPENAI_IMAGE,
    OPENAI_AUDIO,
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
    OPEN_WEBUI_NOTES,
    OPEN_WEBUI_STORED,
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
    beside = {path.text: path for protocol in joined for path in protocol.beside}
    return Protocol(
        "auto", tuple(texts.values()), skipped, embedded=tuple(embedded.values()), beside=tuple(beside.values())
    )


AUTO: Final = union(protocol for protocol in KNOWN if not protocol.lenient)
BY_NAME: Final[Mapping[str, Protocol]] = {protocol.name: protocol for protocol in (*KNOWN, AUTO)} | {
    "openai-chat": OPENAI,
    "responses": OPENAI_RESPONSES,
    "realtime": OPENAI_REALTIME,
}
