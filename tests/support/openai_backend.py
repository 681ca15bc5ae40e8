"""A chat backend as people write them: the openai client as it comes, and nothing that knows of a sidecar.

Run as a program: `python openai_backend.py PORT`. Its key and its provider's address stand in the environment, as
the client reads them. `POST /chat` asks under its own key, `POST /passed` under the Authorization of its caller.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai

LOG = logging.getLogger(__name__)
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        LOG.info("headers %s", dict(self.headers))
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        key = os.environ["OPENAI_API_KEY"]
        if self.path.endswith("/passed"):
            key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        client = openai.OpenAI(api_key=key, max_retries=0)
        messages: Any = [{"role": "user", "content": asked.get("message", "")}]
        try:
            if asked.get("stream"):
                stream = client.chat.completions.create(
                    model="gpt-4o-mini", messages=messages, stream=True, stream_options={"include_usage": True}
                )
                text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
            else:
                answer = client.chat.completions.create(model="gpt-4o-mini", messages=messages)
                text = answer.choices[0].message.content or ""
            self.reply(200, {"reply": text})
        except openai.APIStatusError as error:
            self.reply(error.status_code, {"kind": type(error).__name__, "said": str(error)})
        finally:
            client.close()

    def reply(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    LOG.info("environment %s", dict(os.environ))
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
