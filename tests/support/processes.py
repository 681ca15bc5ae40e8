"""Run real programs for a test: started on a free port, waited for, ended by their own pid."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """Return a TCP port of the loopback address that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int, host: str = LOOPBACK) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


class Process:
    """One running program; what it prints is kept in a file, so that it never blocks on a full pipe."""

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str | Path | None = None
    ) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        self._name = Path(argv[0]).name
        self._popen = subprocess.Popen(
            list(argv),
            env={**os.environ, **(env or {})},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal, or None while it runs."""
        return self._popen.poll()

    def output(self) -> str:
        """Return what it has printed so far, on both of its outputs."""
        if self._output.closed:
            return self._last_words
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0).decode(errors="replace")

    def until_listening(self, *ports: int, seconds: float = 15) -> Self:
        """Wait until every port accepts a connection; a program that ends before is a failure with its output."""
        deadline = time.monotonic() + seconds
        for port in ports:
            while not listens(port):
                self._still_hoping(f"listen on {port}", deadline)
        return self

    def until_output(self, text: str, seconds: float = 15) -> Self:
        deadline = time.monotonic() + seconds
        while text not in self.output():
            self._still_hoping(f"print {text!r}", deadline)
        return self

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def wait(self, seconds: float = 15) -> int:
        """Return its exit code once it has ended."""
        return self._popen.wait(seconds)

    def stop(self, seconds: float = 10) -> None:
        """End it: asked first, killed after that; harmless when it has ended already."""
        if self._popen.poll() is None:
            self._popen.terminate()
            # A stopped process cannot hear SIGTERM until it is continued.
            self._popen.send_signal(signal.SIGCONT)
            try:
                self._popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        if not self._output.closed:
            self._last_words = self.output()
            self._output.close()

    _last_words = ""

    def _still_hoping(self, what: str, deadline: float) -> None:
        code = self._popen.poll()
        if code is not None or time.monotonic() > deadline:
            why = f"ended with {code}" if code is not None else "did not in time"
            said = self.output()
            self.stop()
            raise AssertionError(f"{self._name} should {what}, but {why}:\n{said}")
        time.sleep(0.01)


@contextlib.contextmanager
def running(
    argv: Sequence[str],
    *ports: int,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    seconds: float = 15,
) -> Iterator[Process]:
    """Run a program while the block runs; enter it when all ports accept connections."""
    process = Process(argv, env=env, cwd=cwd)
    try:
        yield process.until_listening(*ports, seconds=seconds)
    finally:
        process.stop()
