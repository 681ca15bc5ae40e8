"""A link that signs in to the console.

The token is in the fragment, which a browser keeps to itself: it is in no request, no log of a proxy and no Referer.
The page takes it out of the address bar at once. It stays in the browser's history, so a link is for a short time.
"""

from __future__ import annotations

from urllib.parse import quote


def console_link(base: str, token: str) -> str:
    """Return the link for a management listener at `base`, such as `http://127.0.0.1:9090`."""
    return f"{base.rstrip('/')}/console/#token={quote(token, safe='')}"
