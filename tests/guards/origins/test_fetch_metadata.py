"""Cross-site state changes are refused by what browsers say of a request."""

from __future__ import annotations

import pytest

from sidecar.decision import PASS, Refuse
from sidecar.guards.origins.fetch_metadata import FetchMetadataGuard
from sidecar.vocabulary import Code
from tests.support.exchanges import exchange

ALLOWED = b"https://your-website.com"
SITES = {
    # method, Sec-Fetch-*, allowed Origin, passes
    "not said": ("POST", {}, None, True),
    "own page": ("POST", {"Sec_Fetch_Site": "same-origin"}, None, True),
    "a person": ("POST", {"Sec_Fetch_Site": "none"}, None, True),
    "cross-site": ("POST", {"Sec_Fetch_Site": "cross-site"}, None, False),
    "cross-site, allowed": ("POST", {"Sec_Fetch_Site": "cross-site"}, ALLOWED, True),
    "same-site": ("POST", {"Sec_Fetch_Site": "same-site"}, None, False),
    "same-site, allowed": ("POST", {"Sec_Fetch_Site": "same-site"}, ALLOWED, True),
    "unknown value": ("POST", {"Sec_Fetch_Site": "near"}, None, False),
    "empty value": ("POST", {"Sec_Fetch_Site": ""}, None, False),
    "capitals": ("POST", {"Sec_Fetch_Site": "SAME-ORIGIN"}, None, False),
    "PUT": ("PUT", {"Sec_Fetch_Site": "cross-site"}, None, False),
    "DELETE": ("DELETE", {"Sec_Fetch_Site": "cross-site"}, None, False),
    "a made-up method": ("BREW", {"Sec_Fetch_Site": "cross-site"}, None, False),
    "form": ("POST", {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}, None, False),
    "link": ("GET", {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}, None, True),
    "image": ("GET", {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}, None, True),
    "HEAD": ("HEAD", {"Sec_Fetch_Site": "cross-site"}, None, True),
    "preflight": ("OPTIONS", {"Sec_Fetch_Site": "cross-site"}, None, True),
    "socket": ("GET", {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "websocket"}, None, False),
    "socket, allowed": ("GET", {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "websocket"}, ALLOWED, True),
    "own socket": ("GET", {"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "websocket"}, None, True),
}


@pytest.mark.parametrize(("method", "fields", "origin", "passes"), SITES.values(), ids=SITES)
def test_fetch_metadata(method, fields, origin, passes) -> None:
    asked = exchange(method, **fields)
    asked.origin = origin
    decision = FetchMetadataGuard().check(asked)
    if passes:
        assert decision is PASS
    else:
        assert isinstance(decision, Refuse)
        assert decision.code is Code.CSRF_BLOCKED
