"""Links in answers, through a running sidecar: defanged in streams and whole answers, and recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backends import Backend, answer
from tests.support.raw import get, post
from tests.support.sidecar import Running, threaded

SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
ANSWERS = {"links": {"allow": ["docs.example.com"], "on_other": "defang"}}


@pytest.fixture
def linked(tmp_path: Path, backend: Backend) -> Iterator[Running]:
    with threaded(tmp_path, backend.url, answers=ANSWERS) as running:
        yield running


def piece(text: str) -> bytes:
    event = b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


def test_an_image_in_a_stream_is_defanged_and_recorded(linked: Running, backend: Backend):
    with linked.connect() as client:
        client.send(post("/api/chat", b'{"message": "hi"}'))
        peer = backend.accept()
        peer.request()
        peer.send(
            SSE + b"".join(map(piece, ("see ![x](ht", "tps://evil.com/", "p?q=1) [y](https://docs.example.com/)")))
        )
        peer.send(b"0\r\n\r\n")
        body = client.response().body
    events = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: ")]
    said = "".join(event["choices"][0]["delta"]["content"] for event in events)
    assert said == "see ![x](hxxp:https://evil.com/p?q=1) [y](https://docs.example.com/)"
    line = linked.logged(event="LINK_REMOVED")
    assert line["detail"] == {"host": "evil.com", "kind": "image", "done": "defang", "high_entropy": False}
    assert "q=1" not in json.dumps(line)


def test_a_whole_answer_has_the_length_of_what_is_sent(linked: Running, backend: Backend):
    with linked.connect() as client:
        client.send(get("/api/last"))
        peer = backend.accept()
        peer.request()
        peer.send(answer(b'{"text": "![x](https://evil.com/a)"}', content_type="application/json"))
        reply = client.response()
        assert json.loads(reply.body) == {"text": "![x](hxxp:https://evil.com/a)"}
