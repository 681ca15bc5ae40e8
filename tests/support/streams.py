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


def concatenated(body: bytes) -> list[Any]:
    """Return JSON values that follow one another with nothing between."""
    found, text, at = [], body.decode(), 0
    while at < len(text):
        value, at = json.JSONDecoder().raw_decode(text, at)
        found.append(value)
    return found


def packets(body: bytes) -> list[Any]:
    """Return the events of engine.io's polling transport."""
    return [json.loads(packet.removeprefix(b"42")) for packet in body.split(b"\x1e") if packet]


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
    "ndjson-as-html": Format(  # what Flask calls a generator's answer
        b"text/html; charset=utf-8",
        lambda text: dumped({"response": text, "done": False}) + b"\n",
        joins(lambda e: e["response"], b""),
    ),
    "ndjson-as-bytes": Format(
        b"application/octet-stream",
        lambda text: dumped({"response": text, "done": False}) + b"\n",
        joins(lambda e: e["response"], b""),
    ),
    "concatenated": Format(
        b"application/json",
        lambda text: dumped({"response": text, "why": "}{"}),
        lambda body: "".join(e["response"] for e in concatenated(body)),
    ),
    "events-as-json": Format(b"application/json", lambda text: event({"delta": text}), joins(lambda e: e["delta"])),
    "events-as-text": Format(
        b"text/plain",
        lambda text: event({"delta": text}, b"event: message\n"),
        joins(lambda e: e["delta"]),
    ),
    "events-as-bytes": Format(
        b"application/octet-stream",
        lambda text: event({"delta": text}, b": ping\n"),
        joins(lambda e: e["delta"]),
    ),
    "engine-io-polling": Format(
        b"text/plain; charset=UTF-8",
        lambda text: b"42" + dumped(["token", {"data": {"content": text}}]) + b"\x1e",
        lambda body: "".join(e[1]["data"]["content"] for e in packets(body)),
    ),
    "json-in-json": Format(
        SSE,
        lambda text: event({"event": "message", "data": json.dumps({"content": text, "smile": "\U0001f600"})}),
        joins(lambda e: json.loads(e["data"])["content"]),
    ),
    "json-in-json-in-json": Format(
        b"application/x-ndjson",
        lambda text: dumped([json.dumps([1, json.dumps({"a": text}, ensure_ascii=False)])]) + b"\n",
        joins(lambda e: json.loads(json.loads(e[0])[1])["a"], b""),
    ),
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


@dataclass(frozen=True)
class Woven:
    """A format in which the pieces of several texts alternate.

    write  number of the text, one piece → one record
    read   all records, number of the text → that text
    """

    media_type: bytes
    write: Callable[[int, str], bytes]
    read: Callable[[bytes, int], str]
    begin: bytes = b""
    end: bytes = b""

    def body(self, pieces: Sequence[tuple[int, str]]) -> bytes:
        return self.begin + b"".join(self.write(*piece) for piece in pieces) + self.end


def parts(find: Callable[[Any, int], str | None], field: bytes = b"data: ") -> Callable[[bytes, int], str]:
    """Return a reader that joins what `find` takes from each record for a text, None: the record is of another."""
    return lambda body, number: "".join(find(json.loads(line), number) or "" for line in data_of(body, field) if line)


def in_choices(name: Callable[[int], int | str]) -> Woven:
    return Woven(
        SSE,
        lambda number, text: event({"id": "c-1", "choices": [{"index": name(number), "delta": {"content": text}}]}),
        parts(lambda e, n: e["choices"][0]["delta"]["content"] if e["choices"][0]["index"] == name(n) else None),
    )


LETTERS = "abcdef"
FIELDS = ("text", "answer", "content")
WOVEN: dict[str, Woven] = {
    "openai-choices": in_choices(lambda number: number),
    "openai-choices-by-name": in_choices(lambda number: LETTERS[number]),
    "openai-choices-in-one-event": Woven(
        SSE,
        lambda number, text: event(
            {"choices": [{"index": at, "delta": {"content": text if at == number else ""}} for at in (1, 0)]}
        ),
        parts(lambda e, n: e["choices"][1 - n]["delta"]["content"] if n < 2 else None),
    ),
    "openai-tool-calls": Woven(
        SSE,
        lambda number, text: event(
            {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": number, "function": {"arguments": text}}]}}]}
        ),
        parts(
            lambda e, n: (
                ((call := e["choices"][0]["delta"]["tool_calls"][0])["index"] == n and call["function"]["arguments"])
                or None
            )
        ),
    ),
    "anthropic-blocks": Woven(
        SSE,
        lambda number, text: event(
            {"type": "content_block_delta", "index": number, "delta": {"type": "text_delta", "text": text}},
            b"event: content_block_delta\n",
        ),
        parts(lambda e, n: e["delta"]["text"] if e["index"] == n else None),
    ),
    "responses": Woven(
        SSE,
        lambda number, text: event(
            {"type": "response.output_text.delta", "item_id": f"m{number}", "output_index": number, "delta": text}
        ),
        parts(lambda e, n: e["delta"] if e["output_index"] == n else None),
    ),
    "realtime-parts": Woven(
        SSE,
        lambda number, text: event(
            {"type": "response.text.delta", "item_id": "m", "output_index": 0, "content_index": number, "delta": text}
        ),
        parts(lambda e, n: e["delta"] if e["content_index"] == n else None),
    ),
    "vercel-lines": Woven(
        b"text/plain",
        lambda number, text: b"%d:" % number + dumped(text) + b"\n",
        lambda body, number: "".join(json.loads(line) for line in data_of(body, b"%d:" % number)),
    ),
    "ndjson-choices": Woven(
        b"application/x-ndjson",
        lambda number, text: dumped({"choices": [{"index": number, "text": text}]}) + b"\n",
        parts(lambda e, n: e["choices"][0]["text"] if e["choices"][0]["index"] == n else None, b""),
    ),
    "fields": Woven(
        SSE,
        lambda number, text: event({FIELDS[number]: text}),
        parts(lambda e, n: e.get(FIELDS[n])),
    ),
}
"""Name → format of several texts."""
NAMED: dict[str, Woven] = {
    "vercel-parts": Woven(
        SSE,
        lambda number, text: event({"type": "text-delta", "id": f"t{number}", "delta": text}),
        parts(lambda e, n: e["delta"] if e["type"] == "text-delta" and e["id"] == f"t{n}" else None),
        b"".join(event({"type": "text-start", "id": f"t{number}"}) for number in range(3)),
    ),
    "ag-ui": Woven(
        SSE,
        lambda number, text: event({"type": "TEXT_MESSAGE_CONTENT", "messageId": f"m{number}", "delta": text}),
        parts(lambda e, n: e["delta"] if e["type"] == "TEXT_MESSAGE_CONTENT" and e["messageId"] == f"m{n}" else None),
        b"".join(event({"type": "TEXT_MESSAGE_START", "messageId": f"m{number}"}) for number in range(3)),
    ),
    "langgraph-messages": Woven(
        SSE,
        lambda number, text: event(
            [{"content": text, "type": "AIMessageChunk", "id": f"run-{number}"}, {"langgraph_node": "agent"}],
            b"event: messages\n",
        ),
        parts(lambda e, n: e[0]["content"] if e[0].get("id") == f"run-{n}" else None),
        b"".join(event([{"content": "", "type": "AIMessageChunk", "id": f"run-{n}"}, {}]) for n in range(3)),
    ),
    "realtime-items": Woven(
        b"application/x-ndjson",
        lambda number, text: dumped({"type": "response.text.delta", "item_id": f"m{number}", "delta": text}) + b"\n",
        parts(lambda e, n: e["delta"] if "delta" in e and e["item_id"] == f"m{n}" else None, b""),
        b"".join(dumped({"type": "added", "item_id": f"m{number}"}) + b"\n" for number in range(3)),
    ),
}
"""The same, where only a name that was announced tells the texts apart."""
