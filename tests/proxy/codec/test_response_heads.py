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
        pytest.param(b"HTTP/1.1 200 OK\r\n Content-Length: 3", id="folded-status-line"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\tA: b\r\nContent-Length: 3", id="folded-status-line-tab"),
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


KNOWN = b"HTTP/1.1 200 OK\r\nDate: Fri, 27 Nov 2026 07:53:06 GMT\r\nContent-Length: 3\r\nX-A: b\r\n\r\n"


def known_reader(raw: bytes) -> ResponseHeadReader:
    reader = ResponseHeadReader()
    for _ in range(3):
        assert reader.read(raw, "GET").length == 3
    return reader


def test_a_head_that_comes_again_has_its_own_date_and_length() -> None:
    reader = known_reader(KNOWN)
    later = KNOWN.replace(b": 3", b": 44").replace(b"07:53:06", b"08:00:00")
    answer = reader.read(later, "GET")
    fresh = ResponseHeadReader().read(later, "GET")
    assert answer.known is not None
    assert fresh.known is None
    for name in ("status", "lines", "index", "framing", "length", "reusable"):
        assert getattr(answer, name) == getattr(fresh, name), name
    assert reader.read(KNOWN, "HEAD").framing == 0


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(KNOWN.replace(b"X-A: b", b"Content-Length: 3"), id="two-lengths"),
        pytest.param(KNOWN.replace(b"X-A: b", b"content-length: 3"), id="two-spellings"),
        pytest.param(KNOWN.replace(b"Content-Length: 3", b"Content-Length: 3, 3"), id="a-list"),
    ],
)
def test_another_number_makes_no_second_length_pass(raw: bytes) -> None:
    reader = known_reader(raw)
    with pytest.raises(Malformed):
        reader.read(raw.replace(b"Length: 3", b"Length: 4", 1), "GET")


@pytest.mark.parametrize(
    "odd", [b"Date: Fri, 27 Nov 2026\x0007:53:06 GMT", b"Date: Fri, 27 Nov 2026 07:5\r\nX: GMT", b"Date: \x7f"]
)
def test_what_is_no_date_is_read_as_ever(odd: bytes) -> None:
    raw = KNOWN.replace(b"Date: Fri, 27 Nov 2026 07:53:06 GMT", odd)

    def read(reader: ResponseHeadReader) -> object:
        try:
            return reader.read(raw, "GET").lines
        except Malformed as error:
            return error.code

    assert read(known_reader(KNOWN)) == read(ResponseHeadReader())


def test_known_heads_are_bounded() -> None:
    reader = ResponseHeadReader()
    for number in range(3000):
        for _ in range(2):
            reader.read(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-A: %d\r\n\r\n" % number, "GET")
    assert len(reader._known) <= 128
    assert len(reader._seen) <= 1024
