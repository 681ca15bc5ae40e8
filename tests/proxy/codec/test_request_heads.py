"""Heads of requests: what has one reading passes, everything else is refused."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.proxy.codec.request_heads import RequestHeadReader
from sidecar.proxy.strict_rules import Malformed, request_framing
from sidecar.vocabulary import Code

HOST = b"\r\nHost: a.example"


READER = RequestHeadReader()
"""One for all, as in a listener: what it remembers must not change what it reads."""


def parse(raw: bytes, most_fields: int = 100):
    head = READER.read(raw + b"\r\n\r\n", 8192, most_fields)
    request_framing(head)
    return head


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        pytest.param(b"GET / HTTP/1.1", "field line", id="host-missing"),
        pytest.param(b"GET / HTTP/1.1" + HOST + HOST, "field line", id="host-twice"),
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
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", "field line", id="cl-te"),
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: 1\r\nContent-Length: 2", "field line", id="cl-cl"),
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: 1, 1", "field line", id="cl-list"),
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: +1", "field line", id="cl-plus"),
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: -1", "field line", id="cl-minus"),
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: 0x1", "field line", id="cl-hex"),
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: ", "field line", id="cl-empty"),
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: 99999999999999999999", "field line", id="cl-huge"),
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: gzip, chunked", "Transfer-Encoding", id="te-gzip"),
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: chunked, chunked", "field line", id="te-twice"),
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: xchunked", "Transfer-Encoding", id="te-odd"),
        pytest.param(b"POST / HTTP/1.0" + HOST + b"\r\nTransfer-Encoding: chunked", "Transfer-Encoding", id="te-in-1.0"),
        pytest.param(b"POST / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: chunked\r\ntransfer-encoding: chunked", "field line", id="te-te"),
        pytest.param(b"GET http://b.example/ HTTP/1.1" + HOST, "absolute target with another Host", id="absolute-other-host"),
        pytest.param(b"GET ftp://a.example/ HTTP/1.1" + HOST, "target form", id="absolute-ftp"),
        pytest.param(b"GET a.example:80 HTTP/1.1" + HOST, "target form", id="authority-form"),
        pytest.param(b"GET * HTTP/1.1" + HOST, "target form", id="asterisk-get"),
        pytest.param(b"GET / HTTP/1.1" + HOST + b"\r\nOrigin: https://a\r\nOrigin: https://b", "repeated origin", id="two-origins"),
        pytest.param(b"GET / HTTP/1.1" + HOST + b"\r\nContent-Type: a/b\r\ncontent-type: c/d", "field line", id="two-types"),
    ],
)  # fmt: skip
def test_a_head_with_more_than_one_reading_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(raw)
    assert (caught.value.reason, caught.value.code) == (reason, Code.REQUEST_MALFORMED)


def test_a_long_target_has_a_status_of_its_own() -> None:
    with pytest.raises(Malformed) as caught:
        parse(b"GET /" + b"a" * 9000 + b" HTTP/1.1" + HOST)
    assert caught.value.code is Code.TARGET_TOO_LONG


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
        parse(b"GET / HTTP/1.1" + HOST + b"\r\nA: b" * 10, 10)
    assert caught.value.code is Code.HEADERS_TOO_LARGE


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
