"""What the sidecar costs beside a plain nginx: CPU per request and per streamed event, memory, time to listening.

A guarded request has an allowed Origin, three limits, an inspected message, a key from the vault, security
headers, redaction, metrics and a log line. nginx forwards the same bytes and does nothing else. Both are pinned to
one core in turn, in short rounds; the smallest figure of each stands, because a shared machine has slow moments.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.support.load import Load, read_streams
from bench.support.servers import Sidecars, backend, cores, cpu, plain_nginx, resident

STREAMS = 50
STARTS = 3
SETTLED = 2.5  # seconds after which nothing of the start is still being done


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
        beside = "" if self.nginx is None else f"{self.nginx:.1f} {self.unit}"
        ratio = "" if self.nginx is None else f"{self.judged:.2f} x"
        verdict = "met" if self.judged <= self.target else "missed"
        bound = f"<= {self.target:g} {'x' if self.nginx is not None else self.unit}"
        return f"{self.name:36}{self.value:9.2f} {self.unit:4}{beside:>12}{ratio:>9}   {bound:12}{verdict}"


def measure(rounds: int, seconds: int) -> tuple[str, list[Figure]]:
    """Run everything; return what made the load, and the figures."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
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
                load.run(nginx[1], 1)
                load.run(sidecar[1], 1)
                requests = _interleaved(rounds, nginx, sidecar, lambda port: load.run(port, seconds))
                events = _interleaved(rounds, nginx, sidecar, lambda port: asyncio.run(read_streams(port, STREAMS)))
                loaded = resident(sidecar[0])
        figures = [
            Figure("CPU per guarded request", requests[1], "us", 5.0, requests[0]),
            Figure("CPU per streamed event", events[1], "us", 2.0, events[0]),
            *figures,
            Figure("resident after the load, vault", loaded, "MiB", 128.0),
        ]
        return load.name, figures


def _at_rest(sidecars: Sidecars) -> list[Figure]:
    with sidecars.run(vault=False) as (pid, _, _):
        time.sleep(SETTLED)
        without = resident(pid)
    starts, held = [], []
    for _ in range(STARTS):
        with sidecars.run() as (pid, _, took):
            starts.append(took)
            time.sleep(SETTLED if not held else 0.5)
            held.append(resident(pid))
    return [
        Figure("resident when idle", without, "MiB", 70.0),
        Figure("resident when idle, vault on SQLite", held[0], "MiB", 70.0),
        Figure("time to listening, vault on SQLite", min(starts), "s", 1.5),
    ]


def _interleaved(rounds: int, nginx, sidecar, work) -> tuple[float, float]:
    """Return the microseconds of CPU for one unit of work: nginx', and the sidecar's."""
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        for at, (pid, port, *_) in enumerate((nginx, sidecar)):
            before = cpu(pid)
            done = work(port)
            best[at] = min(best[at], (cpu(pid) - before) / done * 1e6)
    return best[0], best[1]
