"""Raw sockets with a buffer: what a client and a backend say, byte for byte, without a library in between."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import time
from dataclasses import dataclass, field
from typing import Self

PATIENCE = 20.0
"""Seconds that a test waits for what must come; generous, because machines are slow at times."""

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)")


class Closed(AssertionError):
    """The other side closed although more was expected; `got` is what came before."""

    def __init__(self, got: bytes) -> None:
        super().__init__(f"closed after {got[-2000:]!r}")
        self.got = got


@dataclass
class Message:
    """A request or an answer as it stood on the wire."""

    start: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    interim: list[Message] = field(default_factory=list)

    @property
    def status(self) -> int:
        match = _STATUS.fullmatch(self.start)
        assert match is not None, self.start
        return int(match[1])

    @property
    def target(self) -> bytes:
        return self.start.split(b" ")[1]

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: bytes) -> bytes | None:
        """Return the value of a field that stands there once, or None."""
        values = self.all(name)
        assert len(values) <= 1, f"{name!r} stands there {len(values)} times: {values}"
        return values[0] if values else None

    def names(self) -> set[bytes]:
        return {name.lower() for name, _ in self.fields}


class Raw:
    """One connected socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        self.sock = sock
        self.buffer = b""
        self.reset = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- sending ---------------------------------------------------------------------------------

    def send(self, *pieces: bytes) -> Self:
        for piece in pieces:
            self.sock.sendall(piece)
        return self

    def finish(self) -> None:
        """Say that nothing more will come, and go on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()

    def break_off(self) -> None:
        """End with a reset instead of an orderly close."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    # --- reading ---------------------------------------------------------------------------------

    def more(self) -> bool:
        """Read a piece into the buffer; False at the end."""
        try:
            data = self.sock.recv(262_144)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
            self.reset = True
            return False
        self.buffer += data
        return bool(data)

    def until(self, mark: bytes) -> bytes:
        """Return everything up to and with a mark."""
        while (end := self.buffer.find(mark)) < 0:
            if not self.more():
                raise Closed(self.buffer)
        return self.take(end + len(mark))

    def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            if not self.more():
                raise Closed(self.buffer)
        return self.take(size)

    def take(self, size: int) -> bytes:
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def rest(self) -> bytes:
        """Return all that comes until the other side closes."""
        while self.more():
            pass
        return self.take(len(self.buffer))

    def ended(self, within: float = PATIENCE) -> bool:
        """Tell whether the other side closes within this time; what it says before stays in the buffer."""
        deadline = time.monotonic() + within
        try:
            while (left := deadline - time.monotonic()) > 0:
                self.sock.settimeout(left)
                if not self.more():
                    return True
        except TimeoutError:
            pass
        finally:
            with contextlib.suppress(OSError):
                self.sock.settimeout(PATIENCE)
        return False

    def silent(self, for_: float = 0.15) -> bool:
        """Tell whether nothing comes, and nothing ends, for a while."""
        self.sock.settimeout(for_)
        try:
            return not self.buffer and self.more() and not self.buffer
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(PATIENCE)

    def head(self) -> Message:
        lines = self.until(b"\r\n\r\n")[:-4].split(b"\r\n")
        fields = []
        for line in lines[1:]:
            match = _FIELD.fullmatch(line)
            assert match is not None, line
            fields.append((match[1], match[2].strip(b" \t")))
        return Message(lines[0], fields)

    def body(self, message: Message, *, until_close: bool) -> bytes:
        """Return the body that follows a head, by the strict rules of RFC 9112 §6.3."""
        length, coding = message.get(b"content-length"), message.get(b"transfer-encoding")
        assert length is None or coding is None, "two framings"
        if coding is not None:
            assert coding == b"chunked", coding
            return b"".join(iter(self.chunk, b""))
        if length is not None:
            return self.exactly(int(length))
        return self.rest() if until_close else b""

    def chunk(self) -> bytes:
        """Return the data of the next chunk; b"" for the last one, whose trailers must be empty."""
        size = self.until(b"\r\n")[:-2]
        assert re.fullmatch(rb"[0-9a-f]+", size), size
        data = self.exactly(int(size, 16))
        assert self.exactly(2) == b"\r\n"
        return data

    def request(self) -> Message:
        """Read a whole request, as a backend."""
        message = self.head()
        message.body = self.body(message, until_close=False)
        return message

    def response(self, method: str = "GET") -> Message:
        """Read a whole answer, as a client; interim ones are kept beside it."""
        interim = []
        while (message := self.head()).status < 200 and message.status != 101:
            interim.append(message)
        message.interim = interim
        if method != "HEAD" and message.status not in (101, 204, 304):
            message.body = self.body(message, until_close=True)
        return message


def connect(port: int, source: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Raw:
    """Connect to a port of this machine; every address of 127.0.0.0/8 may be the source."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE, source_address=(source, 0))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Raw(tls.wrap_socket(sock, server_hostname="localhost") if tls is not None else sock)


def get(path: str = "/", *lines: str, method: str = "GET", host: str = "chat.example") -> bytes:
    """Return a request without a body."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode("latin-1")


def post(path: str, body: bytes, *lines: str, host: str = "chat.example") -> bytes:
    """Return a JSON POST with a Content-Length."""
    length = f"Content-Length: {len(body)}"
    return get(path, "Content-Type: application/json", length, *lines, method="POST", host=host) + body
