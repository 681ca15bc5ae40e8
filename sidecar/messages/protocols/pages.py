"""What chat pages send: plain JSON, Gradio, Chainlit, Open WebUI, Streamlit, Bokeh, Shiny, NiceGUI."""

from __future__ import annotations

from typing import Final

from sidecar.messages.protocols.definition import (
    MESSAGES,
    Framing,
    Protocol,
    Shape,
    bare,
    content,
    paths,
    when,
)
from sidecar.messages.protocols.model_apis import OPENAI_USAGE, OTHER_PARTS

PLAIN = Protocol(
    "plain",
    paths("$.message"),
    conversations=paths("$.conversationId", "$.conversation_id", "$.threadId", "$.thread_id"),
    learned=paths("$.conversationId", "$.conversation_id", "$.threadId", "$.thread_id"),
)
GRADIO = Protocol(
    "gradio",
    paths("$.data..*", "$.data", "$.event_data..*"),  # the latter: what was clicked, which examples send as a message
    skipped=frozenset({"path", "url", "orig_name", "mime_type"}),  # of uploaded files: read again as they were given
    labels=frozenset({"role", "type"}),
    lenient=True,
    counted_by_text=True,
    textless=(when("$.data"),),  # most calls of a page carry states and nulls
    counted=paths("$.data", "$.data[*]", "$.data[*].text"),  # the rest is the conversation, sent again
    endings=("/queue/join",),
    shape=Shape.GRADIO,
    conversations=paths("$.session_hash"),
)
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
# Of files that a request or a stored message carries with it, where their texts are.
OPEN_WEBUI_FILES: Final = ("content", "file.data.content")
OPEN_WEBUI_BESIDE: Final = paths(
    "$.variables.*",  # put into system prompts
    "$.chat_variables.*",
    *(
        f"{base}files[*].{text}"
        for base in ("$.", "$.user_message.", "$.parent_message.", "$.messages[*].")
        for text in OPEN_WEBUI_FILES
    ),
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
    )
    + OPEN_WEBUI_BESIDE,
    beside=OPEN_WEBUI_BESIDE,
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
    conversations=paths("$.chat_id"),
    learned=paths("$.chat_id"),
)  # fmt: skip
OPEN_WEBUI_STORED_BESIDE: Final = paths(
    *(
        f"{base}.{text}"
        for base in ("$.chat.history.messages.*", "$.chats[*].chat.history.messages.*", "$.chat.messages[*]")
        for text in (
            "output[*].content[*].text",  # said to the model again
            "statusHistory[*].description",
            *(f"files[*].{each}" for each in OPEN_WEBUI_FILES),
        )
    ),
    "$.chat.system",
    "$.chat.params.system",
    "$.chat.tags[*]",
    "$.chat.tags[*].name",
    "$.variables.*",
    "$.system",
    "$.data.content",
    "$.data.description",
)
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
    )
    + OPEN_WEBUI_STORED_BESIDE,
    beside=OPEN_WEBUI_STORED_BESIDE,
    textless=(when("$"),),
    counted_by_text=True,
    counted=paths(*content("$.content"), "$.title"),
    shape=Shape.OPEN_WEBUI,
)
OPEN_WEBUI_NOTES = Protocol(  # stored again with every few key strokes, so limits of chats do not count them
    "open-webui-notes",
    paths("$.title", "$.data.content.md", "$.data.content.md..*"),  # the Markdown is what a model is given
    lenient=True,
    textless=(when("$"),),
    counted=(),
    counted_by_text=True,
    shape=Shape.OPEN_WEBUI,
)
OPEN_WEBUI_STORED = Protocol(  # what people keep: prompts, memories, folders, models, names
    "open-webui-stored",
    paths(
        "$.title", "$.name", "$.description", "$.bio", "$.status_message", "$.commit_message",
        "$.content", "$.content..*",
        "$.tags[*]", "$.tags[*].name",
        "$.operations[*].content",  # memories
        "$.data.system_prompt",  # folders
        "$.data.reason", "$.data.comment", "$.data.tags[*]",  # feedback, which administrators read
        *content("$.snapshot.chat.chat.history.messages.*.content"),
        "$.params.system", "$.meta.description",  # models
        "$.variables.*",
    ),
    lenient=True,
    textless=(when("$"),),
    counted=(),
    shape=Shape.OPEN_WEBUI,
)  # fmt: skip
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
