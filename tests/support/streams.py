"""Ways in which a text arrives piece by piece, for tests of redaction, each with how a reader joins it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Format:
    """A format of a stream.

    write  one piece → one record
    read   all records → the text
    """

    media_type: bytes
    write: Callable[[str], bytes]
    read: Callable[[bytes], str]
    end: bytes = b""
    begin: bytes = b""

    def body(self, pieces: Sequence[str]) -> bytes:
        return self.begin + b"".join(map(self.write, pieces)) + self.end


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def event(value: Any, head: bytes = b"") -> bytes:
    return head + b"data: " + dumped(value) + b"\n\n"


def data_of(body: bytes, field: bytes = b"data: ") -> list[bytes]:
    return [line[len(field) :] for line in body.split(b"\n") if line.startswith(field)]


def joins(find: Callable[[Any], str], field: bytes = b"data: ") -> Callable[[bytes], str]:
    return lambda body: "".join(find(json.loads(line)) for line in data_of(body, field) if line)


def plain(field: bytes) -> Callable[[bytes], str]:
    return lambda body: b"".join(data_of(body, field)).decode()


def choice(text: str) -> dict[str, Any]:
    return {"id": "chatcmpl-17", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}


SSE = b"text/event-stream"
FORMATS: dict[str, Format] = {
    "openai": Format(
        SSE,
        lambda text: event(choice(text)),
        joins(lambda e: e["choices"][0]["delta"]["content"]),
        b"data: [DONE]\n\n".replace(b"[DONE]", b""),
    ),
    "anthropic": Format(
        SSE,
        lambda text: event(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
            b"event: content_block_delta\n",
        ),
        joins(lambda e: e["delta"]["text"]),
    ),
    "langgraph": Format(
        SSE,
        lambda text: event(
            [{"content": text, "type": "AIMessageChunk", "id": "run-7"}, {"langgraph_node": "agent"}],
            b"event: messages\nid: 7\n",
        ),
        joins(lambda e: e[0]["content"]),
    ),
    "unknown-names": Format(
        SSE,
        lambda text: event({"stamp": "2026-11-27", "w": {"parts": [{"q": text}]}}),
        joins(lambda e: e["w"]["parts"][0]["q"]),
    ),
    "plain-events": Format(SSE, lambda text: b"data: " + text.encode() + b"\n\n", plain(b"data: ")),
    "data-lines": Format(SSE, lambda text: b"data: " + text.encode() + b"\n", plain(b"data: "), b"\n"),
    "own-field": Format(SSE, lambda text: b"event: x\nextra: " + text.encode() + b"\ndata: 1\n\n", plain(b"extra: ")),
    "comments": Format(SSE, lambda text: b": " + text.encode() + b"\n\n", plain(b": ")),
    "ollama": Format(
        b"application/x-ndjson",
        lambda text: (
            dumped({"model": "llama3", "message": {"role": "assistant", "content": text}, "done": False}) + b"\n"
        ),
        joins(lambda e: e["message"]["content"], b""),
    ),
    "ndjson-as-json": Format(
        b"application/json",
        lambda text: dumped({"response": text, "done": False}) + b"\n",
        joins(lambda e: e["response"], b""),
    ),
    "ndjson-as-text": Format(
        b"text/plain; charset=utf-8",
        lambda text: dumped({"response": text, "done": False}) + b"\n",
        joins(lambda e: e["response"], b""),
    ),
    "json-seq": Format(
        b"application/json-seq",
        lambda text: b"\x1e" + dumped({"text": text}) + b"\n",
        joins(lambda e: e["text"], b"\x1e"),
    ),
    "vercel": Format(b"text/plain", lambda text: b"0:" + dumped(text) + b"\n", joins(str, b"0:")),
    "bytes": Format(b"text/plain", str.encode, bytes.decode),
    "html": Format(b"text/html", str.encode, bytes.decode),
    "gemini": Format(
        b"application/json",
        lambda text: (
            b'{\n  "candidates": [\n    {\n      "content": {\n        "parts": [\n          {\n'
            b'            "text": ' + dumped(text) + b"\n          }\n        ]\n      }\n    }\n  ]\n}\n,\r\n"
        ),
        lambda body: "".join(e["candidates"][0]["content"]["parts"][0]["text"] for e in json.loads(body)[:-1]),
        b"{}]",
        b"[",
    ),
}
"""Name → format. Their readers are independent of the product's own."""
