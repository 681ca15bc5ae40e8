"""Heads and chunked bodies: what our reader accepts, h11 reads the same way, however the bytes were cut."""

from __future__ import annotations

import engine
import h11

with engine.instrumented():
    from sidecar.proxy.codec.chunked import ChunkedRequest
    from sidecar.proxy.codec.request_heads import RequestHeadReader
    from sidecar.proxy.codec.response_heads import ResponseHeadReader
    from sidecar.proxy.strict_rules import CHUNKED, Malformed, find_end_of_head, request_framing

OPEN = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
REQUESTS, RESPONSES = RequestHeadReader(), ResponseHeadReader()
"""One for all, as in a process: what it remembers must not change what it reads."""


def target(data: engine.atheris.FuzzedDataProvider) -> None:
    kind, seed = data.ConsumeIntInRange(0, 2), data.ConsumeIntInRange(1, 64)
    rest = data.ConsumeBytes(data.remaining_bytes())
    (request, response, chunked)[kind](rest, seed)


def head_of(data: bytes, step: int) -> bytes | None:
    """Return the head, found piece by piece as it would come; None: refused, or not complete."""
    searched = 0
    for end in [*range(step, len(data), step), len(data)]:
        try:
            at = find_end_of_head(data[:end], searched)
        except Malformed:
            return None
        if at >= 0:
            assert at == data.find(b"\r\n\r\n")
            return data[:at]
        searched = end
    return None


def request(data: bytes, step: int) -> None:
    raw = head_of(data, step)
    if raw is None:
        return
    try:
        head = REQUESTS.read(raw + b"\r\n\r\n", 8192, 100)
        framing = request_framing(head)
    except Malformed:
        return
    line = raw.split(b"\r\n", 1)[0]
    peer = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    peer.receive_data(raw + b"\r\n\r\n")
    event = peer.next_event()
    assert isinstance(event, h11.Request), event
    assert event.method.decode() == head.method
    assert event.target == line.split(b" ")[1]
    assert event.target.endswith(head.target) or head.target == b"/" or head.target[:2] == b"/?"
    assert event.http_version == b"1.%d" % head.version
    ours = [(name, value.partition(b":")[2].strip(b" \t")) for name, value in head.lines]
    # h11 writes the coding in lower case.
    assert [(name, value.lower()) for name, value in event.headers] == [(name, value.lower()) for name, value in ours]
    theirs = dict(event.headers)
    if framing == CHUNKED:
        assert theirs[b"transfer-encoding"] == b"chunked"
    else:
        assert b"transfer-encoding" not in theirs
        assert int(theirs.get(b"content-length", b"0")) == framing
    assert b"\r" not in head.target + b"".join(line for _, line in head.lines)


def response(data: bytes, step: int) -> None:
    raw = head_of(data, step)
    if raw is None:
        return
    try:
        answer = RESPONSES.read(raw + b"\r\n\r\n", "GET")
    except Malformed:
        return
    if answer.status < 200 or answer.status > 599:
        return
    peer = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    peer.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    peer.send(h11.EndOfMessage())
    peer.receive_data(raw + b"\r\n\r\n")
    event = peer.next_event()
    assert isinstance(event, h11.Response), event
    assert event.status_code == answer.status
    theirs = dict(event.headers)
    if answer.framing == CHUNKED:
        assert theirs[b"transfer-encoding"] == b"chunked"
    elif answer.framing >= 0 and answer.status not in (204, 304):
        assert int(theirs[b"content-length"]) == answer.framing


def taken(pieces: list[bytes]) -> tuple[bytes, bytes, bool] | None:
    body, out = ChunkedRequest(), b""
    for number, piece in enumerate(pieces):
        try:
            got, left = body.take(piece)
        except Malformed:
            return None
        out += got
        if body.done:
            return out, left + b"".join(pieces[number + 1 :]), True
    return out, b"", False


def chunked(data: bytes, step: int) -> None:
    whole = taken([data])
    assert taken([data[at : at + step] for at in range(0, len(data), step)] or [b""]) == whole
    if whole is None or not whole[2]:
        return
    peer = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    peer.receive_data(OPEN + data)
    events = [peer.next_event()]
    while not isinstance(events[-1], h11.EndOfMessage):
        try:
            events.append(peer.next_event())
        except h11.RemoteProtocolError:
            # Trailers about framing mean nothing, and are dropped here; h11 judges them as if they did.
            assert b"content-length" in data.lower() or b"transfer-encoding" in data.lower()
            return
        assert events[-1] not in (h11.NEED_DATA, h11.PAUSED)
    assert b"".join(bytes(event.data) for event in events if isinstance(event, h11.Data)) == whole[0]
    assert peer.trailing_data[0] == whole[1]


if __name__ == "__main__":
    engine.fuzz(
        target, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"POST /x?y HTTP/1.1\r\nHost: a:80\r\nContent-Length: 3\r\n\r\n", OPEN,
        b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"0\r\nA: b\r\n\r\n",
        b"a;x=y\r\n", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b"\t", b": ", b"Transfer-Encoding: chunked", b"Content-Length: ",
        b"Host: ", b"http://a/", b"OPTIONS * HTTP/1.1", b"HTTP/1.0", b"CONNECT", b"Connection: ", b"\x00", b"\xff", b"Expect: 100-continue",
    )  # fmt: skip
