"""What the sidecar costs beside a plain nginx: CPU per guarded request and per streamed event, latency, memory, start.

The guarded request is that of `bench/support/chat.py`: 4,096 clients behind a trusted proxy, each with a session
of its own, fifteen browser headers, one message in four rewritten, three limits, a key from the vault, security
headers, an answer that is searched, a log line in a file, metrics. nginx forwards the same bytes and does nothing
else. Both are pinned to one core in turn, in short rounds; the smallest figure of each stands, because a shared
machine has slow moments.
"""

from __future__ import annotations

import asyncio
import os
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.support.load import Load, begin_sessions, hold_streams, read_streams, round_trips
from bench.support.servers import Sidecars, backend, cores, cpu, plain_nginx, proportional, resident

STREAMS = 50
HELD = 2000
STARTS = 3
SETTLED = 2.5  # seconds after which nothing of the start is still being done
WATCHED = 20.0  # seconds in which an idle process is watched: the kernel counts in hundredths of one


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `target` bounds `ratio` when there is one to nginx, else `value`."""

    name: str
    value: float
    unit: str
    target: float
    nginx: float | None = None

    @property
    def judged(self) -> float:
        return self.value if self.nginx is None else self.value / self.nginx

    def line(self) -> str:
        beside = "" if self.nginx is None else f"{self.nginx:.2f} {self.unit}"
        ratio = "" if self.nginx is None else f"{self.judged:.2f} x"
        verdict = "met" if self.judged <= self.target else "missed"
        bound = f"<= {self.target:g} {'x' if self.nginx is not None else self.unit}"
        return f"{self.name:40}{self.value:9.2f} {self.unit:4}{beside:>12}{ratio:>9}   {bound:12}{verdict}"


def measure(rounds: int, seconds: int) -> tuple[str, list[Figure]]:
    """Run everything; return what made the load, and the figures."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a socket for each stream that is held
        os.sched_setaffinity(0, cores()[1])
        load = Load(folder)
        with backend(folder) as behind:
            sidecars = Sidecars(folder, behind)
            sidecars.store_key()
            for vault in (False, True):
                with sidecars.run(vault=vault):
                    time.sleep(SETTLED)  # the first start compiles, which an installed package has done
            figures = _at_rest(sidecars)
            with plain_nginx(folder, behind) as nginx, sidecars.run() as sidecar:
                sessions = begin_sessions(sidecar[1])
                load.use(sessions)
                load.run(nginx[1], 1)
                load.run(sidecar[1], 2)
                both = _Pair(rounds, nginx, sidecar)
                requests = both.cpu(lambda port: load.run(port, seconds))
                events = both.cpu(lambda port: asyncio.run(read_streams(port, sessions, STREAMS)))
                trips = both.smallest(lambda port: round_trips(port, sessions))
                loaded = resident(sidecar[0])
                held = _held(sidecar, sessions)
        figures = [
            Figure("CPU per guarded request", requests[1], "us", 5.0, requests[0]),
            Figure("CPU per streamed event", events[1], "us", 1.4, events[0]),
            Figure("time of a POST on one connection", trips[1], "ms", 3.0, trips[0]),
            Figure(f"memory per open stream, {HELD:,} of them", held, "KiB", 20.0),
            *figures,
            Figure("resident after the load, vault", loaded, "MiB", 128.0),
        ]
        return load.name, figures


def _held(sidecar: tuple[int, int, float], sessions: list[str]) -> float:
    """Return the KiB (proportional set size) that one idle stream takes."""
    before = proportional(sidecar[0])
    with hold_streams(sidecar[1], sessions[:HELD]):
        time.sleep(1)
        return (proportional(sidecar[0]) - before) * 1024 / HELD


def _at_rest(sidecars: Sidecars) -> list[Figure]:
    with sidecars.run(vault=False) as (pid, _, _):
        time.sleep(SETTLED)
        without = resident(pid)
    starts, held, idle = [], [], []
    for number in range(STARTS):
        with sidecars.run() as (pid, _, took):
            starts.append(took)
            time.sleep(SETTLED if not held else 0.5)
            held.append(resident(pid))
            if number == 0:
                before = cpu(pid)
                time.sleep(WATCHED)
                idle.append((cpu(pid) - before) / WATCHED * 100)
    return [
        Figure("resident when idle", without, "MiB", 60.0),
        Figure("resident when idle, vault on SQLite", held[0], "MiB", 75.0),
        Figure("CPU when idle, vault on SQLite", idle[0], "%", 0.2),
        Figure("time to listening, vault on SQLite", min(starts), "s", 1.5),
    ]


class _Pair:
    """nginx and the sidecar, measured in turn; the smaller of each one's figures stands."""

    def __init__(self, rounds: int, nginx: tuple[int, int], sidecar: tuple[int, int, float]) -> None:
        self._rounds = rounds
        self._both = ((nginx[0], nginx[1]), (sidecar[0], sidecar[1]))

    def cpu(self, work: Callable[[int], int]) -> tuple[float, float]:
        """Return the microseconds of CPU for one unit of `work(port)`, which returns how many it did."""
        best = [float("inf"), float("inf")]
        for _ in range(self._rounds):
            for at, (pid, port) in enumerate(self._both):
                before = cpu(pid)
                done = work(port)
                best[at] = min(best[at], (cpu(pid) - before) / done * 1e6)
        return best[0], best[1]

    def smallest(self, work: Callable[[int], float]) -> tuple[float, float]:
        """Return what `work(port)` measures."""
        best = [float("inf"), float("inf")]
        for _ in range(self._rounds):
            for at, (_, port) in enumerate(self._both):
                best[at] = min(best[at], work(port))
        return best[0], best[1]
