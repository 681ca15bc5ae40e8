"""A browser as small as sessions need it: an address, cookies that it keeps, one request after the other."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.support.raw import Message, get, post
from tests.support.sidecar import TRUSTED, Running

HOME = "203.0.113.9"
NEXT_DOOR = "203.0.113.77"
ELSEWHERE = "198.51.100.7"


@dataclass
class Reply:
    """What came back."""

    message: Message

    @property
    def status(self) -> int:
        return self.message.status

    def json(self) -> Any:
        return json.loads(self.message.body)

    @property
    def said(self) -> tuple[int, str]:
        """The status and the refusal's code."""
        return self.status, self.json()["code"] if self.status >= 400 else ""


@dataclass
class Browser:
    """A client at an address, as a trusted proxy in front reports it."""

    front: Running
    address: str = HOME
    cookies: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Send a request, JSON if there is a body; keep the cookies of the answer."""
        lines = [f"X-Forwarded-For: {self.address}", "X-Forwarded-Proto: https"]
        named = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            lines.append("Cookie: " + "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        lines += [f"{name}: {value}" for name, value in named.items()]
        if body is None:
            request = get(path, *lines, method=method)
            if method in ("POST", "PUT"):
                request = request.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n")
        else:
            text = json.dumps(body).encode()
            request = post(path, text, *lines)
            request = request.replace(b"POST ", method.encode() + b" ", 1)
        with self.front.connect(TRUSTED) as raw:
            message = raw.send(request).response(method)
        self._keep(message)
        return Reply(message)

    def session(self) -> str:
        """Ask for a session of one's own and return its id."""
        reply = self.ask("POST", "/api/session")
        assert reply.status == 201, reply.message
        found: str = reply.json()["sessionId"]
        return found

    def _keep(self, message: Message) -> None:
        for line in message.all(b"Set-Cookie"):
            name, _, value = line.decode().partition(";")[0].partition("=")
            if value and "Max-Age=0" not in line.decode():
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
