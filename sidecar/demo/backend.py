"""The demo's backend: a small chat that contains no code for the sidecar."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from sidecar.demo import chat, failures, openai_api
from sidecar.demo.authorization import KEY
from sidecar.demo.streams import PACE
from sidecar.secret import Secret

PAGES: Final = Path(__file__).with_name("page")
ASSETS: Final = {
    "chat.css": "text/css",
    "chat.js": "text/javascript",
    "transports.js": "text/javascript",
    "error_texts.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
LARGEST_BODY: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Backend:
    """A backend that is listening."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The backend's origin, for the policy of the demo."""
        return f"http://{self.host}:{self.port}"


def application(*, key: Secret | None = None, pace: float = 0.03) -> web.Application:
    """Return the backend; `key` is what it demands as a bearer token, `pace` the seconds between words."""
    app = web.Application(client_max_size=LARGEST_BODY)
    app[KEY] = key
    app[PACE] = pace
    app.add_routes(
        [
            web.get("/", _page),
            web.get("/naive", _page),
            web.get("/assets/{name}", _asset),
            web.get("/api/about", _about),
            web.post("/api/chat", chat.post),
            web.get("/ws", chat.socket),
            web.post("/v1/chat/completions", openai_api.completions),
            web.get("/v1/models", openai_api.models),
            web.get("/v1/models/{id}", openai_api.model),
            web.get("/slow", failures.slow),
            web.get("/error", failures.error),
        ]
    )
    return app


@contextlib.asynccontextmanager
async def serving(
    *, key: Secret | None = None, host: str = "127.0.0.1", port: int = 0, pace: float = 0.03
) -> AsyncIterator[Backend]:
    """Serve the backend while the block runs; port 0 is any free one. A taken port raises OSError."""
    # handler_cancellation: a client that leaves ends the work for it, as a backend with a costly model wants.
    runner = web.AppRunner(
        application(key=key, pace=pace),
        access_log=None,
        handler_cancellation=True,
        handle_signals=False,
        shutdown_timeout=1,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield Backend(host, runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def _page(_: web.Request) -> web.Response:
    # One page for both views: its script reads the address and chooses how to put messages in.
    return _file("index.html", "text/html")


async def _asset(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name not in ASSETS:
        raise web.HTTPNotFound
    return _file(f"assets/{name}", ASSETS[name])


def _file(name: str, media_type: str) -> web.Response:
    # A few kilobytes each, read when asked for: an edited page shows at the next reload.
    return web.Response(body=(PAGES / name).read_bytes(), content_type=media_type, charset="utf-8")


async def _about(request: web.Request) -> web.Response:
    """Return the backend's own address, from which the page can be opened as a foreign origin."""
    address = request.transport.get_extra_info("sockname") if request.transport else None
    direct = f"http://{address[0]}:{address[1]}" if address else None
    return web.json_response({"name": "parrot chat", "direct": direct})
