"""Protocols between pages and agents: ChatKit, AI SDK, AG-UI, LangGraph, MCP, A2A."""

from __future__ import annotations

from typing import Final

from sidecar.messages.protocols.definition import (
    MESSAGES,
    Protocol,
    Shape,
    bare,
    content,
    paths,
    usage,
    when,
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
    conversations=paths("$.id", "$.chatId"),
)
AG_UI = Protocol(
    "ag-ui",
    paths(*content("$.messages[*].content")),
    textless=(bare("$.messages"), when("$.messages[*].toolCalls"), when("$.messages[*].content[*].type")),
    turns=MESSAGES,
    shape=Shape.AG_UI,
    conversations=paths("$.threadId", "$.thread_id"),
    learned=paths("$.threadId", "$.thread_id"),
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
    paths(
        "$.params.arguments..*", "$[*].params.arguments..*", "$.result..*", "$[*].result..*",
        "$.params.argument.value", "$[*].params.argument.value",  # what is completed
    ),
    lenient=True,
    textless=(when("$.jsonrpc"), when("$[*].jsonrpc")),  # most methods carry no arguments
    endings=("/mcp",),
    shape=Shape.JSON_RPC,
)  # fmt: skip
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
