"""Heads of responses: aiohttp reads them leniently, so the strict rules are held here."""

from __future__ import annotations

import pytest

from sidecar.proxy.codec.response_heads import ResponseHeadReader
from sidecar.proxy.strict_rules import CHUNKED, UNTIL_CLOSE, Malformed
from sidecar.vocabulary import Code

READER = ResponseHeadReader()


@pytest.mark.parametrize(
    ("raw", "method", "framing", "reusable"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3", "GET", 3, True, id="length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3", "GET", 3, True, id="equal-lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3, 3", "GET", 3, True, id="listed-lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3", "HEAD", 0, True, id="head"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3", "GET", 0, True, id="304"),
        pytest.param(b"HTTP/1.1 204 No Content", "GET", 0, True, id="204"),
        pytest.param(b"HTTP/1.1 200\r\nTransfer-Encoding: chunked", "GET", CHUNKED, True, id="chunked-no-phrase"),
        pytest.param(b"HTTP/1.1 200 OK", "GET", UNTIL_CLOSE, False, id="until-close"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 3", "GET", 3, False, id="1.0"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close", "GET", 3, False, id="close"),
    ],
)
def test_answers(raw: bytes, method: str, framing: int, reusable: bool) -> None:
    answer = READER.read(raw + b"\r\n\r\n", method)
    assert (answer.framing, answer.reusable) == (framing, reusable)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"garbage", id="garbage"),
        pytest.param(b"HTTP/1.1 20 OK", id="two-digits"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4", id="two-lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked", id="both"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip", id="coding"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\r\n folded", id="fold"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA : b", id="blank-before-colon"),
        pytest.param(b"HTTP/1.1 200 OK\nA: b", id="bare-lf"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\rC: d", id="bare-cr"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\x00", id="nul"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\x1b[31m", id="escape"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\x7f", id="delete"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3, 4", id="two-listed-lengths"),
    ],
)
def test_broken_answers(raw: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        READER.read(raw + b"\r\n\r\n", "GET")
    assert caught.value.code is Code.BACKEND_BROKEN
