"""Parts of resources and their validators: passed where nothing is searched, true where a body is rewritten."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import brotli
import pytest
from backports import zstd

from tests.support.backends import Serving, answer
from tests.support.raw import Message, get
from tests.support.sidecar import Running, threaded

KEY = b"sk-proj-" + b"aB3" * 16 + b"T3BlbkFJ" + b"cD4" * 16
SOUND = bytes(range(256)) * 40
TEXT = b'{"note": "' + b"words " * 2000 + b'"}'
VALIDATORS = [
    "Accept-Ranges: bytes",
    'ETag: "v1"',
    "Repr-Digest: sha-256=:AAAA:",
    "Content-MD5: AAAA",
    "Digest: md5=AAAA",
]
LEAKING = b'{"key": "' + KEY + b'"}'
CODINGS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda body: brotli.compress(body, quality=4),
    "zstd": zstd.compress,
}


def reply_to(request: Message) -> bytes:
    """Serve files like a plain web server: ranges, HEAD, If-None-Match."""
    path = request.target.decode()
    body, kind = {
        "/sound": (SOUND, "audio/mpeg"),
        "/text": (TEXT, "application/json"),
        "/leak": (LEAKING, "application/json"),
        "/long": (TEXT * 40, "application/json"),
    }[path.partition("?")[0]]
    status, lines = "200 OK", list(VALIDATORS)
    if b'"v1"' in (request.get(b"if-none-match") or b""):
        return b'HTTP/1.1 304 Not Modified\r\nETag: "v1"\r\n\r\n'
    coding = path.partition("?")[2]
    if coding and coding.encode() in (request.get(b"accept-encoding") or b""):
        body = CODINGS[coding](body)
        lines.append(f"Content-Encoding: {coding}")
    wanted = request.get(b"range")
    if wanted is not None and (request.get(b"if-range") or b'"v1"') == b'"v1"':
        first, _, last = wanted.removeprefix(b"bytes=").partition(b"-")
        end = int(last) + 1 if last else len(body)
        status = "206 Partial Content"
        lines.append(f"Content-Range: bytes {int(first)}-{end - 1}/{len(body)}")
        body = body[int(first) : end]
    made = answer(body, *lines, status=status, content_type=kind)
    return made[: made.index(b"\r\n\r\n") + 4] if request.start.startswith(b"HEAD") else made


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory):
    with Serving(reply_to) as backend, threaded(tmp_path_factory.mktemp("ranges"), backend.url) as running:
        yield running


def asked(running: Running, path: str, *lines: str, method: str = "GET") -> Message:
    with running.connect() as client:
        return client.send(get(path, *lines, method=method)).response(method)


def test_a_part_of_an_unsearched_body_passes(running: Running):
    reply = asked(running, "/sound", "Range: bytes=0-1")
    assert (reply.status, reply.body, reply.get(b"content-range")) == (206, SOUND[:2], b"bytes 0-1/10240")
    assert reply.get(b"accept-ranges") == b"bytes"
    assert reply.get(b"etag") == b'"v1"'
    assert asked(running, "/sound", "Range: bytes=5-8", 'If-Range: "v1"').body == SOUND[5:9]
    assert asked(running, "/sound", "Range: bytes=5-8", 'If-Range: "old"').status == 200
    assert asked(running, "/sound", method="HEAD").get(b"content-length") == b"10240"


def test_a_part_of_what_is_searched_is_all_of_it(running: Running):
    reply = asked(running, "/leak", "Range: bytes=0-30")
    assert reply.status == 200
    assert reply.body == b'{"key": "[redacted]"}'
    assert b"accept-ranges" not in reply.names()
    assert b"content-range" not in reply.names()


def test_a_rewritten_body_has_no_sums_of_the_old_one(running: Running):
    reply = asked(running, "/leak")
    assert reply.body == b'{"key": "[redacted]"}'
    assert reply.get(b"content-length") == b"21"
    assert reply.get(b"etag") == b'W/"v1"'
    assert reply.names().isdisjoint({b"repr-digest", b"digest", b"content-md5", b"accept-ranges"})


def test_a_body_in_which_nothing_was_found_keeps_them(running: Running):
    reply = asked(running, "/text")
    assert reply.get(b"etag") == b'"v1"'
    assert {b"repr-digest", b"digest", b"content-md5"} <= reply.names()
    assert b"accept-ranges" not in reply.names()


def test_a_short_text_promises_no_ranges_either(tmp_path: Path):
    made = answer(b'{"ok": true}', "Accept-Ranges: bytes", content_type="application/json")
    with Serving(lambda _: made) as backend, threaded(tmp_path, backend.url) as running:
        reply = asked(running, "/")
    assert reply.body == b'{"ok": true}'
    assert b"accept-ranges" not in reply.names()


@pytest.mark.parametrize("path", ["/leak", "/text", "/long"])
def test_head_says_no_length_that_get_does_not_send(running: Running, path: str):
    reply = asked(running, path, method="HEAD")
    assert reply.status == 200
    assert reply.get(b"content-length") is None
    assert reply.get(b"transfer-encoding") is None
    assert reply.get(b"etag") == b'W/"v1"'
    assert reply.names().isdisjoint({b"repr-digest", b"digest", b"content-md5", b"accept-ranges"})


def test_a_validator_is_told_as_the_client_knows_it(running: Running):
    for known in (b'"v1"', b'W/"v1"'):
        reply = asked(running, "/text", f"If-None-Match: {known.decode()}")
        assert (reply.status, reply.get(b"etag")) == (304, known)


@pytest.mark.parametrize("coding", CODINGS)
def test_compressed_answers_are_opened_searched_and_kept_when_clean(running: Running, coding: str):
    reply = asked(running, f"/leak?{coding}", "Accept-Encoding: gzip, deflate, br, zstd")
    assert reply.body == b'{"key": "[redacted]"}'
    assert reply.get(b"content-encoding") is None
    assert reply.get(b"etag") == b'W/"v1"'
    reply = asked(running, f"/text?{coding}", "Accept-Encoding: gzip, deflate, br, zstd")
    assert reply.get(b"content-encoding") == coding.encode()
    assert reply.body == CODINGS[coding](TEXT)
    assert reply.get(b"etag") == b'"v1"'
    reply = asked(running, f"/long?{coding}", "Accept-Encoding: gzip, deflate, br, zstd")
    assert reply.body == TEXT * 40 or reply.get(b"content-encoding") == coding.encode()


def test_a_coding_that_is_not_known_is_not_asked_for(running: Running, tmp_path: Path):
    reply = asked(running, "/text?br", "Accept-Encoding: dcb, compress")
    assert (reply.get(b"content-encoding"), reply.body) == (None, TEXT)


TWO = gzip.compress(LEAKING[:20]) + gzip.compress(LEAKING[20:])


def raw_deflate(data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    return deflate.compress(data) + deflate.flush()


@pytest.mark.parametrize(
    ("coding", "body"),
    [pytest.param("gzip", TWO, id="members"), pytest.param("deflate", raw_deflate(LEAKING), id="raw")],
)
def test_unusual_but_legal_codings_are_read(tmp_path: Path, coding: str, body: bytes):
    made = answer(body, f"Content-Encoding: {coding}", content_type="application/json")
    with Serving(lambda _: made) as backend, threaded(tmp_path, backend.url) as running:
        reply = asked(running, "/", "Accept-Encoding: gzip, deflate")
    assert (reply.status, reply.body) == (200, b'{"key": "[redacted]"}')


def test_a_brotli_bomb_is_passed_on_in_steps(tmp_path: Path):
    long = bytes(64 << 20)
    made = answer(brotli.compress(long, quality=1), "Content-Encoding: br")
    with Serving(lambda _: made) as backend, threaded(tmp_path, backend.url) as running:
        reply = asked(running, "/", "Connection: close")
    assert len(reply.body) == len(long)
