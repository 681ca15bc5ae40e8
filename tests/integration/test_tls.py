"""https: served with the policy's certificate, asked for where http comes, renewed while it runs."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sidecar.proxy import tls as server_tls
from tests.support.backends import Backend, answer
from tests.support.provider import certificates
from tests.support.raw import get, post
from tests.support.refused import check_refusal
from tests.support.sidecar import ORIGIN, TRUSTED, Running, sidecar, threaded, until

PAGE = f"Origin: {ORIGIN}"


def trusting(ca: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca))


@dataclass
class Services:
    running: Running
    backend: Backend
    ca: ssl.SSLContext


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("tls")
    ca, certificate, key = certificates(folder)
    tls = {"certificate": str(certificate), "key": str(key)}
    with (
        Backend() as backend,
        sidecar(folder, backend.url, listen={"public": {"tls": tls}}, requests={"https_only": True}) as running,
    ):
        yield Services(running, backend, trusting(ca))


@pytest.fixture(autouse=True)
def _fresh(stage: Services) -> None:
    stage.backend.forget()


def test_a_request_over_tls(stage: Services):
    with stage.running.connect(tls=stage.ca) as client:
        client.send(get("/a", PAGE))
        peer = stage.backend.accept()
        request = peer.request()
        assert request.get(b"x-forwarded-proto") == b"https"
        peer.send(answer(b"ok", "Set-Cookie: sid=1"))
        reply = client.response()
        assert reply.body == b"ok"
        assert (reply.get(b"strict-transport-security") or b"").startswith(b"max-age=")
        assert reply.get(b"set-cookie") == b"sid=1; Secure; HttpOnly; SameSite=Lax"


def test_http_1_1_is_agreed_on_and_old_tls_is_not(stage: Services):
    stage.ca.set_alpn_protocols(["h2", "http/1.1"])
    with stage.running.connect(tls=stage.ca) as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        assert client.sock.selected_alpn_protocol() == "http/1.1"
        assert client.sock.version() in ("TLSv1.2", "TLSv1.3")


def test_a_stream_over_tls(stage: Services):
    with stage.running.connect(tls=stage.ca) as client:
        client.send(get("/events"))
        peer = stage.backend.accept()
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.head()
        for number in range(5):
            peer.send(b"9\r\ndata: %d\n\n\r\n" % number)
            assert client.chunk() == b"data: %d\n\n" % number
        client.close()
        assert peer.ended(5)


def test_a_large_body_over_tls(stage: Services):
    body = bytes(range(256)) * 3000
    with stage.running.connect(tls=stage.ca) as client:
        client.send(post("/upload", body))
        peer = stage.backend.accept()
        assert peer.request().body == body
        peer.send(answer(body, content_type="image/png"))
        assert client.response().body == body


def test_a_malformed_request_over_tls_is_refused_with_all_headers(stage: Services):
    with stage.running.connect(tls=stage.ca) as client:
        client.send(b"GET / HTTP/1.1\r\nX : 1\r\n" + PAGE.encode() + b"\r\n\r\n")
        reply = client.response()
        check_refusal(reply, 400, "REQUEST_MALFORMED")
        assert reply.get(b"strict-transport-security")


def test_plain_http_on_the_tls_port_reaches_no_backend(stage: Services):
    with stage.running.connect() as client:
        client.send(get("/"))
        assert client.ended(5)
        assert b"HTTP" not in client.buffer
    assert stage.backend.untouched(0.02)
    assert stage.running.alive()


# --- https_only behind a proxy that ends TLS --------------------------------------------------------


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Backend]]:
    folder = tmp_path_factory.mktemp("plain")
    with Backend() as backend, threaded(folder, backend.url, requests={"https_only": True}) as running:
        yield running, backend


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_readers_are_sent_to_https(plain: tuple[Running, Backend], method: str):
    running, backend = plain
    with running.connect() as client:
        client.send(get("/a%41?b=%20", method=method, host="chat.example:8080"))
        reply = client.response(method)
        assert reply.status == 308
        assert reply.get(b"location") == b"https://chat.example/a%41?b=%20"
        assert reply.get(b"strict-transport-security") is None  # over http a browser must ignore it
    assert backend.untouched(0.02)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_what_was_sent_in_the_clear_is_refused(plain: tuple[Running, Backend], method: str):
    running, backend = plain
    with running.connect() as client:
        client.send(post("/a", b"secret", PAGE).replace(b"POST", method.encode(), 1))
        check_refusal(client.response(), 403, "FORBIDDEN")
    assert backend.untouched(0.02)


def test_an_untrusted_peer_cannot_say_that_it_was_https(plain: tuple[Running, Backend]):
    running, backend = plain
    with running.connect() as client:
        client.send(get("/", "X-Forwarded-Proto: https"))
        assert client.response().status == 308
    assert backend.untouched(0.02)


def test_a_trusted_proxy_can(plain: tuple[Running, Backend]):
    running, backend = plain
    with running.connect(TRUSTED) as client:
        client.send(get("/", "X-Forwarded-Proto: https", "X-Forwarded-For: 203.0.113.7"))
        peer = backend.accept()
        peer.request()
        peer.send(answer())
        reply = client.response()
        assert reply.status == 200
        assert reply.get(b"strict-transport-security")


# --- renewal ----------------------------------------------------------------------------------------


def serial(running: Running, ca: Path) -> str:
    with running.connect(tls=trusting(ca)) as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        return str((client.sock.getpeercert() or {})["serialNumber"])


def test_a_renewed_certificate_is_served_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server_tls, "_EVERY", 0.05)
    for name in ("first", "second", "live"):
        (tmp_path / name).mkdir()
    first, second = certificates(tmp_path / "first"), certificates(tmp_path / "second")
    certificate, key = tmp_path / "live" / "tls.crt", tmp_path / "live" / "tls.key"
    shutil.copy(first[1], certificate)
    shutil.copy(first[2], key)
    tls = {"certificate": str(certificate), "key": str(key)}
    with Backend() as backend, threaded(tmp_path, backend.url, listen={"public": {"tls": tls}}) as running:
        before = serial(running, first[0])
        with running.connect(tls=trusting(first[0])) as kept:
            shutil.copy(second[1], certificate)  # half of the pair: it does not fit, and the old one goes on
            asyncio.run(asyncio.sleep(0.3))
            assert serial(running, first[0]) == before
            shutil.copy(second[2], key)
            until(lambda: _serves(running, second[0]), "the new certificate")
            kept.send(get("/"))  # who was connected stays so
            peer = backend.accept()
            peer.request()
            peer.send(answer(b"kept"))
            assert kept.response().body == b"kept"
        with pytest.raises(ssl.SSLCertVerificationError):
            running.connect(tls=trusting(first[0]))


def _serves(running: Running, ca: Path) -> bool:
    try:
        serial(running, ca)
    except ssl.SSLError:
        return False
    return True
