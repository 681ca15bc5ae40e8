"""The public host and scheme, as a trusted proxy says them: what guards, the backend and the log make of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backends import Serving
from tests.support.raw import Message, get, post
from tests.support.sidecar import TRUSTED, Running, threaded

INNER = "127.0.0.1:8080"
CHAT = "chat.example.com"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Serving]]:
    with (
        Serving() as backend,
        threaded(
            tmp_path_factory.mktemp("public-host"),
            backend.url,
            requests={"hosts": [CHAT, f"{CHAT}:8443", "acme.example.com", "[2001:db8::1]"], "https_only": False},
            organizations={"from": ["host"], "hosts": {"acme.example.com": "acme"}},
        ) as running,
    ):
        yield running, backend


def asked(running: Running, raw: bytes, source: str = TRUSTED) -> Message:
    with running.connect(source) as client:
        return client.send(raw).response()


PASSES = {
    "f1": ((f"X-Forwarded-Host: {CHAT}",), f"https://{CHAT}", b"chat.example.com"),
    "with its scheme": ((f"X-Forwarded-Host: {CHAT}", "X-Forwarded-Proto: https"), f"https://{CHAT}", CHAT.encode()),
    "with its port": (
        (f"X-Forwarded-Host: {CHAT}", "X-Forwarded-Port: 8443", "X-Forwarded-Proto: https"),
        f"https://{CHAT}:8443",
        b"chat.example.com:8443",
    ),
    "Forwarded": ((f"Forwarded: for=198.51.100.7;host={CHAT};proto=https",), f"https://{CHAT}", CHAT.encode()),
    "Forwarded on two lines": (
        (f"Forwarded: for=198.51.100.7;host={CHAT};proto=https", "Forwarded: for=127.0.0.9;host=inner"),
        f"https://{CHAT}",
        CHAT.encode(),
    ),
    "IPv6": (('Forwarded: host="[2001:db8::1]";proto=https',), "https://[2001:db8::1]", b"[2001:db8::1]"),
}


@pytest.mark.parametrize(("lines", "origin", "heard"), PASSES.values(), ids=PASSES)
def test_a_pages_own_post_passes_and_the_backend_hears_the_public_host(stage, lines, origin, heard):
    running, backend = stage
    reply = asked(running, post("/api/chat", b"{}", f"Origin: {origin}", *lines, host=INNER))
    assert reply.status == 200
    assert backend.seen[-1].get(b"x-forwarded-host") == heard
    assert backend.seen[-1].get(b"host") == heard


REFUSED = {
    "another origin": (TRUSTED, (f"X-Forwarded-Host: {CHAT}",), "https://evil.example", f"http://{CHAT}"),
    "the inner host's page": (TRUSTED, (f"X-Forwarded-Host: {CHAT}",), f"http://{INNER}", f"http://{CHAT}"),
    "a weaker scheme": (
        TRUSTED,
        (f"X-Forwarded-Host: {CHAT}", "X-Forwarded-Proto: https"),
        f"http://{CHAT}",
        f"https://{CHAT}",
    ),
    "another port": (
        TRUSTED,
        (f"X-Forwarded-Host: {CHAT}", "X-Forwarded-Port: 8443", "X-Forwarded-Proto: https"),
        f"https://{CHAT}:9443",
        f"https://{CHAT}:8443",
    ),
}


@pytest.mark.parametrize(("source", "lines", "origin", "own"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_says_both_origins_in_the_log(stage, source, lines, origin, own):
    running, _ = stage
    reply = asked(running, post("/api/chat", b"{}", f"Origin: {origin}", *lines, host=INNER), source)
    assert reply.status == 403
    line = running.logged(event="CORS_BLOCKED", request_id=reply.get(b"x-request-id").decode())
    assert line["detail"].items() >= {"origin": origin, "own_origin": own, "code": "CORS_BLOCKED"}.items()
    assert "forwarding_headers_of_untrusted_peer" not in line["detail"]


def test_an_untrusted_peers_word_is_not_taken_and_the_log_says_so(stage):
    running, _ = stage
    raw = post("/api/chat", b"{}", "Origin: https://evil.example", "X-Forwarded-Host: evil.example", host=CHAT)
    reply = asked(running, raw, "127.0.0.1")
    assert reply.status == 403
    line = running.logged(event="CORS_BLOCKED", request_id=reply.get(b"x-request-id").decode())
    said = {"own_origin": f"http://{CHAT}", "forwarding_headers_of_untrusted_peer": "127.0.0.1"}
    assert line["detail"].items() >= {"origin": "https://evil.example", "code": "CORS_BLOCKED", **said}.items()


@pytest.mark.parametrize(("said", "status"), [(CHAT, 200), ("other.example", 421)])
def test_the_hosts_that_are_served_are_public_ones(stage, said, status):
    assert asked(stage[0], get("/", f"X-Forwarded-Host: {said}", host=INNER)).status == status


def test_organizations_by_host_are_by_public_host(stage):
    running, backend = stage
    assert asked(running, get("/", "X-Forwarded-Host: acme.example.com", host=INNER)).status == 200
    assert backend.seen[-1].get(b"x-org-id") == b"acme"


def test_a_redirect_to_https_goes_to_the_public_host(tmp_path: Path):
    with Serving() as backend, threaded(tmp_path, backend.url, requests={"https_only": True}) as running:
        reply = asked(running, get("/a?b", f"X-Forwarded-Host: {CHAT}", "X-Forwarded-Proto: http", host=INNER))
        assert (reply.status, reply.get(b"location")) == (308, f"https://{CHAT}/a?b".encode())
        reply = asked(running, get("/a?b", f"X-Forwarded-Host: {CHAT}", "X-Forwarded-Proto: https", host=INNER))
        assert reply.status == 200
