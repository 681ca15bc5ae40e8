"""What leaves through the egress listener, and what comes back, in raw bytes, before a provider over TLS."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator

import pytest
import yaml

from tests.support.egress import ACME_KEY, GLOBEX_KEY, Outbound, outbound
from tests.support.language_model import WORDS, Call, LanguageModel, Told, language_model
from tests.support.raw import Message, get, post
from tests.support.sidecar import until

CHAT = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}).encode()
PATHS = ["/v1/chat/completions", "/v1/responses", "/v1/models", "/v1/files/*", "/v1/realtime"]


@pytest.fixture(scope="module")
def _out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outbound]:
    folder = tmp_path_factory.mktemp("egress")
    allow = {"openai": PATHS, "anthropic": ["/v1/messages"]}
    with language_model(folder, ACME_KEY, GLOBEX_KEY) as model, outbound(folder, model, allow=allow) as running:
        yield running


@pytest.fixture
def out(_out: Outbound) -> Iterator[Outbound]:
    """The running pair, with nothing remembered of earlier tests."""
    _out.model.calls.clear()
    yield _out
    _out.model.instead = lambda _: None


@pytest.fixture(scope="module")
def handle(_out: Outbound) -> str:
    return _out.handle("acme")[0]


def ask(out: Outbound, raw: bytes) -> Message:
    with out.connect() as client:
        return client.send(raw).response()


def chat(authorization: str, *lines: str, path: str = "/openai/v1/chat/completions", body: bytes = CHAT) -> bytes:
    return post(path, body, f"Authorization: {authorization}", *lines, host="127.0.0.1:8181")


def test_the_key_stands_where_the_handle_stood_and_nowhere_else(out: Outbound, handle: str):
    reply = ask(out, chat(f"Bearer {handle}"))
    assert reply.status == 200
    assert json.loads(reply.body)["choices"][0]["message"]["content"] == "".join(WORDS)
    [call] = out.model.calls
    assert call.headers["authorization"] == f"Bearer {ACME_KEY}"
    assert call.headers["host"] == out.model.host
    assert call.path == "/v1/chat/completions"
    assert call.body == CHAT
    assert "phk_" not in json.dumps(call.headers)
    assert ACME_KEY.encode() not in b"".join([reply.body, *(value for _, value in reply.fields)])


@pytest.mark.parametrize(
    "authorization",
    [
        pytest.param("Bearer {}", id="bearer"),
        pytest.param("bearer {}", id="scheme-in-lower-case"),
        pytest.param("{}", id="alone"),
        pytest.param("Basic password", id="basic-password"),
        pytest.param("Basic user", id="basic-user"),
    ],
)
def test_a_handle_is_found_however_a_client_writes_keys(out: Outbound, handle: str, authorization: str):
    halves = {"password": f"me@example.com/token:{handle}", "user": f"{handle}:"}
    value = authorization.format(handle)
    for half, text in halves.items():
        value = value.replace(half, base64.b64encode(text.encode()).decode())
    assert ask(out, chat(value)).status == 200
    assert out.model.calls[0].headers["authorization"] == f"Bearer {ACME_KEY}"


def test_a_provider_hears_nothing_of_the_browser(out: Outbound, handle: str):
    passed_on = (
        "Cookie: __Host-session=abc", "Origin: https://app.example", "Referer: https://app.example/chat",
        "Sec-Fetch-Site: same-origin", 'Sec-CH-UA: "Chromium"', "X-Forwarded-For: 203.0.113.9", "Via: 1.1 front",
        "Forwarded: for=203.0.113.9", "X-Real-IP: 203.0.113.9", "X-Request-ID: req-1", "X-Session-ID: secret-session",
        "X-Org-ID: acme", "X-CSRF-Token: t", "Accept-Language: de", "x-api-key: sk-ant-real-key-of-another",
        "api-key: 0123456789abcdef0123456789abcdef", "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )  # fmt: skip
    kept = (
        "User-Agent: OpenAI/Python 1.0",
        "OpenAI-Beta: assistants=v2",
        "X-Stainless-Lang: python",
        "Idempotency-Key: 1",
    )
    assert ask(out, chat(f"Bearer {handle}", *passed_on, *kept)).status == 200
    names = set(out.model.calls[0].headers)
    assert names == {
        "host", "authorization", "content-type", "content-length", "accept-encoding", "user-agent", "openai-beta",
        "x-stainless-lang", "idempotency-key",
    }  # fmt: skip
    assert out.model.calls[0].headers["accept-encoding"] == "identity"


REFUSED = {
    "no handle": (post("/openai/v1/chat/completions", CHAT), "missing"),
    "a real key": (chat(f"Bearer {ACME_KEY}"), "not a handle"),
    "a made-up handle": (chat(f"Bearer phk_{'A' * 43}"), "unknown"),
    "a made-up signed handle": (chat(f"Bearer phk_1.{'A' * 120}"), "unknown"),
    "half a handle": (chat("Bearer phk_"), "unknown"),
    "two values": (
        post("/openai/v1/chat/completions", CHAT, f"x-api-key: phk_{'A' * 43}", f"x-api-key: phk_{'B' * 43}"),
        "not a handle",
    ),
    "Basic that is no base64": (chat("Basic phk_****"), "not a handle"),
    "another scheme": (chat(f"Digest phk_{'A' * 43}"), "not a handle"),
    "a huge value": (chat(f"Bearer phk_{'A' * 4000}"), "not a handle"),
    "a key in a subprotocol": (
        get(
            "/openai/v1/realtime",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            f"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.{ACME_KEY}",
        ),
        "subprotocol",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_handle_is_refused_as_the_provider_would(out: Outbound, name: str):
    raw, reason = REFUSED[name]
    reply = ask(out, raw)
    assert (reply.status, out.model.calls) == (401, [])
    assert json.loads(reply.body)["error"]["type"] == "authentication_error"
    line = out.running.logged(request_id=(reply.get(b"x-request-id") or b"").decode(), event="HANDLE_REFUSED")
    assert line["detail"].items() >= {"reason": reason, "provider": "openai", "code": "AUTH_FAILED"}.items()
    assert ACME_KEY not in (out.running.policy.parent / "events.log").read_text()


def test_a_handle_of_another_provider_is_refused(out: Outbound, handle: str):
    reply = ask(out, post("/anthropic/v1/messages", b"{}", f"x-api-key: {handle}"))
    assert reply.status == 401
    assert json.loads(reply.body)["type"] == "error"  # as Anthropic's client reads it
    assert out.running.logged(event="HANDLE_REFUSED", route="egress:anthropic")["detail"]["reason"] == "provider"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/openai/v1/models", 200, id="allowed"),
        pytest.param("/openai/v1/models?limit=5", 200, id="with-a-query"),
        pytest.param("/openai/v1/files/file-1/content", 404, id="below-an-allowed-one"),  # the provider has no such file
        pytest.param("/openai/v1/organization/api_keys", 403, id="not-allowed"),
        pytest.param("/openai/v1/models/gpt-4o", 403, id="below-an-exact-one"),
        pytest.param("/openai", 403, id="no-path"),
        pytest.param("/OpenAI/v1/models", 403, id="letter-case-of-the-provider"),
        pytest.param("/openai/V1/Models", 403, id="letter-case-of-the-path"),
        pytest.param("/openai/v1/models/", 403, id="slash-at-the-end"),
        pytest.param("//openai/v1/models", 403, id="two-slashes"),
        pytest.param("/openai/v1/files//x", 403, id="an-empty-segment"),
        pytest.param("/openai/v1/files/../organization", 400, id="dot-segments"),
        pytest.param("/openai/v1/files/%2e%2e/organization", 400, id="escaped-dot-segments"),
        pytest.param("/openai/v1/files/..%2f..%2forganization", 400, id="an-escaped-slash"),
        pytest.param("/openai/v1/files/x%2fy", 403, id="a-slash-in-a-name"),
        pytest.param("/openai/v1/files/%252e%252e/organization", 403, id="escaped-twice"),
        pytest.param("/openai/v1/files/x;v=1", 403, id="a-parameter"),
        pytest.param("/openai/v1/files/a%20b", 404, id="an-escaped-blank"),
        pytest.param("/openai/%76%31/models", 400, id="escaped-letters"),
        pytest.param("/stripe/v1/balance", 404, id="an-unknown-provider"),
        pytest.param("/", 404, id="the-root"),
        pytest.param("/api/session", 404, id="a-path-of-the-public-listener"),
    ],
)  # fmt: skip
def test_allowed_paths_are_allowed_as_they_are_written(out: Outbound, handle: str, path: str, status: int):
    reply = ask(out, get(path, f"Authorization: Bearer {handle}"))
    assert reply.status == status
    reached = status == 200 or path.startswith(("/openai/v1/files/file-1", "/openai/v1/files/a%20b"))
    assert [call.path for call in out.model.calls] == ([path.removeprefix("/openai")] if reached else [])


def test_a_redirect_is_the_backends_matter_and_the_key_follows_none(out: Outbound, handle: str):
    location = f"https://localhost:{out.model.port}/elsewhere"
    out.model.instead = lambda _: (307, {"Location": location, "Set-Cookie": "tie=1", "Alt-Svc": 'h3=":443"'}, b"")
    reply = ask(out, chat(f"Bearer {handle}"))
    assert (reply.status, reply.get(b"location")) == (307, location.encode())
    assert {b"set-cookie", b"alt-svc"}.isdisjoint(reply.names())
    assert len(out.model.calls) == 1


def quoting(call: Call) -> Told:
    said = {"error": {"message": f"Incorrect API key provided: {call.key}", "header": call.headers["authorization"]}}
    return 401, {"Content-Type": "application/json", "X-Echo": call.key}, json.dumps(said).encode()


def streaming_the_key(call: Call) -> Told:
    middle = len(call.key) // 2
    text = f'data: {{"echo": "{call.key}"}}\n\n'.encode()
    return 200, {"Content-Type": "text/event-stream"}, [text[: middle + 10], text[middle + 10 :]]


@pytest.mark.parametrize(
    ("instead", "status"),
    [pytest.param(quoting, 401, id="in-an-error"), pytest.param(streaming_the_key, 200, id="in-a-stream")],
)
def test_a_provider_that_quotes_the_key_is_not_heard(
    out: Outbound, handle: str, instead: Callable[[Call], Told], status: int
):
    out.model.instead = instead
    reply = ask(out, chat(f"Bearer {handle}"))
    assert reply.status == status
    assert ACME_KEY.encode() not in b"".join([reply.body, *(value for _, value in reply.fields)])
    assert b"[redacted]" in reply.body
    assert out.running.logged(event="SECRET_REDACTED", organization="acme")["route"] == "egress:openai"


def test_a_large_body_streams_through(out: Outbound, handle: str):
    out.model.instead = lambda call: (200, {"Content-Type": "text/plain"}, str(len(call.body)).encode())
    body = bytes(8 * 1024 * 1024)
    head = get(
        "/openai/v1/files/upload", f"Authorization: Bearer {handle}", f"Content-Length: {len(body)}", method="POST"
    )
    with out.connect() as client:
        assert client.send(head, body).response().body == str(len(body)).encode()


def test_a_stream_comes_event_by_event(out: Outbound, handle: str):
    asked = json.dumps({"stream": True, "stream_options": {"include_usage": True}}).encode()
    reply = ask(out, chat(f"Bearer {handle}", body=asked))
    assert reply.get(b"content-type") == b"text/event-stream; charset=utf-8"
    assert reply.body.endswith(b"data: [DONE]\n\n")
    assert reply.body.count(b"data: ") == len(WORDS) + 2


def test_each_organization_has_its_own_key_and_its_own_count(out: Outbound, handle: str):
    other = out.handle("globex")[0]
    before = {name: out.counted(name) for name in ("acme", "globex")}
    told = {key: out.model.tokens(key) for key in (ACME_KEY, GLOBEX_KEY)}
    plain, streamed = CHAT, json.dumps({"stream": True, "stream_options": {"include_usage": True}}).encode()
    asked = [
        (handle, "/openai/v1/chat/completions", plain),
        (other, "/openai/v1/chat/completions", streamed),
        (other, "/openai/v1/responses", b'{"input": "Hi"}'),
        (handle, "/openai/v1/responses", b'{"input": "Hi", "stream": true}'),
        (other, "/openai/v1/chat/completions", plain),
    ]
    for token, path, body in asked:
        assert ask(out, chat(f"Bearer {token}", path=path, body=body)).status == 200
    assert [call.key for call in out.model.calls] == [ACME_KEY, GLOBEX_KEY, GLOBEX_KEY, ACME_KEY, GLOBEX_KEY]
    for name, key in (("acme", ACME_KEY), ("globex", GLOBEX_KEY)):
        reported = tuple(now - then for now, then in zip(out.model.tokens(key), told[key], strict=True))
        counted = tuple(now - then for now, then in zip(out.counted(name), before[name], strict=True))
        assert counted == reported
        assert all(reported)


def test_a_client_that_leaves_is_counted_for_what_was_reported(out: Outbound, handle: str):
    start = {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 25, "output_tokens": 1}}}
    first = b"data: " + json.dumps(start).encode() + b"\n\n"
    endless = [first, *[b": still thinking\n\n" * 1000] * 2000]
    out.model.instead = lambda _: (200, {"Content-Type": "text/event-stream"}, endless)
    before = out.counted("acme")
    with out.connect() as client:
        client.send(chat(f"Bearer {handle}")).until(b"message_start")
    until(lambda: out.counted("acme") == (before[0] + 25, before[1] + 1), "the count")


def test_an_organization_without_a_key_is_told_so(out: Outbound):
    reply = ask(out, chat(f"Bearer {out.handle('initech')[0]}"))
    assert (reply.status, out.model.calls) == (503, [])
    assert json.loads(reply.body)["error"]["code"] == "CREDENTIAL_UNAVAILABLE"


def test_a_key_goes_only_to_the_hosts_that_are_sealed_with_it(out: Outbound):
    out.add_key("hooli", "sk-hooli-0123456789abcdefghijklmnop", "api.openai.com")
    reply = ask(out, chat(f"Bearer {out.handle('hooli')[0]}"))
    assert (reply.status, out.model.calls) == (503, [])


def test_a_revoked_handle_is_refused_at_once(out: Outbound):
    token, book = out.handle("acme")
    assert ask(out, chat(f"Bearer {token}")).status == 200
    out.revoke("acme", book)
    assert ask(out, chat(f"Bearer {token}")).status == 401
    assert out.running.logged(event="HANDLE_REFUSED", detail={
        "reason": "revoked", "provider": "openai", "code": "AUTH_FAILED"
    })  # fmt: skip


def test_a_provider_that_another_authority_signed_is_not_spoken_to(
    out: Outbound, handle: str, tmp_path_factory: pytest.TempPathFactory
):
    folder = tmp_path_factory.mktemp("impostor")
    with language_model(folder, ACME_KEY) as impostor:
        model = LanguageModel(impostor.port, out.model.ca, {ACME_KEY})
        with outbound(tmp_path_factory.mktemp("strict"), model) as strict:
            token = strict.handle("acme")[0]
            reply = ask(strict, chat(f"Bearer {token}"))
        assert (reply.status, impostor.calls) == (502, [])


def test_limits_count_organizations_and_sessions(out: Outbound, tmp_path_factory: pytest.TempPathFactory):
    limits = [
        {"name": "out-org", "per": "organization", "limit": 3, "window": "1m"},
        {"name": "out-session", "per": "session", "limit": 2, "window": "1m"},
    ]
    with outbound(tmp_path_factory.mktemp("limits"), out.model, egress={"rate_limits": limits},
                  sessions={"mode": "issue"}) as limited:  # fmt: skip
        one, two, other = (limited.handle("acme")[0], limited.handle("acme")[0], limited.handle("globex")[0])
        statuses = [ask(limited, chat(f"Bearer {token}")).status for token in (one, one, one, two, two, other)]
        reply = ask(limited, chat(f"Bearer {one}"))
    assert statuses == [200, 200, 429, 200, 429, 200]
    assert json.loads(reply.body)["error"]["type"] == "rate_limit_error"
    assert int(reply.get(b"retry-after") or 0) > 0


def test_a_reload_changes_what_may_be_called(out: Outbound, tmp_path_factory: pytest.TempPathFactory):
    with outbound(tmp_path_factory.mktemp("reload"), out.model, allow={"openai": ["/v1/models"]}) as changing:
        token = changing.handle("acme")[0]
        models, chats = get("/openai/v1/models", f"Authorization: Bearer {token}"), chat(f"Bearer {token}")
        assert (ask(changing, models).status, ask(changing, chats).status) == (200, 403)
        document = yaml.safe_load(changing.running.policy.read_text())
        document["egress"]["providers"]["openai"]["allow"] = ["/v1/chat/completions"]
        del document["listen"]["egress"]  # needs a restart: until then the listener goes on, under the new rules
        changing.running.policy.write_text(yaml.safe_dump(document))
        assert changing.running.app is not None
        changing.wait(changing.running.app.reload())
        assert (ask(changing, models).status, ask(changing, chats).status) == (403, 200)


@pytest.mark.parametrize("status", [200, 429, 503])
def test_the_providers_own_request_id_passes_under_its_own_name(out: Outbound, handle: str, status: int):
    told = {
        "Content-Type": "application/json",
        "x-request-id": "req_7",
        "retry-after-ms": "900",
        "x-ratelimit-limit-tokens": "9",
    }
    out.model.instead = lambda _: (status, told, b"{}")
    reply = ask(out, chat(f"Bearer {handle}"))
    assert reply.status == status
    assert reply.get(b"x-provider-request-id") == b"req_7"
    assert reply.get(b"retry-after-ms") == b"900"
    assert reply.get(b"x-ratelimit-limit-tokens") == b"9"
    assert reply.get(b"x-request-id") not in (None, b"req_7")
