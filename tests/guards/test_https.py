"""Plain http is redirected or refused when only https is served."""

from __future__ import annotations

import pytest

from sidecar.decision import PASS, Answer, Refuse
from sidecar.guards.https import HttpsGuard
from sidecar.vocabulary import Code
from tests.support.exchanges import exchange

REDIRECT = [(b"Location", b"https://chat.example.com/a?b=%20"), (b"Cache-Control", b"no-store")]
PLAIN = Refuse(Code.FORBIDDEN, {"reason": "https only"})
HTTPS = {
    "https": ("POST", {}, True, PASS),
    "GET": ("GET", {}, False, Answer(308, REDIRECT)),
    "HEAD": ("HEAD", {}, False, Answer(308, REDIRECT)),
    "with a port": ("GET", {"Host": "chat.example.com:8080"}, False, Answer(308, REDIRECT)),
    "POST": ("POST", {}, False, PLAIN),
    "OPTIONS": ("OPTIONS", {}, False, PLAIN),
    "WebSocket": ("GET", {"Upgrade": "websocket"}, False, PLAIN),
    "no host": ("GET", {"Host": ""}, False, PLAIN),
}


@pytest.mark.parametrize(("method", "fields", "secure", "expected"), HTTPS.values(), ids=HTTPS)
def test_https_only(method, fields, secure, expected) -> None:
    asked = exchange(method, "/a?b=%20", secure=secure, **fields)
    assert HttpsGuard().check(asked) == expected


def test_a_redirect_keeps_to_the_host() -> None:
    answer = HttpsGuard().check(exchange("GET", "//evil.com/x"))
    assert isinstance(answer, Answer)
    assert answer.fields[0] == (b"Location", b"https://chat.example.com//evil.com/x")
