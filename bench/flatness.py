"""What size costs: a guarded request under 1,000 routes, 200 origins and 100,000 clients, beside one of each.

    python bench/flatness.py [--rounds 5] [--seconds 3] [--clients 100000] [--json] [--assert]

A sidecar runs for each row, pinned to one core; they are measured in turn, in short rounds, and the smallest CPU time
for one request stands. Each client has a session and an address of its own, each uses one of the routes and one of
the origins. Every row is compared with the first one of the same run.

Every row sends the same four messages, one of which is rewritten.
"""

# ruff: noqa: E402  # the path is set before our own modules are found
from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE = Path(__file__).parent
# In place of this folder, where `limits` would be the wrong module: the project's root.
sys.path[0] = str(HERE.parent)

from bench.support.chat import MESSAGES, ORIGIN, POLICY, chat_request
from bench.support.load import Load, begin_sessions
from bench.support.servers import backend, cores, cpu, resident, serve
from tests.support.processes import free_port

MOST: Final = 1.1
"""The CPU time of a request beside that of the first row."""
NOISE: Final = 1.15
"""A shared machine adds so much to a ratio now and then."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is of what a policy names, and of what comes."""

    name: str
    routes: int = 1
    origins: int = 1
    clients: int = 1

    def policy(self, port: int, management: int, behind: int, folder: Path) -> str:
        """Return the guarded chat's policy, with as many routes and origins."""
        text = POLICY.format(port=port, management=management, backend=behind, folder=folder)
        before, line, route = text.partition("  - name: chat\n")
        origins = ", ".join(f'"{_origin(number)}"' for number in range(self.origins))
        routes = [
            (line + route).replace("name: chat\n", f"name: chat{number}\n").replace("/api/chat", _path(number))
            for number in range(self.routes)
        ]
        return before.replace(f'"{ORIGIN}"', origins) + "".join(routes)

    def requests(self, sessions: list[str]) -> list[bytes]:
        """Return a message of each client, and as many as there are different ones: a single client sends them all."""
        count = max(self.clients, MESSAGES)
        return [self._request(number, number % self.clients, sessions) for number in range(count)]

    def _request(self, number: int, client: int, sessions: list[str]) -> bytes:
        """Return the message of a client, over its route, from its origin."""
        made = chat_request(client, sessions[client], message=number)
        # LuaJIT hashes the ends of strings and little else: requests of one end would take wrk minutes to read.
        head, end, body = made.partition(b"\r\n\r\n")
        longer = body[:-1] + b',"n":%d}' % number
        made = head.replace(b"Length: %d" % len(body), b"Length: %d" % len(longer)) + end + longer
        made = made.replace(b"/api/chat ", _path(client % self.routes).encode() + b" ", 1)
        return made.replace(ORIGIN.encode(), _origin(client % self.origins).encode())


def _path(number: int) -> str:
    return f"/api/{number}/chat"


def _origin(number: int) -> str:
    return ORIGIN if number == 0 else f"https://site{number}.example.com"


@dataclass(slots=True)
class Served:
    """One sidecar under measurement."""

    size: Size
    pid: int
    port: int
    load: Load
    best: float = float("inf")

    def measure(self, seconds: int) -> None:
        """Take the microseconds of CPU for one request when they are the fewest so far.

        What is known is forgotten within the minutes in which others are measured: a second brings it back.
        """
        self.load.run(self.port, 1)
        before = cpu(self.pid)
        done = self.load.run(self.port, seconds)
        self.best = min(self.best, (cpu(self.pid) - before) / done * 1e6)


@contextmanager
def served(size: Size, behind: int, root: Path) -> Iterator[Served]:
    """Run a sidecar with such a policy, and begin the clients' sessions."""
    folder = root / size.name.replace(" ", "-").replace(",", "")
    folder.mkdir()
    port = free_port()
    policy = folder / "policy.yaml"
    policy.write_text(size.policy(port, free_port(), behind, folder))
    with serve(policy, port, root) as process:
        load = Load(folder)
        load.send(size.requests(begin_sessions(port, size.clients)))
        load.run(port, 2 + size.clients // 8000)  # each client once: its limits' windows are there then
        yield Served(size, process.pid, port, load)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="how long one round of requests lasts")
    parser.add_argument("--clients", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--assert", dest="strict", action="store_true", help="fail when size costs too much by far")
    arguments = parser.parse_args()
    sizes = [
        Size("one of each"),
        Size("1,000 routes", routes=1000),
        Size("200 origins", origins=200),
        Size(f"{arguments.clients:,} clients", clients=arguments.clients),
        Size("all of it", routes=1000, origins=200, clients=arguments.clients),
        Size("4,000 clients", clients=4000),
    ]
    os.sched_setaffinity(0, cores()[1])
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name, ExitStack() as running:
        root = Path(name)
        root.chmod(0o755)
        behind = running.enter_context(backend(root))
        rows = [running.enter_context(served(size, behind, root)) for size in sizes]
        for _ in range(arguments.rounds):
            for row in rows:
                row.measure(arguments.seconds)
        memory = [resident(row.pid) for row in rows]
    ratios = [row.best / rows[0].best for row in rows]
    if arguments.json:
        print(json.dumps({row.size.name: ratio for row, ratio in zip(rows, ratios, strict=True)}))
    else:
        print(f"{'':20}{'CPU of a request':>18}{'beside the first':>18}{'resident':>12}   target")
        for row, ratio, held in zip(rows, ratios, memory, strict=True):
            verdict = "" if row is rows[0] else f"   <= {MOST} x {'met' if ratio <= MOST else 'missed'}"
            print(f"{row.size.name:20}{row.best:15.1f} us{ratio:16.2f} x{held:8.0f} MiB{verdict}")
    return 1 if arguments.strict and max(ratios) > MOST * NOISE else 0


if __name__ == "__main__":
    raise SystemExit(main())
