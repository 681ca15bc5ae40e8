"""APIs of models and their gateways: OpenAI, Anthropic, Google, Ollama, reranking."""

from __future__ import annotations

from typing import Final

from sidecar.json_path import compile_path
from sidecar.messages.protocols.definition import (
    MESSAGES,
    Protocol,
    Shape,
    Usage,
    bare,
    content,
    paths,
    usage,
    when,
)

OPENAI_USAGE: Final = usage("$.usage", "prompt_tokens", "completion_tokens", "$.model")

# Parts of a message that hold something else than text.
OTHER_PARTS: Final = (
    "image_url", "input_audio", "file", "input_image", "input_file", "image", "document", "refusal", "image_file",
)  # fmt: skip

OPENAI = Protocol(
    "openai",
    paths(*content("$.messages[*].content")),
    textless=(when("$.messages[*].content[*].type", *OTHER_PARTS),),
    turns=MESSAGES,
    endings=("/chat/completions",),
    shape=Shape.OPENAI,
    usage=(OPENAI_USAGE,),
)
OPENAI_TEXT = Protocol(  # completions, embeddings, moderations, images, speech: one text, or a list of them
    "openai-text",
    paths("$.prompt", "$.prompt[*]", "$.input", "$.input[*]", "$.input[*].text", "$.suffix", "$.instructions"),
    textless=(when("$.input[*].type", *OTHER_PARTS),),
    endings=("/completions", "/embeddings", "/moderations", "/images/generations", "/audio/speech"),
    shape=Shape.OPENAI,
    usage=(OPENAI_USAGE,),
)
OPENAI_IMAGE = Protocol(  # pictures and videos that are made from files: forms, or JSON
    "openai-image", paths("$.prompt"), forms=True, shape=Shape.OPENAI
)
OPENAI_AUDIO = Protocol(  # transcriptions: a prompt may lead them
    "openai-audio", paths("$.prompt"), textless=(when("$"),), forms=True, shape=Shape.OPENAI
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
)
