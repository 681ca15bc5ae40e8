"""Reads names as ASP.NET and Go do: without regard to case, below a model's prefix, up to a NUL; the last one wins."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_json = self.headers["Content-Type"] == "application/json"
        pairs = json.loads(body).items() if is_json else parse_qsl(body.decode(), separator="&")
        plain = [(name.partition("\0")[0].strip().rpartition(".")[2].casefold(), value) for name, value in pairs]
        answer = json.dumps([value for name, value in plain if name == "user_message"][-1:]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None: ...


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
