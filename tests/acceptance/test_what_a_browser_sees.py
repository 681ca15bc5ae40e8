"""What a browser is promised: statuses and codes, headers, origins, cookies, messages; against a real process."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import re
import time

import pytest

from tests.support.raw import Message, get, post
from tests.support.refused import LEAKS
from tests.support.sidecar import ORIGIN, TRUSTED
from tests.support.world import World

OURS = f"Origin: {ORIGIN}"
EVIL = "Origin: https://evil.example"
PREFLIGHT = "Access-Control-Request-Method: POST"
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
UPGRADE = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
ALWAYS = [
    b"x-content-type-options",
    b"x-frame-options",
    b"x-xss-protection",
    b"content-security-policy",
    b"referrer-policy",
    b"permissions-policy",
    b"cross-origin-opener-policy",
    b"cross-origin-embedder-policy",
    b"cross-origin-resource-policy",
]
LIMITED = [
    b"x-ratelimit-limit",
    b"x-ratelimit-remaining",
    b"x-ratelimit-reset",
    b"x-ratelimit-org-limit",
    b"x-ratelimit-org-remaining",
    b"x-ratelimit-org-reset",
    b"ratelimit",
    b"ratelimit-policy",
]
_addresses = (f"127.0.{high}.{low}" for high in range(3, 200) for low in range(1, 250))


def fresh() -> str:
    """Return an address that has asked for nothing yet."""
    return next(_addresses)


REFUSALS = {
    "parser: bare line feed": (b"GET / HTTP/1.1\nHost: chat.example\n\n", 400, "REQUEST_MALFORMED"),
    "parser: two hosts": (get("/", "Host: chat.example"), 400, "REQUEST_MALFORMED"),
    "parser: two framings": (
        get("/", "Content-Length: 1", "Transfer-Encoding: chunked", method="POST"),
        400,
        "REQUEST_MALFORMED",
    ),
    "target too long": (get("/" + "a" * 9000), 414, "TARGET_TOO_LONG"),
    "not a string": (post("/text", b'{"message": 5}'), 400, "MESSAGE_INVALID"),
    "not JSON": (post("/text", b'{"message":'), 400, "MESSAGE_INVALID"),
    "duplicate keys": (post("/text", b'{"message": "a", "message": "b"}'), 400, "MESSAGE_INVALID"),
    "too deep": (post("/text", b'{"message": ' + b"[" * 500 + b"]" * 500 + b"}"), 400, "MESSAGE_INVALID"),
    "too long": (post("/text", b'{"message": "%b"}' % (b"a" * 101)), 400, "MESSAGE_TOO_LONG"),
    "no session": (post("/api/chat", b'{"message": "a"}'), 400, "INVALID_SESSION_ID"),
    "bad session": (post("/api/chat", b'{"message": "a", "sessionId": "test"}'), 400, "INVALID_SESSION_ID"),
    "foreign origin": (get("/", EVIL), 403, "CORS_BLOCKED"),
    "null origin": (get("/", "Origin: null"), 403, "CORS_BLOCKED"),
    "foreign preflight": (get("/", EVIL, PREFLIGHT, method="OPTIONS"), 403, "CORS_BLOCKED"),
    "foreign socket": (get("/", EVIL, *UPGRADE, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 403, "CORS_BLOCKED"),
    "cross-site change": (post("/", b"{}", "Sec-Fetch-Site: cross-site"), 403, "CSRF_BLOCKED"),
    "content": (post("/text", b'{"message": "a forbidden word"}'), 403, "CONTENT_BLOCKED"),
    "own path, other method": (get("/api/session"), 405, "METHOD_NOT_ALLOWED"),
    "state of limits, other method": (post("/api/rate-limit/status", b"{}"), 405, "METHOD_NOT_ALLOWED"),
    "trace": (get("/", method="TRACE"), 405, "METHOD_NOT_ALLOWED"),
    "body too large": (get("/", "Content-Length: 2000000", method="POST"), 413, "BODY_TOO_LARGE"),
    "media type": (
        get("/text", "Content-Type: text/plain", "Content-Length: 2", method="POST") + b"hi",
        415,
        "UNSUPPORTED_MEDIA_TYPE",
    ),
    "coding": (post("/text", b'{"message": "a"}', "Content-Encoding: br"), 415, "UNSUPPORTED_MEDIA_TYPE"),
    "host": (get("/", host="other.example"), 421, "MISDIRECTED_REQUEST"),
    "headers": (get("/", "X: " + "a" * 40_000), 431, "HEADERS_TOO_LARGE"),
    "backend's fault": (get("/500"), 500, "BACKEND_BROKEN"),
    "backend's garbage": (get("/garbage"), 502, "BACKEND_BROKEN"),
    "no key": (get("/keyed"), 503, "CREDENTIAL_UNAVAILABLE"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_has_its_status_its_code_and_every_header(world: World, case: str) -> None:
    raw, status, code = REFUSALS[case]
    source = fresh()
    message = world.ask(raw, source)
    assert message.status == status, message
    body = json.loads(message.body)
    assert set(body) == {"error", "code", "request_id"}
    assert body["code"] == code
    assert body["request_id"].encode() == message.get(b"x-request-id")
    held(message, source)


def held(message: Message, source: str) -> None:
    """Hold what every answer owes."""
    missing = [name for name in (*ALWAYS, *LIMITED, b"x-request-id") if message.get(name) is None]
    assert missing == []
    assert message.get(b"x-content-type-options") == b"nosniff"
    assert message.get(b"x-xss-protection") == b"0"
    assert not {b"server", b"x-powered-by"} & message.names()
    whole = message.body + b"\n".join(b"%b: %b" % each for each in message.fields)
    if message.status >= 500 or message.status == 400:
        assert not LEAKS.search(whole), whole
    for name in (b"x-ratelimit-reset", b"x-ratelimit-org-reset"):
        assert MOMENT.fullmatch((message.get(name) or b"").decode()), source


def test_a_denied_address_is_refused_first(world: World) -> None:
    message = world.ask(get("/", EVIL), "127.0.0.66")
    assert (message.status, json.loads(message.body)["code"]) == (403, "IP_BLOCKED")


def test_a_slow_backend_is_a_timeout(world: World) -> None:
    def slow(_: Message) -> bytes:
        time.sleep(1.6)
        return b""

    before, world.app.reply = world.app.reply, slow
    try:
        message = world.ask(get("/slow", OURS), fresh())
    finally:
        world.app.reply = before
    assert (message.status, json.loads(message.body)["code"]) == (504, "BACKEND_TIMEOUT")
    assert message.get(b"access-control-allow-origin") == ORIGIN.encode()


@pytest.mark.parametrize(
    "raw",
    [
        get("/500", OURS),
        get("/404", OURS),
        get("/", OURS, host="other.example"),
        get("/api/session", OURS),
        post("/text", b"x", OURS),
    ],
    ids=["500", "404", "421", "405", "400"],
)
def test_a_page_can_read_why_it_was_refused(world: World, raw: bytes) -> None:
    message = world.ask(raw, fresh())
    assert message.get(b"access-control-allow-origin") == ORIGIN.encode()
    assert message.get(b"access-control-allow-credentials") == b"true"
    exposed = (message.get(b"access-control-expose-headers") or b"").lower()
    assert all(name in exposed for name in (b"x-request-id", b"retry-after", *LIMITED))
    assert b"origin" in (message.get(b"vary") or b"").lower()


def test_problem_json_is_rfc_9457(world: World) -> None:
    message = world.ask(get("/", EVIL, "Accept: application/problem+json"), fresh())
    assert message.get(b"content-type") == b"application/problem+json"
    body = json.loads(message.body)
    assert (body["type"], body["title"], body["status"], body["code"]) == (
        "about:blank",
        "Forbidden",
        403,
        "CORS_BLOCKED",
    )


def test_an_openai_client_gets_its_own_shape(world: World) -> None:
    body = b'{"model": "m", "messages": [{"role": "user", "content": "a forbidden word"}]}'
    message = world.ask(post("/v1/chat/completions", body), fresh())
    assert message.status == 403
    told = json.loads(message.body)["error"]
    assert {"message", "type", "param", "code"} <= set(told)
    assert told["code"] == "CONTENT_BLOCKED"


def test_a_preflight_is_answered_here(world: World) -> None:
    before = len(world.app.seen)
    message = world.ask(
        get("/text", OURS, PREFLIGHT, "Access-Control-Request-Headers: content-type", method="OPTIONS"), fresh()
    )
    assert message.status == 204
    assert message.get(b"access-control-allow-origin") == ORIGIN.encode()
    assert b"POST" in (message.get(b"access-control-allow-methods") or b"")
    assert b"content-type" in (message.get(b"access-control-allow-headers") or b"").lower()
    assert message.get(b"access-control-max-age") == b"600"
    assert len(world.app.seen) == before


@pytest.mark.parametrize(
    ("origin", "source", "lines", "status"),
    [
        ("http://chat.example", "", (), 200),
        ("https://chat.example", "", (), 200),
        ("http://chat.example", TRUSTED, ("X-Forwarded-Proto: https", "X-Forwarded-For: 198.51.100.7"), 403),
        ("https://chat.example", TRUSTED, ("X-Forwarded-Proto: https", "X-Forwarded-For: 198.51.100.7"), 200),
        ("http://chat.example:8081", "", (), 403),
    ],
    ids=["same", "stronger scheme", "weaker scheme", "same over TLS", "another port"],
)
def test_same_origin_passes(world: World, origin: str, source: str, lines: tuple[str, ...], status: int) -> None:
    assert world.ask(get("/x", f"Origin: {origin}", *lines), source or fresh()).status == status


def test_an_answer_is_cleaned_and_hardened(world: World) -> None:
    source = fresh()
    message = world.ask(get("/x", OURS), source)
    held(message, source)
    assert re.fullmatch(rb"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", message.get(b"date") or b"")
    assert message.get(b"access-control-allow-origin") == ORIGIN.encode()
    assert message.get(b"set-cookie") == b"a=b; HttpOnly; SameSite=Lax"
    assert message.get(b"strict-transport-security") is None


def test_over_https_cookies_are_secure_and_hsts_is_set(world: World) -> None:
    message = world.ask(get("/x", "X-Forwarded-Proto: https", "X-Forwarded-For: 198.51.100.8"), TRUSTED)
    assert b"Secure" in (message.get(b"set-cookie") or b"")
    assert b"max-age=" in (message.get(b"strict-transport-security") or b"")


def test_a_request_id_is_taken_from_a_trusted_proxy_alone(world: World) -> None:
    lines = ("X-Request-ID: abc-123", "X-Forwarded-For: 198.51.100.9", "X-Org-ID: acme")
    trusted, untrusted = world.ask(get("/x", *lines), TRUSTED), world.ask(get("/x", *lines), fresh())
    seen = [json.loads(message.body)["fields"] for message in (trusted, untrusted)]
    assert trusted.get(b"x-request-id") == b"abc-123"
    assert seen[0]["x-request-id"] == "abc-123"
    assert seen[0]["x-forwarded-for"] == "198.51.100.9"
    assert untrusted.get(b"x-request-id") != b"abc-123"
    assert seen[1]["x-request-id"].encode() == untrusted.get(b"x-request-id")
    assert seen[1]["x-org-id"] == "default"
    line = world.run.logged(request_id="abc-123", category="ACCESS")
    assert (line["client_ip"], line["organization"]) == ("198.51.100.9", "acme")


def test_the_61st_request_of_a_minute_is_refused_and_told_when_to_come_back(world: World) -> None:
    source = fresh()
    answers = [world.ask(post("/text", b'{"message": "test"}'), source) for _ in range(61)]
    assert [each.status for each in answers] == [200] * 60 + [429]
    assert [int(each.get(b"x-ratelimit-remaining") or 0) for each in answers] == [*range(59, -1, -1), 0]
    last = answers[-1]
    assert json.loads(last.body)["code"] == "RATE_LIMIT_EXCEEDED"
    assert last.get(b"x-ratelimit-limit") == b"60"
    wait = int(last.get(b"retry-after") or 0)
    assert 55 <= wait <= 62
    policy = [b'"ip-minute";q=60;w=60', b'"ip-hour";q=1000;w=3600', b'"org-hour";q=5000;w=3600']
    assert last.get(b"ratelimit-policy") == b", ".join(policy)
    state = re.match(rb'"ip-minute";r=0;t=(\d+), "ip-hour";r=940;t=\d+', last.get(b"ratelimit") or b"")
    assert state is not None
    assert wait >= int(state[1])
    reset = dt.datetime.fromisoformat((last.get(b"x-ratelimit-reset") or b"").decode())
    assert abs((reset - dt.datetime.now(dt.UTC)).total_seconds() - wait) < 3
    status = json.loads(world.ask(get("/api/rate-limit/status"), source).body)
    assert status["limits"][0]["remaining"] == 0


def test_a_session_begins_chats_and_ends(world: World) -> None:
    source = fresh()
    made = world.ask(post("/api/session", b"", OURS), source)
    assert made.status == 201
    session = json.loads(made.body)["sessionId"]
    cookie = made.get(b"set-cookie") or b""
    assert cookie.startswith(b"__Host-session=")
    assert {b"Path=/", b"Secure", b"HttpOnly", b"SameSite=Lax"} <= set(cookie.split(b"; "))
    text = {"message": "hello"}
    for body, lines in (
        (text, (f"X-Session-ID: {session}",)),
        (text, (f"Cookie: __Host-session={session}",)),
        (text | {"sessionId": session}, ()),
    ):
        assert world.ask(post("/api/chat", json.dumps(body).encode(), *lines), source).status == 200
    elsewhere = world.ask(post("/api/chat", json.dumps(text).encode(), f"X-Session-ID: {session}"), "127.9.0.1")
    assert json.loads(elsewhere.body)["code"] == "INVALID_SESSION_ID"
    assert world.ask(get("/api/session", f"X-Session-ID: {session}", method="DELETE"), source).status == 204
    after = world.ask(post("/api/chat", json.dumps(text).encode(), f"X-Session-ID: {session}"), source)
    assert json.loads(after.body)["code"] == "INVALID_SESSION_ID"


def test_what_a_sessions_limit_refuses_is_counted_by_no_other(world: World) -> None:
    source = fresh()
    session = json.loads(world.ask(post("/api/session", b""), source).body)["sessionId"]
    raw = post("/api/chat", b'{"message": "a"}', f"X-Session-ID: {session}")
    answers = [world.ask(raw, source) for _ in range(14)]
    assert [each.status for each in answers] == [200] * 10 + [429] * 4
    states = (b"".join(each.all(b"ratelimit")) for each in answers)
    left = [int(re.search(rb'"ip-minute";r=(\d+)', state)[1]) for state in states]  # type: ignore[index]
    assert left == [*range(58, 48, -1), 49, 49, 49, 49]


TEXTS = {
    "script": ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>", "alert(1)"),
    "bold": ("a <b>bold</b> word", "a &lt;b>bold&lt;/b> word", "a bold word"),
    "no markup": ("3 < 5 && a[i] > b 😀 日本語 \u0627", None, None),
    "code": ("```\nif a < b: pass\n```", None, None),
    "link": ("[x](javascript:alert)", "[x](unsafe:javascript:alert)", "[x](unsafe:javascript:alert)"),
    "hidden": ("a\u202eb\u200bc\x00d\U000e0041e", "abcde", "abcde"),
}


@pytest.mark.parametrize(("path", "text"), list(itertools.product(["/text", "/strip"], TEXTS)))
def test_text_reaches_the_backend_harmless_and_the_rest_untouched(world: World, path: str, text: str) -> None:
    typed, escaped, stripped = TEXTS[text]
    expected = {"/text": escaped, "/strip": stripped}[path]
    if (path, text) == ("/strip", "script"):
        expected = ""
    before = b'{"n": 12345678901234567890123, "e": 1e5, "message": %b, "z": "<b>"}'
    source = fresh()
    answered = world.ask(post(path, before % json.dumps(typed).encode()), source)
    assert answered.status == (200 if expected != "" else answered.status)
    if answered.status == 200:
        got = json.loads(answered.body)["body"]
        assert json.loads(got)["message"] == (typed if expected is None else expected)
        assert got.startswith('{"n": 12345678901234567890123, "e": 1e5, "message": ')
        assert got.endswith(', "z": "<b>"}')
