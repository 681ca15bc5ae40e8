"""A wire-tap: passes connections on to a port, and keeps every byte of both directions."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Tee:
    """What went by: `sent` by those who connected, `received` by them."""

    port: int
    sent: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)


@contextlib.contextmanager
def tee(target: int) -> Iterator[Tee]:
    """Listen on a free port while the block runs."""
    listening = socket.create_server(("127.0.0.1", 0))
    tap = Tee(listening.getsockname()[1])
    open_: list[socket.socket] = []

    def pump(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                kept.extend(data)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listening.accept()
                far = socket.create_connection(("127.0.0.1", target))
                open_.extend((near, far))
                for ends in ((near, far, tap.sent), (far, near, tap.received)):
                    threading.Thread(target=pump, args=ends, daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield tap
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()
        for each in open_:
            each.close()
