"""The console's files: each is served with its type and its policy, and nothing else is."""

from __future__ import annotations

import pytest

from sidecar.admin.console_files import FOLDER, POLICY

FILES = sorted(path for path in FOLDER.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())
async def test_every_file_is_served_with_its_type_and_holds_nothing_inline(client, path):
    text = path.read_text()
    async with client.get(f"/console/{path.relative_to(FOLDER).as_posix()}") as response:
        assert (response.status, await response.text()) == (200, text)
        assert response.headers["Content-Security-Policy"] == POLICY
        assert response.content_type in ("text/html", "text/css", "text/javascript", "image/svg+xml")
    for forbidden in ("innerHTML", "eval(", " style=", " onclick=", "localStorage", "sessionStorage", "https://"):
        assert forbidden not in text


@pytest.mark.parametrize(
    "path", ["/console/../parts.py", "/console/%2e%2e/parts.py", "/console/none.js", "/console//", "/consoles"]
)
async def test_nothing_else_is_served(client, path):
    import aiohttp
    from yarl import URL

    url = URL(str(client._base_url.origin()) + path, encoded=True)
    async with aiohttp.ClientSession() as plain, plain.get(url) as response:
        assert response.status == 404
