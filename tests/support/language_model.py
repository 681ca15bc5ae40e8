"""A stand-in for the large providers over TLS: chat completions, responses and messages, whole or streamed.

It takes the keys that it is told, reports made-up but exact token counts, and remembers what it saw and said.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias

from tests.support.provider import certificates

MODEL = "gpt-4o-mini-2024-07-18"
WORDS = ["Hello", " there", ", how", " are", " you?"]

Told: TypeAlias = tuple[int, dict[str, str], list[bytes] | bytes]
"""Status, fields, and a body: whole, or in pieces that are sent one by one."""


@dataclass
class Call:
    """One request, as the provider got it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        value = self.headers.get("authorization", "").removeprefix("Bearer ")
        return value or self.headers.get("x-api-key", "")


@dataclass
class LanguageModel:
    """A running provider. `instead` may answer before it does; `reported` are (key, input, output)."""

    port: int
    ca: Path
    keys: set[str]
    calls: list[Call] = field(default_factory=list)
    reported: list[tuple[str, int, int]] = field(default_factory=list)
    instead: Callable[[Call], Told | None] = lambda _: None

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    def tokens(self, key: str) -> tuple[int, int]:
        """Return what was reported to one key: input, output."""
        told = [(given, made) for who, given, made in self.reported if who == key]
        return sum(given for given, _ in told), sum(made for _, made in told)

    def answer(self, call: Call) -> Told:
        instead = self.instead(call)
        if instead is not None:
            return instead
        if call.key not in self.keys:
            return _json({"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}, 401)
        if call.path.startswith("/v1/models"):
            return _json({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        asked = json.loads(call.body or b"{}")
        given, made = 7 + len(call.body), len(WORDS) + len(self.reported)
        shape = {"/v1/chat/completions": _chat, "/v1/responses": _responses, "/v1/messages": _messages}
        made_of = shape.get("/v1/" + call.path.partition("?")[0].partition("/v1/")[2])
        if made_of is None:
            return _json({"error": {"message": "no such path"}}, 404)
        told, says_usage = made_of(asked, given, made)
        if says_usage:
            self.reported.append((call.key, given, made))
        return told


def _json(value: Any, status: int = 200) -> Told:
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()


def _events(events: list[Any], *, named: bool = False, done: bool = False) -> Told:
    pieces = [
        (f"event: {each['type']}\n" if named else "").encode() + b"data: " + json.dumps(each).encode() + b"\n\n"
        for each in events
    ]
    return (
        200,
        {"Content-Type": "text/event-stream; charset=utf-8"},
        [*pieces, *([b"data: [DONE]\n\n"] if done else [])],
    )


def _chat(asked: dict[str, Any], given: int, made: int) -> tuple[Told, bool]:
    usage = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
    head = {"id": "chatcmpl-1", "created": 1_767_225_600, "model": MODEL}
    if not asked.get("stream"):
        message = {"role": "assistant", "content": "".join(WORDS)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return _json({**head, "object": "chat.completion", "choices": [choice], "usage": usage}), True
    wanted = bool((asked.get("stream_options") or {}).get("include_usage"))
    head["object"] = "chat.completion.chunk"
    more = {"usage": None} if wanted else {}
    chunks = [{**head, "choices": [{"index": 0, "delta": {"content": word}}], **more} for word in WORDS]
    if wanted:
        chunks.append({**head, "choices": [], "usage": usage})
    return _events(chunks, done=True), wanted


def _responses(asked: dict[str, Any], given: int, made: int) -> tuple[Told, bool]:
    usage = {"input_tokens": given, "output_tokens": made, "total_tokens": given + made}
    text = {"type": "output_text", "text": "".join(WORDS), "annotations": []}
    output = [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [text]}]
    whole = {"id": "resp_1", "object": "response", "model": MODEL, "output": output, "status": "completed"}
    if not asked.get("stream"):
        return _json({**whole, "usage": usage}), True
    begun = {"type": "response.created", "response": {**whole, "output": [], "usage": None}}
    deltas = [{"type": "response.output_text.delta", "delta": word} for word in WORDS]
    return _events(
        [begun, *deltas, {"type": "response.completed", "response": {**whole, "usage": usage}}], named=True
    ), True


def _messages(asked: dict[str, Any], given: int, made: int) -> tuple[Told, bool]:
    whole = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5"}
    if not asked.get("stream"):
        content = [{"type": "text", "text": "".join(WORDS)}]
        return _json({**whole, "content": content, "usage": {"input_tokens": given, "output_tokens": made}}), True
    start = {"type": "message_start", "message": {**whole, "usage": {"input_tokens": given, "output_tokens": 1}}}
    deltas = [{"type": "content_block_delta", "delta": {"type": "text_delta", "text": word}} for word in WORDS]
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": made}}
    return _events([start, *deltas, end, {"type": "message_stop"}], named=True), True


@contextlib.contextmanager
def language_model(folder: Path, *keys: str, tls: bool = True) -> Iterator[LanguageModel]:
    """Run one on a free port of localhost; `folder` gets its certificates."""
    ca, certificate, key = certificates(folder)
    running = LanguageModel(0, ca, set(keys))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20

        def _serve(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            call = Call(self.command, self.path, headers, self._body())
            running.calls.append(call)
            status, fields, body = running.answer(call)
            self.send_response(status)
            pieces = body if isinstance(body, list) else None
            framing = {"Transfer-Encoding": "chunked"} if pieces is not None else {"Content-Length": str(len(body))}
            for name, value in {**fields, **framing}.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                if pieces is None:
                    self.wfile.write(bytes(body))  # type: ignore[arg-type]
                    return
                for piece in pieces:
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    self.wfile.flush()
                self.wfile.write(b"0\r\n\r\n")

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            pieces = []
            while size := int(self.rfile.readline(), 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)

        do_GET = do_POST = do_DELETE = _serve

        def log_message(self, *_: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            return  # a client that goes away in the middle is a test, not an error

    server = Server(("127.0.0.1", 0), Handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    running.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
