"""Backends that a test holds in its hand: they say exactly the bytes that they are told to."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self

from tests.support.raw import PATIENCE, Closed, Message, Raw


def answer(
    body: bytes = b"ok", *lines: str, status: str = "200 OK", length: bool = True, content_type: str = "text/plain"
) -> bytes:
    """Return a whole answer as a plain backend gives it."""
    head = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", *lines]
    if length:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


class Backend:
    """A listening socket; the test takes each connection itself and plays the server, step by step."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._socket.settimeout(PATIENCE)
        self._taken: list[Raw] = []

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def accept(self) -> Raw:
        """Take the next connection of the sidecar."""
        sock, _ = self._socket.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        taken = Raw(sock)
        self._taken.append(taken)
        return taken

    def untouched(self, for_: float = 0.1) -> bool:
        """Return whether no connection comes for a while."""
        self._socket.settimeout(for_)
        try:
            self._taken.append(Raw(self._socket.accept()[0]))
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(PATIENCE)
        return False

    def forget(self) -> None:
        """Close every connection that was taken or waits, so that the next test begins with none."""
        for taken in self._taken:
            taken.close()
        self._taken.clear()
        self._socket.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.accept()[0].close()
        self._socket.settimeout(PATIENCE)

    def close(self) -> None:
        self.forget()
        self._socket.close()


class Serving:
    """A backend that answers by itself, in threads: `reply(request)` gives the bytes of each answer."""

    def __init__(self, reply: Callable[[Message], bytes] = lambda _: answer()) -> None:
        self.reply = reply
        self.seen: list[Message] = []
        self._open: set[socket.socket] = set()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._socket.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open.add(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.closing(sock), contextlib.suppress(OSError, Closed):
            peer = Raw(sock)
            sock.settimeout(None)
            while True:
                request = peer.request()
                self.seen.append(request)
                said = self.reply(request)
                peer.send(said)
                if b"\r\nConnection: close\r\n" in said.partition(b"\r\n\r\n")[0] + b"\r\n":
                    break
        self._open.discard(sock)
