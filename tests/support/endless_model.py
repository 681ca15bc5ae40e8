"""A model that never ends by itself: it streams one token after another until its client leaves, or `most` are said.

It speaks as OpenAI and as Anthropic do, over plain http, and notes how many tokens it has made for each request.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "gpt-4o-mini"


@dataclass
class Made:
    """One request: tokens that were made, and whether its client left before the end."""

    path: str
    tokens: int = 0
    left: bool = False
    done: threading.Event = field(default_factory=threading.Event)


@dataclass
class EndlessModel:
    """`most` tokens an answer, `pause` seconds between two; `usage`: a stream reports them at its end."""

    port: int = 0
    most: int = 100_000
    pause: float = 0.0005
    usage: bool = True
    made: list[Made] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def openai(self, made: Made) -> Iterator[bytes]:
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
        for number in range(self.most):
            made.tokens = number + 1
            yield _event({**head, "choices": [{"index": 0, "delta": {"content": f" w{number % 100}"}}]})
        if self.usage:
            usage = {"prompt_tokens": 9, "completion_tokens": self.most, "total_tokens": 9 + self.most}
            yield _event({**head, "choices": [], "usage": usage})
        yield b"data: [DONE]\n\n"

    def anthropic(self, made: Made) -> Iterator[bytes]:
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": []}
        usage = {"input_tokens": 9, "output_tokens": 1}
        yield _event({"type": "message_start", "message": {**message, "usage": usage}}, named=True)
        block = {"type": "text", "text": ""}
        yield _event({"type": "content_block_start", "index": 0, "content_block": block}, named=True)
        for number in range(self.most):
            made.tokens = number + 1
            delta = {"type": "text_delta", "text": f" w{number % 100}"}
            yield _event({"type": "content_block_delta", "index": 0, "delta": delta}, named=True)
        yield _event({"type": "content_block_stop", "index": 0}, named=True)
        end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": self.most}}
        yield _event(end, named=True)
        yield _event({"type": "message_stop"}, named=True)


def _event(value: dict[str, Any], *, named: bool = False) -> bytes:
    return (f"event: {value['type']}\n" if named else "").encode() + b"data: " + json.dumps(value).encode() + b"\n\n"


@contextlib.contextmanager
def endless_model(**settings: Any) -> Iterator[EndlessModel]:
    """Run one on a free port."""
    model = EndlessModel(**settings)
    model.go_on.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            made = Made(self.path)
            model.made.append(made)
            model.go_on.wait(30)
            try:
                if asked.get("stream"):
                    self.stream(model.anthropic(made) if "messages" in self.path else model.openai(made))
                else:
                    self.whole(made)
            except OSError:
                made.left = True
            finally:
                made.done.set()

        def stream(self, pieces: Iterator[bytes]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in pieces:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                time.sleep(model.pause)
            self.wfile.write(b"0\r\n\r\n")

        def whole(self, made: Made) -> None:
            made.tokens = model.most
            usage = {"prompt_tokens": 9, "completion_tokens": model.most, "total_tokens": 9 + model.most}
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "done"}}
            body = json.dumps({"id": "1", "object": "chat.completion", "created": 1, "model": MODEL,
                               "choices": [choice], "usage": usage}).encode()  # fmt: skip
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 512

        def handle_error(self, request: object, client_address: object) -> None:
            return

    server = Server(("127.0.0.1", 0), Handler)
    model.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield model
    finally:
        model.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()
