"""What real frameworks read as the message is what was sanitized, or the request was refused."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.clients import NODE_MODULES, PYTHON, Backend, need_clients
from tests.support.sidecar import Running, threaded

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"
JSON = "application/json"
RAW = "<script>x</script>"
READERS = ("form_php", "form_flask", "form_express", "form_fastapi", "form_folding")


def part(name: str, value: str, extra: str = "") -> str:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n{value}\r\n'


def parts(*names: str) -> str:
    return (
        "".join(part(name, RAW) for name in names)
        + part("user_message", "hi")
        + "".join(part(name, RAW) for name in names)
    )


# Body, type, query.
ATTACKS = {
    "capitals": (f"user_message=hi&User_Message={RAW}", FORM, ""),
    "dot": (f"user_message=hi&user.message={RAW}", FORM, ""),
    "blank": (f"user_message=hi&user+message={RAW}", FORM, ""),
    "open bracket": (f"user_message=hi&user[message={RAW}", FORM, ""),
    "array": (f"user_message=hi&user_message[]={RAW}", FORM, ""),
    "leading blank": (f"user_message=hi&+user_message={RAW}", FORM, ""),
    "bracketed": (f"user_message=hi&[user_message]={RAW}", FORM, ""),
    "NUL": (f"user_message=hi&user_message%00x={RAW}", FORM, ""),
    "prefix": (f"user_message=hi&chat.User_Message={RAW}", FORM, ""),
    "below a name": (f"user_message=hi&chat[user_message]={RAW}", FORM, ""),
    "query": ("user_message=hi", FORM, "?user_message=%3Cscript%3Ex"),
    "charset sentinel": ("utf8=%26%2310003%3B&user_message=%26%2360%3Bscript%3E", FORM, ""),
    "multipart dot": (parts("user.message") + "--b--\r\n", MULTIPART, ""),
    "multipart array": (parts("user_message[]") + "--b--\r\n", MULTIPART, ""),
    "multipart blank": (parts(" user_message") + "--b--\r\n", MULTIPART, ""),
    "two boundaries": (
        (
            '--b\r\nContent-Disposition: form-data; name="user_message"\r\n\r\nhi\r\n--c\r\n'
            f'Content-Disposition: form-data; name="user_message"\r\n\r\n{RAW}\r\n--c--\r\n\r\n--b--\r\n'
        ),
        "multipart/form-data; xboundary=c; boundary=b",
        "",
    ),
    "extended name": (
        part("user_message", "hi") + part("x", RAW, "; name*=utf-8''user_message") + "--b--\r\n",
        MULTIPART,
        "",
    ),
    "JSON capitals": (json.dumps({"user_message": "hi", "USER_MESSAGE": RAW}), JSON, ""),
    "JSON NUL": (json.dumps({"user_message": "hi", "user_message\0": RAW}), JSON, ""),
    "JSON blank": (json.dumps({"user_message": "hi", "user_message ": RAW}), JSON, ""),
    "JSON alias": (json.dumps({"user_message": "hi", "userMessage": RAW}), JSON, ""),
}
HONEST = {
    "form": ("user_message=3+%3C+5+%26+%C3%A9&other=x", FORM),
    "multipart": (part("other", "x") + part("user_message", "3 < 5 & \u00e9") + "--b--\r\n", MULTIPART),
    "JSON": (json.dumps({"user_message": "3 < 5 & \u00e9", "other": "x"}), JSON),
}
# Which attacks work on which reader when nothing stands before it: so that the table is about real readers.
WORKS = {
    "form_php": {
        "dot",
        "blank",
        "open bracket",
        "array",
        "leading blank",
        "multipart dot",
        "multipart array",
        "two boundaries",
    },
    "form_flask": {"query", "array", "multipart array"},
    "form_express": {"array", "bracketed", "below a name", "charset sentinel", "multipart array"},
    "form_fastapi": {"JSON alias"},
    "form_folding": {"capitals", "NUL", "prefix", "leading blank", "JSON capitals", "JSON NUL", "JSON blank"},
}


def ask(url: str, body: str, media: str, query: str = "") -> tuple[int, Any]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    path = "/json" if media == JSON else "/chat"
    with contextlib.closing(connection):
        connection.request("POST", path + query, body.encode(), {"Content-Type": media})
        answer = connection.getresponse()
        text = answer.read().decode()
    return answer.status, text


def raw(text: str) -> bool:
    """Say whether the reader took markup for the message."""
    return "<script" in json.dumps(json.loads(text))


@pytest.fixture(scope="module", params=READERS)
def pair(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Backend, Running]]:
    need_clients(PYTHON, NODE_MODULES / "express", NODE_MODULES / "multer")
    folder: Path = tmp_path_factory.mktemp(request.param)
    message = {"fields": ["$.user_message"], "max_chars": 200}
    routes = [
        {"name": "form", "match": {"path": "/chat", "methods": ["POST"]}, "message": message},
        {"name": "json", "match": {"path": "/json", "methods": ["POST"]}, "message": message},
    ]
    limits = [{"name": "many", "per": "ip", "limit": 10_000, "window": "1m"}]
    with contextlib.closing(Backend(folder, request.param)) as backend:
        own = folder / "own"
        own.mkdir()
        clients = {"ban": None}
        with threaded(own, backend.url, routes=routes, rate_limits=limits, clients=clients) as front:
            yield request.param, backend, front


def test_readers_take_other_names_for_the_message(pair):
    name, backend, _ = pair
    worked = set()
    for attack, (body, media, query) in ATTACKS.items():
        status, text = ask(backend.url, body, media, query)
        if status == 200 and raw(text):
            worked.add(attack)
    assert worked >= WORKS[name], worked


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_read_was_sanitized(pair, attack):
    body, media, query = ATTACKS[attack]
    status, text = ask(f"http://127.0.0.1:{pair[2].public}", body, media, query)
    assert status in {400, 415}, text
    assert json.loads(text)["code"] in {"MESSAGE_INVALID", "UNSUPPORTED_MEDIA_TYPE"}


@pytest.mark.parametrize("kind", HONEST)
def test_a_plain_form_is_read_as_typed(pair, kind):
    name, _, front = pair
    if (name, kind) == ("form_folding", "multipart"):
        pytest.skip("this one reads no multipart")
    body, media = HONEST[kind]
    status, text = ask(f"http://127.0.0.1:{front.public}", body, media)
    assert status == 200, text
    assert set(json.loads(text)) == {"3 < 5 & \u00e9"}
    marked = body.replace("3+%3C+5", "%3Cscript").replace("3 < 5", "<script")
    status, text = ask(f"http://127.0.0.1:{front.public}", marked, media)
    assert status == 200, text
    assert {each.partition(" ")[0] for each in json.loads(text)} == {"&lt;script"}
