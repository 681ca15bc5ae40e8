"""The console: a few static files, read once, served with a policy that lets them do nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aiohttp import web

FOLDER: Final = Path(__file__).parent / "console"
TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
# Its own scripts and styles, requests to its own origin, and nothing from elsewhere.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)


class Console:
    """The console's files by path. What is not among them does not exist: no path is ever joined."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files = {
            f"/console/{path.relative_to(folder).as_posix()}": (path.read_bytes(), TYPES[path.suffix])
            for path in sorted(folder.rglob("*"))
            if path.suffix in TYPES
        }
        self._files["/console/"] = self._files["/console/index.html"]

    def page(self, path: str) -> web.Response | None:
        """Return the response for a path, None when there is nothing."""
        if path in ("/", "/console"):
            return web.Response(status=308, headers={"Location": "/console/"})
        found = self._files.get(path)
        if found is None:
            return None
        body, content_type = found
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=headers)
