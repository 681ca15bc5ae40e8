"""A receiver: what is posted in which form, how it is signed, over real connections."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from sidecar.errors import ConfigError
from sidecar.policy.schema.content import Webhook as Schema
from sidecar.secret import Secret
from sidecar.telemetry.log_record import dump, event_fields
from sidecar.telemetry.webhook_target import NotTaken, Target, post, target_of
from sidecar.vocabulary import Event, Outcome
from tests.support.facts import event
from tests.support.provider import certificates

KEY = Secret("k" * 32)
STAMP = "2026-01-31T12:34:56.789Z"


def target(url: str = "https://collector.example/in", secret: Secret | None = KEY, **keys: Any) -> Target:
    made = target_of(Schema.model_validate({"url": url, **keys}), None, secret)
    assert made is not None
    return made


def line(kind: Event, outcome: Outcome = Outcome.REFUSED, **changes: Any) -> bytes:
    return dump(event_fields(event(kind, outcome, **changes), STAMP))


def test_json_is_a_list_of_the_logs_lines() -> None:
    lines = [line(Event.IP_BANNED), line(Event.ADMIN_ACTION)]
    assert json.loads(target().body(lines)) == [json.loads(each) for each in lines]


def test_slack_gets_a_text_that_no_client_can_turn_into_a_link_or_a_mention() -> None:
    hostile = "/<!channel>&<https://evil.example|click>"
    text = json.loads(target(format="slack").body([line(Event.IP_BANNED, path=hostile), line(Event.CHAT_ERROR)]))
    assert text == {
        "text": ":warning: *IP_BANNED* refused POST /&lt;!channel&gt;&amp;&lt;https://evil.example|click&gt; 203.0.113.9 "
        "acme req-1 origin=https://evil.example\n"
        ":rotating_light: *CHAT_ERROR* refused POST /api/chat 203.0.113.9 acme req-1 origin=https://evil.example"
    }


def test_pagerduty_gets_one_incident_for_each_event_organization_and_client() -> None:
    page = target(format="pagerduty")
    assert page.at_once == 1
    made = json.loads(page.body([line(Event.IP_BANNED)]))
    assert made["payload"].pop("source")
    assert made["payload"].pop("custom_details") == json.loads(line(Event.IP_BANNED))
    assert made == {
        "routing_key": KEY.reveal(),
        "event_action": "trigger",
        "dedup_key": "IP_BANNED/acme/203.0.113.9",
        "payload": {
            "summary": "IP_BANNED refused acme 203.0.113.9",
            "severity": "warning",
            "component": "chat",
            "class": "IP_BANNED",
            "timestamp": STAMP,
        },
    }


@pytest.mark.parametrize(
    ("secret", "key"),
    [(KEY, b"k" * 32), (Secret("whsec_" + base64.b64encode(b"\x00\xff" * 16).decode()), b"\x00\xff" * 16)],
    ids=["a text", "as Standard Webhooks writes them"],
)
def test_a_receiver_can_check_who_sent_it_and_when(secret: Secret, key: bytes) -> None:
    headers = target(secret=secret).headers(b"[1]", "msg_1", 1_800_000_000.9)
    mac = hmac.new(key, b"msg_1.1800000000.[1]", hashlib.sha256).digest()
    assert headers == {
        "Content-Type": "application/json",
        "User-Agent": "chat-sidecar",
        "webhook-id": "msg_1",
        "webhook-timestamp": "1800000000",
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def test_the_documented_check_of_a_signature_works() -> None:
    page = (Path(__file__).parents[2] / "docs/observability.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    known: dict[str, Any] = {}
    exec(code, known)
    headers = target().headers(b"[1]", "msg_1", time.time())
    assert known["is_genuine"](headers, b"[1]", b"k" * 32)
    assert not known["is_genuine"](headers, b"[2]", b"k" * 32)
    assert not known["is_genuine"](headers, b"[1]", b"x" * 32)
    assert not known["is_genuine"](target().headers(b"[1]", "msg_1", time.time() - 600), b"[1]", b"k" * 32)


def test_without_a_secret_nothing_is_signed() -> None:
    assert "webhook-signature" not in target(secret=None).headers(b"[]", "msg_1", 0.0)


CHOSEN = {Event.ADMIN_ACTION: True, Event.CORS_BLOCKED: True, Event.BACKEND_ERROR: True, Event.POLICY_RELOADED: True,
          Event.SESSION_CREATED: False, Event.MESSAGE_SANITIZED: False}  # fmt: skip


@pytest.mark.parametrize(("kind", "sent"), CHOSEN.items(), ids=lambda each: getattr(each, "name", str(each)))
def test_what_is_sent_by_default(kind: Event, sent: bool) -> None:
    assert target().chooses(kind) is sent


def test_what_is_sent_when_it_is_chosen() -> None:
    chosen = target(events=["IP_BANNED", "SESSION_CREATED"])
    assert [kind for kind in Event if chosen.chooses(kind)] == [Event.SESSION_CREATED, Event.IP_BANNED]


@pytest.mark.parametrize(
    ("keys", "url", "secret", "said"),
    [
        ({}, None, None, "events.webhook has no url, and WEBHOOK_URL is not set"),
        ({}, "http://hooks.example/x", None, "WEBHOOK_URL must be an https URL"),
        ({}, "gopher://hooks.example/x", None, "WEBHOOK_URL must be an https URL"),
        ({"format": "pagerduty", "url": "https://a.example"}, None, None, "needs the integration key"),
        ({"url": "https://a.example"}, None, "whsec_*", "WEBHOOK_SECRET begins with whsec_, and no base64 follows"),
        ({"url": "https://a.example", "ca": "/nowhere.pem"}, None, None, "cannot use the authorities in /nowhere.pem"),
    ],
    ids=["no URL", "http", "another scheme", "no integration key", "no base64", "no authorities"],
)
def test_what_cannot_work_is_said_at_the_start(keys, url, secret, said) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        target_of(Schema.model_validate(keys), url and Secret(url), secret and Secret(secret))


def test_a_url_that_is_a_secret_comes_from_the_environment() -> None:
    made = target_of(Schema(), Secret("https://hooks.example/services/T0/B0/xyz"), None)
    assert made is not None
    assert made.url.reveal() == "https://hooks.example/services/T0/B0/xyz"
    assert "xyz" not in repr(made)
    assert target_of(None, Secret("https://hooks.example/x"), None) is None


@contextmanager
def receiver(
    status: int, seen: list[tuple[str, dict[str, str], bytes]], tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, dict(self.headers), body))
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Retry-After", "7")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "final"), [(200, None), (204, None), (302, False), (400, True), (413, True), (429, False), (500, False)]
)
def test_a_real_server(status: int, final: bool | None) -> None:
    seen: list[tuple[str, dict[str, str], bytes]] = []
    with receiver(status, seen) as port:
        sent = target(f"http://127.0.0.1:{port}/in")
        if final is None:
            post(sent, b"[1]", sent.headers(b"[1]", "msg_1", 0.0))
        else:
            with pytest.raises(NotTaken, match=f"status {status}") as refused:
                post(sent, b"[1]", sent.headers(b"[1]", "msg_1", 0.0))
            assert (refused.value.final, refused.value.after) == (final, 7.0)
    ((path, headers, body),) = seen
    assert (path, headers["webhook-id"], body) == ("/in", "msg_1", b"[1]")


def test_a_real_server_with_authorities_of_its_own(tmp_path: Path) -> None:
    ca, certificate, key = certificates(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    seen: list[tuple[str, dict[str, str], bytes]] = []
    with receiver(200, seen, tls) as port:
        post(target(f"https://localhost:{port}/in", ca=str(ca)), b"[1]", {})
        with pytest.raises(ssl.SSLCertVerificationError):
            post(target(f"https://localhost:{port}/in"), b"[2]", {})
    assert [body for _, _, body in seen] == [b"[1]"]


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(OSError, match="refused"):
        post(target("http://127.0.0.1:1/in"), b"[]", {})
