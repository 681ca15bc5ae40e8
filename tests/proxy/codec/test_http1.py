"""The codec: what has one reading passes, everything else is refused."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.proxy.codec.body_framing import ChunkedBody, LengthBody, body_of, chunk
from sidecar.proxy.codec.http1 import (
    CHUNKED,
    UNTIL_CLOSE,
    FieldReader,
    Malformed,
    find_head,
    parse_request_head,
    parse_response_head,
    request_framing,
)
from sidecar.vocabulary import Code

HOST = b"\r\nHost: a.example"


def parse(raw: bytes):
    head = parse_request_head(raw, 8192, 100, FieldReader())
    request_framing(head)
    return head


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        pytest.param(b"GET / HTTP/1.1", "no Host", id="host-missing"),
        pytest.param(b"GET / HTTP/1.1" + HOST + HOST, "repeated host", id="host-twice"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: ", "Host", id="host-empty"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: u@a.example", "Host", id="host-userinfo"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a.example/x", "Host", id="host-path"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a.example, b.example", "Host", id="host-list"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a example", "Host", id="host-blank"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a.example:99999", "Host", id="host-port-large"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a.example:x", "Host", id="host-port-letters"),
        pytest.param(b"GET  / HTTP/1.1" + HOST, "request line", id="two-blanks"),
        pytest.param(b"GET /a b HTTP/1.1" + HOST, "request line", id="blank-in-target"),
        pytest.param(b"GET /\x00 HTTP/1.1" + HOST, "request line", id="nul-in-target"),
        pytest.param(b"GET /\xc3\xa9 HTTP/1.1" + HOST, "request line", id="bytes-in-target"),
        pytest.param(b"GET /#x HTTP/1.1" + HOST, "fragment in target", id="fragment"),
        pytest.param(b"GET / HTTP/2.0" + HOST, "request line", id="http2"),
        pytest.param(b"GET / HTTP/1.2" + HOST, "request line", id="http1.2"),
        pytest.param(b"GET /", "request line", id="http0.9"),
        pytest.param(b"G\rET / HTTP/1.1" + HOST, "request line", id="cr-in-method"),
        pytest.param(b"GET / HTTP/1.1" + HOST + b"\r\nA : b", "field line", id="blank-before-colon"),
        pytest.param(b"GET / HTTP/1.1" + HOST + b"\r\nA: b\r\n c", "field line", id="obs-fold"),
        pytest.param(b"GET / HTTP/1.1" + HOST + b"\r\n A: b", "field line", id="leading-blank"),
        pytest.param(b"GET / HTTP/1.1" + HOST + b"\r\nA: b\x00", "field line", id="nul-in-value"),
        pytest.param(b"GET / HTTP/1.1" + HOST + b"\r\nA: b\rc", "field line", id="bare-cr"),
        pytest.param(b"GET / HTTP/1.1" + HOST + b"\r\nA: b\nC: d", "field line", id="bare-lf"),
        pytest.param(b"GET / HTTP/1.1" + HOST + b"\r\nnocolon", "field line", id="no-colon"),
        pytest.param(b"GET / HTTP/1.1" + HOST + b"\r\n: x", "field line", id="empty-name"),
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", "Content-Length and Transfer-Encoding", id="cl-te"),
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: 1\r\nContent-Length: 2", "repeated content-length", id="cl-cl"),
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: 1, 1", "Content-Length", id="cl-list"),
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: +1", "Content-Length", id="cl-plus"),
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: -1", "Content-Length", id="cl-minus"),
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: 0x1", "Content-Length", id="cl-hex"),
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: ", "Content-Length", id="cl-empty"),
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: 99999999999999999999", "Content-Length", id="cl-huge"),
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: gzip, chunked", "Transfer-Encoding", id="te-gzip"),
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: chunked, chunked", "Transfer-Encoding", id="te-twice"),
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: xchunked", "Transfer-Encoding", id="te-odd"),
        pytest.param(b"POST / HTTP/1.0" + HOST + b"\r\nTransfer-Encoding: chunked", "Transfer-Encoding", id="te-in-1.0"),
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: chunked\r\ntransfer-encoding: chunked", "repeated transfer-encoding", id="te-te"),
        pytest.param(b"GET http://b.example/ HTTP/1.1" + HOST, "absolute target with another Host", id="absolute-other-host"),
        pytest.param(b"GET ftp://a.example/ HTTP/1.1" + HOST, "target form", id="absolute-ftp"),
        pytest.param(b"GET a.example:80 HTTP/1.1" + HOST, "target form", id="authority-form"),
        pytest.param(b"GET * HTTP/1.1" + HOST, "target form", id="asterisk-get"),
        pytest.param(b"GET / HTTP/1.1" + HOST + b"\r\nOrigin: https://a\r\nOrigin: https://b", "repeated origin", id="two-origins"),
        pytest.param(b"GET / HTTP/1.1" + HOST + b"\r\nContent-Type: a/b\r\ncontent-type: c/d", "repeated content-type", id="two-types"),
        pytest.param(b"GET /" + b"a" * 9000 + b" HTTP/1.1" + HOST, "target too long", id="long-target"),
    ],
)  # fmt: skip
def test_a_head_with_more_than_one_reading_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(raw)
    assert (caught.value.reason, caught.value.code) == (reason, Code.REQUEST_MALFORMED)


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PRI", "get", "-bl", "MKCOLA", "FOO"])
def test_unknown_methods_are_not_allowed(method: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(f"{method} / HTTP/1.1\r\nHost: a".encode())
    assert caught.value.code is Code.METHOD_NOT_ALLOWED


@pytest.mark.parametrize(
    ("raw", "target", "path"),
    [
        pytest.param(b"GET /a%41%7e//b/../c?q=%7E+%20 HTTP/1.1" + HOST, b"/a%41%7e//b/../c?q=%7E+%20", "/a%41%7e//b/../c", id="raw"),
        pytest.param(b"GET http://a.example/x?y HTTP/1.1" + HOST, b"/x?y", "/x", id="absolute"),
        pytest.param(b"GET http://A.EXAMPLE HTTP/1.1" + HOST, b"/", "/", id="absolute-no-path"),
        pytest.param(b"GET http://a.example?q HTTP/1.1" + HOST, b"/?q", "/", id="absolute-query-only"),
        pytest.param(b"OPTIONS * HTTP/1.1" + HOST, b"*", "*", id="asterisk"),
        pytest.param(b"GET / HTTP/1.0", b"/", "/", id="1.0-without-host"),
    ],
)  # fmt: skip
def test_targets(raw: bytes, target: bytes, path: str) -> None:
    head = parse(raw)
    assert (head.target, head.path) == (target, path)


def test_repeated_fields_are_joined_and_values_are_trimmed() -> None:
    head = parse(b"GET / HTTP/1.1" + HOST + b"\r\nA:\t b \r\na: c\r\nCookie: x=1\r\nCookie: y=2")
    assert head.index[b"a"] == b"b, c"
    assert head.index[b"cookie"] == b"x=1; y=2"
    assert head.lines[1] == (b"a", b"A:\t b ")


def test_too_many_fields() -> None:
    with pytest.raises(Malformed) as caught:
        parse_request_head(b"GET / HTTP/1.1" + HOST + b"\r\nA: b" * 10, 100, 10, FieldReader())
    assert caught.value.code is Code.HEADERS_TOO_LARGE


@pytest.mark.parametrize(
    ("buffer", "found"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n", -1, id="half"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 14, id="whole"),
        pytest.param(b"GET / HTTP/1.1\r", -1, id="cr-so-far"),
    ],
)
def test_find_head(buffer: bytes, found: int) -> None:
    assert find_head(buffer, 0) == found


@pytest.mark.parametrize("buffer", [b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\nHost: a\n\n", b"\n"])
def test_a_bare_line_feed_is_refused_at_once(buffer: bytes) -> None:
    with pytest.raises(Malformed):
        find_head(buffer, 0)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"5\n", id="bare-lf"),
        pytest.param(b"0x5\r\nhello\r\n", id="hex-prefix"),
        pytest.param(b"-5\r\nhello\r\n", id="minus"),
        pytest.param(b" 5\r\nhello\r\n", id="leading-blank"),
        pytest.param(b"5 \r\nhello\r\n", id="trailing-blank"),
        pytest.param(b"5\r\nhelloX", id="data-too-long"),
        pytest.param(b"5\r\nhello\n0\r\n\r\n", id="lf-after-data"),
        pytest.param(b"\r\n5\r\nhello\r\n", id="empty-size"),
        pytest.param(b"5; a\r\nhello\r\n", id="blank-in-extension"),
        pytest.param(b"5;a\x00\r\nhello\r\n", id="nul-in-extension"),
        pytest.param(b"5;\r\nhello\r\n", id="empty-extension"),
        pytest.param(b"5;" + b"a" * 300, id="endless-extension"),
        pytest.param(b"FFFFFFFFFFFFFFFFF\r\n", id="size-overflow"),
        pytest.param(b"0\r\nbad trailer\r\n\r\n", id="odd-trailer"),
        pytest.param(b"0\r\nA: b\n\r\n", id="lf-in-trailer"),
        pytest.param(b"0\r\nA: " + b"b" * 9000, id="endless-trailer"),
    ],
)
def test_odd_chunk_syntax_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        read_byte_by_byte(body)


def read_byte_by_byte(body: bytes) -> None:
    reader, left = ChunkedBody(), b""
    for byte in body:
        _, left = reader.take(left + bytes([byte]))


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.data())
def test_chunks_come_back_whole_at_any_cut(pieces: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(chunk(piece) for piece in pieces) + b"0\r\nTrailer: x\r\n\r\nNEXT"
    cuts = sorted(data.draw(st.sets(st.integers(0, len(wire)), max_size=8)))
    reader, left, got = ChunkedBody(), b"", b""
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        piece, left = reader.take(left + wire[start:end])
        got += piece
    assert (got, left, reader.done) == (b"".join(pieces), b"NEXT", True)


def test_a_length_leaves_the_next_request_alone() -> None:
    body = LengthBody(3)
    assert body.take(b"ab") == (b"ab", b"")
    assert body.take(b"cGET") == (b"c", b"GET")
    assert body.done


@pytest.mark.parametrize(
    ("raw", "method", "framing", "reusable"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3", "GET", 3, True, id="length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3", "GET", 3, True, id="equal-lengths"),
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
    answer = parse_response_head(raw, method, FieldReader(frozenset()))
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
    ],
)
def test_broken_answers(raw: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        parse_response_head(raw, "GET", FieldReader())
    assert caught.value.code is Code.BACKEND_BROKEN


TOKENS = st.text("abcXYZ0-9_-!#", min_size=1, max_size=8)
ODD = st.sampled_from(["\r", "\n", "\x00", " ", "\t", ":", "\x7f", "é", "\x0b", "a", "/", "?"])


@given(
    st.sampled_from(["GET", "POST", "PUT"]),
    st.lists(st.one_of(TOKENS, ODD), max_size=4),
    st.lists(
        st.tuples(st.lists(st.one_of(TOKENS, ODD), max_size=2), st.lists(st.one_of(TOKENS, ODD), max_size=4)),
        max_size=3,
    ),
)
def test_what_is_accepted_is_accepted_by_an_independent_strict_parser(method, target, fields) -> None:
    lines = [f"{method} /{''.join(target)} HTTP/1.1", "Host: a.example"]
    lines += [f"{''.join(name)}: {''.join(value)}" for name, value in fields]
    raw = "\r\n".join(lines).encode("latin-1")
    try:
        head = parse(raw)
    except Malformed:
        return
    peer = h11.Connection(h11.SERVER)
    peer.receive_data(raw + b"\r\n\r\n")
    event = peer.next_event()
    assert isinstance(event, h11.Request)
    assert event.target == head.target
    read = [(name, line.partition(b":")[2].strip(b" \t")) for name, line in head.lines]
    assert read == [(name.lower(), value) for name, value in event.headers]


def test_body_of_names_the_reader() -> None:
    assert body_of(0).done
    assert not body_of(CHUNKED).done
