"""A whole sidecar under test: as its own process, by the command that operators use, or in a thread here."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sidecar.app import Sidecar
from sidecar.running import Running as AppRunning
from sidecar.settings import OVERRIDES, read_settings
from tests.support.paused import PausedHandler
from tests.support.processes import Process, free_port
from tests.support.raw import PATIENCE, Raw, connect

ORIGIN = "https://app.example"
TRUSTED = "127.0.0.9"
"""A source address that policies of these tests take for a proxy in front."""
PAUSED = bool(os.environ.get("TEST_PAUSED"))
"""`TEST_PAUSED=1 pytest tests/integration` runs every test over exchanges that wait at each stage."""
MASTER = "0123456789abcdef0123456789abcdef"
WIDE = [{"name": "wide", "per": "ip", "limit": 1_000_000, "window": "1m"}]
COMMAND = (sys.executable, "-m", "sidecar", "run", "--policy")


def policy_text(backend_url: str, folder: Path, /, public: int = 0, management: int = 0, **sections: Any) -> str:
    """Return a policy with wide limits and short waits; `sections` replace or, for mappings, join its own."""
    document: dict[str, Any] = {
        "version": 1,
        "backend": {"url": backend_url, "timeouts": {"connect": "2s", "first_byte": "15s", "idle": "15s"}},
        "listen": {
            "public": {"address": f"127.0.0.1:{public or free_port()}"},
            "management": {"address": f"127.0.0.1:{management or free_port()}"},
            "drain": "10s",
            "drain_delay": "0s",
        },
        "clients": {"trusted_proxies": [f"{TRUSTED}/32"], "ban": None},
        "requests": {"concurrent_per_client": 1000},
        "cors": {"allowed_origins": [ORIGIN]},
        "rate_limits": WIDE,
        "events": {"log": None, "file": str(folder / "events.log")},
    }
    for name, section in sections.items():
        document[name] = _joined(document.get(name), section)
    return yaml.safe_dump(document, sort_keys=False)


def _joined(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return old | {name: _joined(old.get(name), value) for name, value in new.items()}


@dataclass
class Running:
    """A sidecar that serves; `process` is None for one in a thread."""

    policy: Path
    public: int
    management: int
    log: Path
    process: Process | None = None
    app: AppRunning | None = None
    loop: asyncio.AbstractEventLoop | None = None

    def connect(self, source: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Raw:
        return connect(self.public, source, tls)

    def fetch(self, path: str, accept: str = "*/*") -> tuple[int, str]:
        """Ask the management listener."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.management}{path}", headers={"Accept": accept})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels; 0 when there is none."""
        total = 0.0
        for line in self.fetch("/metrics")[1].splitlines():
            match = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
            if match and labels.items() <= dict(re.findall(r'(\w+)="([^"]*)"', match[1] or "")).items():
                total += float(match[2])
        return total

    def lines(self) -> list[dict[str, Any]]:
        """Return what has been logged."""
        text = self.log.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def logged(self, **fields: Any) -> dict[str, Any]:
        """Wait for a line with these fields and return the newest."""
        found: list[dict[str, Any]] = []

        def seen() -> bool:
            found[:] = [line for line in self.lines() if _has(line, fields)]
            return bool(found)

        until(seen, f"a line with {fields}")
        return found[-1]

    def resident(self) -> int:
        """Return the bytes of memory that the process holds."""
        assert self.process is not None
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def peak(self) -> int:
        """Return the bytes of memory that the process held when it held most."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    def alive(self) -> bool:
        with contextlib.suppress(OSError):
            return self.fetch("/livez")[0] == 200
        return False


def _has(line: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    """Tell whether a line has these fields; of `detail` those that are named."""
    detail, wanted = line.get("detail"), fields.get("detail")
    if isinstance(detail, dict) and isinstance(wanted, dict):
        return wanted.items() <= detail.items() and _has({**line, "detail": None}, {**fields, "detail": None})
    return fields.items() <= line.items()


def until(happens: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait for what must happen soon."""
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return what a sidecar reads of the environment: nothing that the tests happen to run in."""
    unset = dict.fromkeys(("ENCRYPTION_KEY", "ENCRYPTION_KEY_PREVIOUS", "JWT_SECRET", "REDIS_URL", *OVERRIDES), "")
    return unset | {"DATABASE_URL": f"sqlite:///{folder}/vault.db"} | more


@contextlib.contextmanager
def sidecar(
    folder: Path, backend_url: str, /, env: Mapping[str, str] | None = None, **sections: Any
) -> Iterator[Running]:
    """Run a sidecar as its own process while the block runs; enter when it is ready."""
    if PAUSED:
        with threaded(folder, backend_url, env, **sections) as running:
            yield running
        return
    policy = folder / "policy.yaml"
    policy.write_text(policy_text(backend_url, folder, free_port(), free_port(), **sections))
    with started(policy, folder, env) as running:
        yield running


@contextlib.contextmanager
def started(
    policy: Path, folder: Path, env: Mapping[str, str] | None = None, before: Sequence[str] = ()
) -> Iterator[Running]:
    """Run a sidecar with a policy that was written already; its log is in `folder`.

    `before` stands before its command: a program that starts the rest of its arguments.
    """
    listen = yaml.safe_load(policy.read_text())["listen"]
    public, management = (int(listen[name]["address"].rpartition(":")[2]) for name in ("public", "management"))
    process = Process((*before, *COMMAND, str(policy)), env=environment(folder, **(env or {})))
    running = Running(policy, public, management, folder / "events.log", process)
    try:
        process.until_listening(management, public, seconds=60)
        until(lambda: running.fetch("/readyz")[0] == 200, "the sidecar to be ready")
        yield running
    finally:
        process.stop(20)


@contextlib.contextmanager
def threaded(
    folder: Path, backend_url: str, /, env: Mapping[str, str] | None = None, *, paused: bool = PAUSED, **sections: Any
) -> Iterator[Running]:
    """Run a sidecar in a thread of this process: starts in no time, has no signals and no memory of its own.

    `paused`: each exchange waits at every stage, as over a store across the network.
    """
    public, management = free_port(), free_port()
    policy = folder / "policy.yaml"
    policy.write_text(policy_text(backend_url, folder, public, management, **sections))
    environ = environment(folder, **(env or {}))
    ready = threading.Event()
    running = Running(policy, public, management, folder / "events.log")
    failed: list[BaseException] = []
    stopping: list[asyncio.Event] = []

    async def main() -> None:
        stop = asyncio.Event()
        running.loop = asyncio.get_running_loop()
        # A test machine may stand still for longer than a request should ever wait.
        running.app = await Sidecar(read_settings(environ), policy, environ, store_timeout=5.0).start()
        try:
            if paused:
                for listener in (running.app.public, running.app.egress):
                    if listener is not None:
                        listener.handler = PausedHandler
            stopping.append(stop)
            ready.set()
            await stop.wait()
        finally:
            await running.app.stop()

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001 - told to the test below
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        if failed:
            raise failed[0]
        yield running
    finally:
        if running.loop is not None and not running.loop.is_closed() and stopping:
            running.loop.call_soon_threadsafe(stopping[0].set)
        thread.join(PATIENCE)
        assert not thread.is_alive()
        if failed:
            raise failed[0]
