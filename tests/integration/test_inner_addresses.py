"""A backend that receives its inner Host: clients get the public address in place of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.backends import Serving, answer
from tests.support.raw import get
from tests.support.sidecar import TRUSTED, threaded

LINES = {
    # what the backend says (INNER stands for its host and port), what the client receives
    "f13": ("Location: http://INNER/next", b"https://chat.example/next"),
    "another spelling of this machine": ("Location: http://LOCALHOST/next?a=b", b"https://chat.example/next?a=b"),
    "without a scheme": ("Location: //INNER/next", b"https://chat.example/next"),
    "without a path": ("Location: http://INNER", b"https://chat.example"),
    "another host": ("Location: https://login.example/next", b"https://login.example/next"),
    "another port": ("Location: http://127.0.0.1:1/next", b"http://127.0.0.1:1/next"),
    "a host that only begins so": ("Location: http://INNER.evil.example/", b"http://INNER.evil.example/"),
    "relative": ("Location: /next?u=http://INNER/", b"/next?u=http://INNER/"),
    "content": ("Content-Location: http://INNER/a", b"https://chat.example/a"),
    "refresh": ("Refresh: 5; url=http://INNER/a", b"5; url=https://chat.example/a"),
    "refresh in quotes": ("Refresh: 5;URL='http://INNER/a'", b"5;URL='https://chat.example/a'"),
    "link": (
        'Link: <http://INNER/a>; rel="next", <https://cdn.example/b>; rel="preload", <http://INNER>; rel=up',
        b'<https://chat.example/a>; rel="next", <https://cdn.example/b>; rel="preload", <https://chat.example>; rel=up',
    ),
    "cookie": ("Set-Cookie: a=1; Domain=127.0.0.1; Path=/", b"a=1; Path=/; Secure; HttpOnly; SameSite=Lax"),
    "public cookie": (
        "Set-Cookie: a=1; Domain=chat.example; Path=/",
        b"a=1; Domain=chat.example; Path=/; Secure; HttpOnly; SameSite=Lax",
    ),
}


@pytest.mark.parametrize(("line", "heard"), LINES.values(), ids=LINES)
def test_the_inner_address_becomes_the_public_one(tmp_path: Path, line: str, heard: bytes):
    with Serving() as backend:
        inner = f"127.0.0.1:{backend.port}"
        said = line.replace("INNER", inner).replace("LOCALHOST", f"localhost:{backend.port}")
        backend.reply = lambda _: answer(b"", said, status="302 Found")
        with (
            threaded(tmp_path, backend.url, backend={"preserve_host": False}) as running,
            running.connect(TRUSTED) as client,
        ):
            reply = client.send(get("/", "X-Forwarded-Proto: https")).response()
            name = line.partition(":")[0].encode()
            assert reply.get(name) == heard.replace(b"INNER", inner.encode())
            assert backend.seen[-1].get(b"host") == inner.encode()
            assert backend.seen[-1].get(b"x-forwarded-host") == b"chat.example"


def test_a_backend_that_hears_the_public_host_is_not_corrected(tmp_path: Path):
    with Serving() as backend:
        location = f"http://127.0.0.1:{backend.port}/next"
        backend.reply = lambda _: answer(b"", f"Location: {location}", status="302 Found")
        with threaded(tmp_path, backend.url) as running, running.connect() as client:
            assert client.send(get("/")).response().get(b"location") == location.encode()
