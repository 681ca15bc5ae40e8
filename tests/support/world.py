"""A running sidecar with its backend and the command line beside it, as an outsider has them."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from tests.support.backends import Serving, answer
from tests.support.raw import PATIENCE, Message
from tests.support.sidecar import Running

COMMAND = [sys.executable, "-m", "sidecar"]


@dataclass
class World:
    """One for many tests: each asks from an address of its own."""

    run: Running
    app: Serving
    env: dict[str, str]

    def ask(self, raw: bytes, source: str = "127.0.0.1") -> Message:
        with self.run.connect(source) as client:
            return client.send(raw).response(raw.split(b" ")[0].decode())

    def cli(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *words], input=stdin, text=True, capture_output=True, env=self.env, timeout=60, check=False
        )

    def manage(self, method: str, path: str, token: str = "", body: Any = None, **lines: str) -> tuple[int, Any]:
        """Call the management listener; JSON comes back parsed."""
        fields = {"Content-Type": "application/json", **lines} | ({"Authorization": f"Bearer {token}"} if token else {})
        data = None if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.run.management}{path}"
        request = urllib.request.Request(url, data=data, method=method, headers=fields)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as came:
                return came.status, _parsed(came.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _parsed(error.read())


def _parsed(text: bytes) -> Any:
    return json.loads(text) if text[:1] in (b"{", b"[") else text.decode()


def reply(request: Message) -> bytes:
    """Say what was asked, or fail as the path says."""
    path = request.target.decode("latin-1").partition("?")[0]
    if path == "/500":
        return answer(b"Traceback: secret-of-the-backend", status="500 Oh")
    if path == "/404":
        return answer(b"no such thing", status="404 Not Found")
    if path == "/garbage":
        return b"SSH-2.0 hello\r\n\r\n"
    said = {
        "target": request.target.decode("latin-1"),
        "fields": {name.decode().lower(): value.decode("latin-1") for name, value in request.fields},
        "body": request.body.decode(),
    }
    own = ("Server: Foo/1.2", "X-Powered-By: Foo", "Access-Control-Allow-Origin: *", "Set-Cookie: a=b")
    return answer(json.dumps(said).encode(), *own, content_type="application/json")
