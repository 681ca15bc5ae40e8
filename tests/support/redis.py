"""Real Redis servers on free ports, ended by pid."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest


def tool(name: str) -> str:
    """Find a program; without it the test is skipped aloud, and fails where nothing may be missing (CI)."""
    found = shutil.which(name)
    if found is None:
        says = f"{name} is not installed; `bash tests/support/install-tools` gets it"
        if os.environ.get("CI"):
            pytest.fail(says)
        pytest.skip(says)
    return found


def free_port(ceiling: int = 65535) -> int:
    """Return a free port (a cluster node also needs port + 10000)."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port <= ceiling:
            return port
        # The kernel hands out high ports only: look below them by hand.
        for low in range(20_000 + os.getpid() % 5_000, ceiling):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", low)) and not _taken(low):
                    _GIVEN.add(low)
                    return low


_GIVEN: set[int] = set()


def _taken(port: int) -> bool:
    if port in _GIVEN:
        return True
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


class RedisServer:
    """One redis-server, or sentinel; `options` are words of its configuration."""

    def __init__(self, *options: str, port: int = 0, sentinel: str = "") -> None:
        self.port = port or free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self._options = options
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        words = ["--port", str(self.port), "--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        command = [tool("redis-server")]
        if self._sentinel:
            (self._folder / "sentinel.conf").write_text(f"port {self.port}\ndir {self._folder}\n{self._sentinel}\n")
            command += [str(self._folder / "sentinel.conf"), "--sentinel"]
        else:
            command += [*words, "--bind", "127.0.0.1", *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait()

    def _wait(self) -> None:
        for _ in range(400):
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", self.port)):
                    return
            time.sleep(0.01)
        raise RuntimeError(f"redis-server on {self.port} did not start")

    def cli(self, *words: str) -> str:
        """Run redis-cli against this server."""
        command = [tool("redis-cli"), "-p", str(self.port), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def redis_server(*options: str) -> Iterator[RedisServer]:
    """Run a server for the length of a block."""
    server = RedisServer(*options)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def sentinels(service: str = "mymaster") -> Iterator[tuple[list[RedisServer], list[RedisServer]]]:
    """Run a primary, a replica and three sentinels that fail over within a second or two."""
    started: list[RedisServer] = []
    try:
        primary = RedisServer("--repl-diskless-sync-delay", "0")
        started.append(primary)
        started.append(RedisServer("--replicaof", "127.0.0.1", str(primary.port)))
        words = (
            f"sentinel monitor {service} 127.0.0.1 {primary.port} 2\n"
            f"sentinel down-after-milliseconds {service} 500\n"
            f"sentinel failover-timeout {service} 3000"
        )
        started += [RedisServer(sentinel=words) for _ in range(3)]
        _until(lambda: "num-other-sentinels\n2" in started[2].cli("sentinel", "master", service), "sentinels to meet")
        _until(lambda: "master_link_status:up" in started[1].cli("info", "replication"), "the replica to follow")
        _until(lambda: "num-slaves\n1" in started[2].cli("sentinel", "master", service), "sentinels to see the replica")
        yield started[:2], started[2:]
    finally:
        for server in reversed(started):
            server.close()


@contextmanager
def cluster() -> Iterator[list[RedisServer]]:
    """Run three primaries that share the slots."""
    started: list[RedisServer] = []
    try:
        for _ in range(3):
            options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
            started.append(RedisServer(*options, port=free_port(ceiling=50_000)))
        nodes = [f"127.0.0.1:{server.port}" for server in started]
        started[0].cli("--cluster", "create", *nodes, "--cluster-yes")
        for server in started:
            _until(partial(_formed, server), "the cluster to form")
        yield started
    finally:
        for server in started:
            server.close()


def _formed(server: RedisServer) -> bool:
    return "cluster_state:ok" in server.cli("cluster", "info")


def _until(happens: Callable[[], bool], what: str, seconds: float = 15.0) -> None:
    """Wait for a condition of real servers."""
    end = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > end:
            raise RuntimeError(f"waited in vain for {what}")
        time.sleep(0.02)


def ports(servers: Sequence[RedisServer]) -> str:
    """Return the servers as a URL's hosts."""
    return ",".join(f"127.0.0.1:{server.port}" for server in servers)
