"""Writes a refusal in the form in which each protocol's clients read errors."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, TypeAlias, cast

import orjson

from sidecar.messages.protocols.catalogue import AUTO, BY_NAME
from sidecar.messages.protocols.definition import Protocol, Shape
from sidecar.messages.protocols.pages import PLAIN
from sidecar.messages.protocols.recognition import recognise
from sidecar.vocabulary import Code

JSON: Final = b"application/json; charset=utf-8"
TEXT: Final = b"text/plain; charset=utf-8"
PROBLEM: Final = b"application/problem+json"  # RFC 9457 §3
EVENT_STREAM: Final = b"text/event-stream; charset=utf-8"

Refusal: TypeAlias = tuple[bytes, bytes]
"""The content type and the body."""


class Worded:
    """A code with another sentence, as far as a refusal's body needs one."""

    def __init__(self, code: Code, sentence: str) -> None:
        self.name, self.status, self.sentence = code.name, code.status, sentence


# The `type` of an error that each provider's own clients know, by status.
OPENAI_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
ANTHROPIC_TYPES: Final = OPENAI_TYPES | {413: "request_too_large", 503: "overloaded_error", 504: "timeout_error"}


def refusal(
    protocol: Protocol | str,
    code: Code,
    request_id: str,
    *,
    accept: bytes = b"",
    streaming: bool = False,
    path: str = "",
    sentence: str = "",
) -> Refusal:
    """Return (content type, body) of a refusal that is sent instead of an answer, with `code.status`.

    `sentence` replaces the code's own. `accept` is the request's Accept; `streaming`: the client waits for an
    event stream; `path` decides the protocol of an `auto` route.
    Most clients read JSON from an answer that is not 2xx even then; only ChatKit's wants the stream.
    """
    if sentence:
        code = cast(Code, Worded(code, sentence))
    if b"application/problem+json" in accept.lower():
        return PROBLEM, orjson.dumps(problem(code, request_id))
    named = known(protocol)
    if named is AUTO:
        named = recognise(path, None) or AUTO
    shape = named.shape
    if streaming and shape is Shape.CHATKIT:
        return EVENT_STREAM, stream_refusal(named, code, request_id)
    if shape is Shape.VERCEL:
        return TEXT, code.sentence.encode()  # `useChat` shows the body as it is
    return JSON, orjson.dumps(BODIES.get(shape, plain)(code, request_id))


def stream_refusal(
    protocol: Protocol | str, code: Code, request_id: str, *, path: str = "", sentence: str = ""
) -> bytes:
    """Return the event that reports a refusal in a stream whose head is sent already; `sentence` as in `refusal`."""
    if sentence:
        code = cast(Code, Worded(code, sentence))
    return STREAMS[spoken(protocol, path).shape](code, request_id)


def spoken(protocol: Protocol | str, path: str) -> Protocol:
    """Return the protocol of a stream; where the route names none, the one that the path tells of."""
    named = known(protocol)
    return named if named.shape is not Shape.PLAIN else recognise(path, None) or named


def known(protocol: Protocol | str) -> Protocol:
    """Return the protocol of this name; PLAIN for an unknown one."""
    return BY_NAME.get(protocol, PLAIN) if isinstance(protocol, str) else protocol


def plain(code: Code, request_id: str) -> dict[str, Any]:
    """The sidecar's own shape: a sentence, the code, the request id."""
    return {"error": code.sentence, "code": code.name, "request_id": request_id}


def problem(code: Code, request_id: str) -> dict[str, Any]:
    """Problem details (RFC 9457)."""
    # With about:blank the title is the status' own phrase: RFC 9457 §4.2.1.
    title = HTTPStatus(code.status).phrase
    about = {"type": "about:blank", "title": title, "status": code.status, "detail": code.sentence}
    return about | {"code": code.name, "request_id": request_id}


def openai(code: Code, request_id: str) -> dict[str, Any]:
    """The error object of OpenAI's API; LiteLLM and vLLM use it too."""
    kind = OPENAI_TYPES.get(code.status, "server_error" if code.status >= 500 else "invalid_request_error")
    error = {"message": code.sentence, "type": kind, "param": None, "code": code.name}
    return {"error": error, "code": code.name, "request_id": request_id}


def anthropic(code: Code, request_id: str) -> dict[str, Any]:
    """The error object of Anthropic's API."""
    kind = ANTHROPIC_TYPES.get(code.status, "api_error" if code.status >= 500 else "invalid_request_error")
    error = {"type": kind, "message": code.sentence}
    return {"type": "error", "error": error, "code": code.name, "request_id": request_id}


def gradio(code: Code, request_id: str) -> dict[str, Any]:
    """The error of Gradio's queue."""
    # As Gradio says that an input is not valid: the page shows it at the box, and the box stays usable.
    said = [{"is_valid": False, "message": code.sentence}]
    return {"error": said, "code": code.name, "request_id": request_id, "detail": code.sentence}


def with_detail(code: Code, request_id: str) -> dict[str, Any]:
    """The plain shape with FastAPI's `detail`."""
    return plain(code, request_id) | {"detail": code.sentence}  # FastAPI's clients read `detail`


def open_webui(code: Code, request_id: str) -> dict[str, Any]:
    """OpenAI's shape with FastAPI's `detail`."""
    return openai(code, request_id) | {"detail": code.sentence}  # for its page, and for clients of OpenAI's API


def json_rpc(code: Code, request_id: str) -> dict[str, Any]:
    """A JSON-RPC 2.0 error response."""
    # -32000 to -32099 are for servers' own errors; the id is null where it was not read: JSON-RPC 2.0 §5.
    error = {
        "code": -32000 - (code.status % 100),
        "message": code.sentence,
        "data": {"code": code.name, "request_id": request_id},
    }
    return {"jsonrpc": "2.0", "id": None, "error": error}


BODIES: Final[dict[Shape, Callable[[Code, str], dict[str, Any]]]] = {
    Shape.OPENAI: openai,
    Shape.ANTHROPIC: anthropic,
    Shape.GRADIO: gradio,
    Shape.LANGGRAPH: with_detail,
    Shape.OPEN_WEBUI: open_webui,
    Shape.JSON_RPC: json_rpc,
}


def data(value: Any, event: str = "") -> bytes:
    """Return one server-sent event with `value` as JSON (WHATWG HTML §9.2.5)."""
    line = b"data: " + orjson.dumps(value) + b"\n\n"
    return b"event: " + event.encode() + b"\n" + line if event else line


def chatkit_stream(code: Code, request_id: str) -> bytes:
    """A ChatKit stream of a notice and an error; the client may retry at 429, 502, 503 and 504."""
    notice = {"type": "notice", "level": "danger", "title": None, "message": code.sentence}
    error = {
        "type": "error",
        "code": "custom",
        "message": code.sentence,
        "allow_retry": code.status in {429, 502, 503, 504},
    }
    return data(notice) + data(error | {"request_id": request_id})


def vercel_stream(code: Code, _: str) -> bytes:
    """A stream of the AI SDK (version 1 of its protocol) with an error part and its end."""
    return data({"type": "error", "errorText": code.sentence}) + b"data: [DONE]\n\n"


def ag_ui_stream(code: Code, _: str) -> bytes:
    """An AG-UI stream with one RUN_ERROR event."""
    return data({"type": "RUN_ERROR", "message": code.sentence, "code": code.name})


def gradio_stream(code: Code, _: str) -> bytes:
    """A stream of Gradio's queue with one `unexpected_error`."""
    return data({"msg": "unexpected_error", "message": code.sentence, "success": False})


STREAMS: Final[dict[Shape, Callable[[Code, str], bytes]]] = {
    Shape.PLAIN: lambda code, request_id: data(plain(code, request_id), "error"),
    Shape.OPENAI: lambda code, request_id: data(openai(code, request_id)),
    Shape.ANTHROPIC: lambda code, request_id: data(anthropic(code, request_id), "error"),
    Shape.CHATKIT: chatkit_stream,
    Shape.VERCEL: vercel_stream,
    Shape.AG_UI: ag_ui_stream,
    Shape.OPEN_WEBUI: lambda code, request_id: data(open_webui(code, request_id)),
    Shape.GRADIO: gradio_stream,
    Shape.LANGGRAPH: lambda code, request_id: data(
        {"error": code.name, "message": code.sentence, "request_id": request_id}, "error"
    ),
    Shape.JSON_RPC: lambda code, request_id: data(json_rpc(code, request_id), "message"),
}
