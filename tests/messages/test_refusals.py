from __future__ import annotations

import json

import httpx2 as httpx  # the one that the locked openai client is built on
import openai
import pytest

from sidecar.messages.protocols.catalogue import BY_NAME
from sidecar.messages.refusals import refusal, stream_refusal
from sidecar.vocabulary import Code

LIMIT = Code.RATE_LIMIT_EXCEEDED
SAYS = "Too many requests"

BODIES = [
    ("plain", {"error": SAYS, "code": LIMIT.name, "request_id": "r"}),
    ("no such protocol", {"error": SAYS, "code": LIMIT.name, "request_id": "r"}),
    ("openai", {"error": {"message": SAYS, "type": "rate_limit_error", "param": None, "code": LIMIT.name}, "code": LIMIT.name, "request_id": "r"}),
    ("anthropic", {"type": "error", "error": {"type": "rate_limit_error", "message": SAYS}, "code": LIMIT.name, "request_id": "r"}),
    ("gradio", {"error": [{"is_valid": False, "message": SAYS}], "detail": SAYS, "code": LIMIT.name, "request_id": "r"}),
    ("langgraph", {"error": SAYS, "detail": SAYS, "code": LIMIT.name, "request_id": "r"}),
    ("open-webui", {"error": {"message": SAYS, "type": "rate_limit_error", "param": None, "code": LIMIT.name}, "detail": SAYS, "code": LIMIT.name, "request_id": "r"}),
    ("mcp", {"jsonrpc": "2.0", "id": None, "error": {"code": -32029, "message": SAYS, "data": {"code": LIMIT.name, "request_id": "r"}}}),
]  # fmt: skip


@pytest.mark.parametrize(("protocol", "body"), BODIES, ids=[row[0] for row in BODIES])
@pytest.mark.parametrize("streaming", [False, True], ids=["json", "stream"])
def test_bodies(protocol, body, streaming):
    content_type, raw = refusal(protocol, LIMIT, "r", streaming=streaming)
    assert content_type == b"application/json; charset=utf-8"
    assert json.loads(raw) == body


@pytest.mark.parametrize("streaming", [False, True], ids=["json", "stream"])
def test_use_chat_shows_the_body_as_it_is(streaming):
    assert refusal("vercel-ai", LIMIT, "r", streaming=streaming) == (b"text/plain; charset=utf-8", SAYS.encode())


@pytest.mark.parametrize("protocol", BY_NAME)
@pytest.mark.parametrize("accept", [b"application/problem+json", b"text/html, Application/Problem+JSON;q=0.9"])
def test_problem_details(protocol, accept):
    content_type, raw = refusal(protocol, LIMIT, "r", accept=accept)
    assert content_type == b"application/problem+json"
    about = {"type": "about:blank", "title": "Too Many Requests", "status": 429, "detail": SAYS}
    assert json.loads(raw) == about | {"code": LIMIT.name, "request_id": "r"}


@pytest.mark.parametrize(
    ("path", "as_if"),
    [
        ("/v1/chat/completions", "openai"),
        ("/v1/responses/", "openai"),
        ("/v1/messages", "anthropic"),
        ("/mcp", "mcp"),
        ("/api/chat", "plain"),
        ("", "plain"),
    ],
)
def test_an_auto_route_refuses_as_its_path_speaks(path, as_if):
    assert refusal("auto", LIMIT, "r", path=path) == refusal(as_if, LIMIT, "r")
    assert refusal("plain", LIMIT, "r", path=path) == refusal("plain", LIMIT, "r")


def test_an_auto_route_of_chatkit_streams_its_refusal():
    asked = {"path": "/chatkit", "streaming": True}
    assert refusal("auto", LIMIT, "r", **asked) == refusal("chatkit", LIMIT, "r", streaming=True)


def test_chatkit_reads_a_stream():
    content_type, raw = refusal("chatkit", LIMIT, "r", streaming=True)
    assert content_type == b"text/event-stream; charset=utf-8"
    events = [json.loads(event.removeprefix("data: ")) for event in raw.decode().split("\n\n") if event]
    assert [event["type"] for event in events] == ["notice", "error"]
    assert events[1]["allow_retry"] is True


@pytest.mark.parametrize("protocol", BY_NAME)
@pytest.mark.parametrize("code", Code, ids=lambda code: code.name)
def test_every_event_is_one(protocol, code):
    raw = stream_refusal(protocol, code, "r").decode()
    assert raw.endswith("\n\n")
    for event in raw[:-2].split("\n\n"):
        *named, data = event.split("\n")
        assert data.startswith("data: ")
        assert all(line.startswith("event: ") for line in named)
        assert data == "data: [DONE]" or json.loads(data[6:])
    assert code.sentence in raw


TYPES = [
    (Code.MESSAGE_INVALID, "invalid_request_error", "invalid_request_error"),
    (Code.AUTH_FAILED, "authentication_error", "authentication_error"),
    (Code.FORBIDDEN, "permission_error", "permission_error"),
    (Code.BODY_TOO_LARGE, "invalid_request_error", "request_too_large"),
    (Code.BACKEND_BROKEN, "server_error", "api_error"),
    (Code.OVERLOADED, "server_error", "overloaded_error"),
]


@pytest.mark.parametrize(("code", "openai", "anthropic"), TYPES, ids=[row[0].name for row in TYPES])
def test_error_types_of_the_providers(code, openai, anthropic):
    assert json.loads(refusal("openai", code, "r")[1])["error"]["type"] == openai
    assert json.loads(refusal("anthropic", code, "r")[1])["error"]["type"] == anthropic


OPENAI_ERRORS = [
    (Code.RATE_LIMIT_EXCEEDED, openai.RateLimitError),
    (Code.AUTH_FAILED, openai.AuthenticationError),
    (Code.CONTENT_BLOCKED, openai.PermissionDeniedError),
    (Code.MESSAGE_TOO_LONG, openai.BadRequestError),
    (Code.OVERLOADED, openai.InternalServerError),
]


@pytest.mark.parametrize(("code", "error"), OPENAI_ERRORS, ids=[row[0].name for row in OPENAI_ERRORS])
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_the_openai_client_raises_its_own_error(code, error, stream):
    content_type, body = refusal("openai", code, "r", streaming=stream)
    answer = httpx.Response(code.status, content=body, headers={"content-type": content_type.decode()})
    with httpx.Client(transport=httpx.MockTransport(lambda request: answer)) as http:
        client = openai.OpenAI(api_key="x", base_url="http://chat.example/v1", http_client=http, max_retries=0)
        with pytest.raises(error) as caught:
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}], stream=stream)
    assert (caught.value.code, caught.value.body["message"]) == (code.name, code.sentence)


def test_the_openai_client_reads_an_error_in_a_stream():
    answer = httpx.Response(
        200, content=stream_refusal("openai", Code.BACKEND_BROKEN, "r"), headers={"content-type": "text/event-stream"}
    )
    with httpx.Client(transport=httpx.MockTransport(lambda request: answer)) as http:
        client = openai.OpenAI(api_key="x", base_url="http://chat.example/v1", http_client=http, max_retries=0)
        with pytest.raises(openai.APIError, match="The service failed"):
            list(client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}], stream=True))
