"""`session: required` works for a page that never asks for a session: its navigation brings the cookie."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.backends import Serving
from tests.support.raw import Message, Raw, get, post
from tests.support.refused import check_refusal
from tests.support.sidecar import Running, threaded

NAVIGATE = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Accept: text/html")
SECTIONS: dict[str, Any] = {
    "sessions": {"mode": "issue"},
    "routes": [
        {"name": "chat", "match": {"path": "/api/chat", "methods": ["POST"]}, "session": "required"},
        {"name": "inner", "match": {"path": "/inner"}, "session": "required"},
    ],
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("navigation")
    with Serving() as backend, threaded(folder, backend.url, **SECTIONS) as running:
        yield running


@pytest.fixture
def client(running: Running) -> Iterator[Raw]:
    with running.connect() as client:
        yield client


def cookie_of(reply: Message) -> str:
    (line,) = reply.all(b"set-cookie")
    assert b"; Secure; HttpOnly; SameSite=Lax" in line
    return "Cookie: " + line.partition(b";")[0].decode()


@pytest.mark.parametrize("path", ["/", "/inner"])
def test_a_page_loads_and_its_requests_pass(client: Raw, path: str) -> None:
    check_refusal(client.send(post("/api/chat", b"{}")).response(), 400, "INVALID_SESSION_ID", origin=False)
    page = client.send(get(path, *NAVIGATE)).response()
    assert page.status == 200
    cookie = cookie_of(page)
    assert client.send(post("/api/chat", b"{}", cookie)).response().status == 200
    again = client.send(get(path, cookie, *NAVIGATE)).response()
    assert (again.status, again.all(b"set-cookie")) == (200, [])


def test_a_stale_cookie_is_replaced_on_a_page_that_needs_one(client: Raw) -> None:
    stale = "Cookie: __Host-session=" + "A" * 43 + ".ffffffff"
    check_refusal(client.send(post("/inner", b"{}", stale)).response(), 400, "INVALID_SESSION_ID", origin=False)
    page = client.send(get("/inner", stale, *NAVIGATE)).response()
    assert page.status == 200
    assert client.send(get("/inner", cookie_of(page))).response().status == 200


def test_programs_and_subresources_get_none(client: Raw) -> None:
    for lines in ((), ("Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image")):
        reply = client.send(get("/", *lines)).response()
        assert (reply.status, reply.all(b"set-cookie")) == (200, [])
    check_refusal(client.send(get("/inner")).response(), 400, "INVALID_SESSION_ID", origin=False)


def test_it_is_recorded(running: Running, client: Raw) -> None:
    client.send(get("/", *NAVIGATE)).response()
    assert json.dumps(running.logged(event="SESSION_CREATED")["detail"]) == '{"navigation": true}'
