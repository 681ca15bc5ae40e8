"""Cookies on the wire: those of the backend on their way to the browser, those of the browser on their way back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.backends import Backend, Serving, answer
from tests.support.raw import get
from tests.support.sidecar import TRUSTED, Running, threaded

SET = ["_streamlit_xsrf=2|a; Path=/", "csrf_token=1", "__Host-csrftoken=1; Path=/; Secure", "NEXT_LOCALE=de", "sid=1"]


def test_cookies_that_scripts_read_keep_their_flags(front: Running, backend: Backend):
    with front.connect(TRUSTED) as client:
        client.send(get("/", "X-Forwarded-Proto: https"))
        peer = backend.accept()
        peer.request()
        peer.send(answer(b"ok", *(f"Set-Cookie: {line}" for line in SET)))
        assert client.response().all(b"set-cookie") == [
            b"_streamlit_xsrf=2|a; Path=/; Secure; SameSite=Lax",
            b"csrf_token=1; Secure; SameSite=Lax",
            b"__Host-csrftoken=1; Path=/; Secure; SameSite=Lax",
            b"NEXT_LOCALE=de; Secure; SameSite=Lax",
            b"sid=1; Secure; HttpOnly; SameSite=Lax",
        ]


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        pytest.param({"readable": ["Sid"]}, b"sid=1; SameSite=Lax", id="readable"),
        pytest.param({"same_site": "none"}, b"sid=1; Secure; HttpOnly; SameSite=None", id="none"),
        pytest.param({"partitioned": True}, b"sid=1; Secure; HttpOnly; SameSite=None; Partitioned", id="partitioned"),
    ],
)
def test_the_policys_word_on_cookies(tmp_path: Path, section, expected):
    with (
        Serving(lambda _: answer(b"ok", "Set-Cookie: sid=1")) as backend,
        threaded(tmp_path, backend.url, cookies=section) as running,
        running.connect() as client,
    ):
        assert client.send(get("/")).response().get(b"set-cookie") == expected


def test_the_sessions_own_cookie_is_kept_in_frames_too(tmp_path: Path):
    with (
        Serving() as backend,
        threaded(tmp_path, backend.url, cookies={"partitioned": True}, sessions={"mode": "issue"}) as running,
        running.connect() as client,
    ):
        line = client.send(get("/api/session", "Content-Length: 0", method="POST")).response().get(b"set-cookie")
        assert line is not None
        assert line.endswith(b"; Secure; HttpOnly; SameSite=None; Partitioned")


def test_several_cookie_lines_go_on_as_one(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/", "Cookie: a=1", "X-Between: 1", "cookie: b=2; c=3", "Cookie: d=4"))
        peer = backend.accept()
        assert peer.request().all(b"cookie") == [b"a=1; b=2; c=3; d=4"]
        peer.send(answer())
        assert client.response().status == 200
