"""`python -m sidecar.demo`: the backend alone, without a sidecar, for containers and experiments."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys

from sidecar.demo.backend import serving


def main() -> int:
    """Serve until SIGINT or SIGTERM. Any bearer token is taken for a key."""
    parser = argparse.ArgumentParser(prog="python -m sidecar.demo", description="The demo's chat backend, unguarded.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=3001, help="port to listen on (default %(default)s)")
    arguments = parser.parse_args()
    try:
        asyncio.run(_serve(arguments.host, arguments.port))
    except OSError as error:
        sys.stderr.write(f"demo backend: {error}\n")
        return 1
    return 0


async def _serve(host: str, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    async with serving(host=host, port=port) as backend:
        sys.stderr.write(f"demo backend: {backend.url}\n")
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
