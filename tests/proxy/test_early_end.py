"""Where an event of a stream ends."""

from __future__ import annotations

import pytest

from sidecar.proxy.early_end import EarlyEnd, after_event, end_of_event
from sidecar.vocabulary import Code

WHY = EarlyEnd(Code.ACCESS_REVOKED, {"revoked": "handle"})


@pytest.mark.parametrize(
    ("tail", "after"),
    [
        pytest.param(b"", True, id="nothing was sent"),
        pytest.param(b"x}\n\n", True, id="a blank line"),
        pytest.param(b"\r\n\r\n", True, id="a blank line of CRLF"),
        pytest.param(b"a\r\r", True, id="a blank line of CR"),
        pytest.param(b"ta: ", False, id="in a field"),
        pytest.param(b'"a}\n', False, id="after a field"),
        pytest.param(b"}\r\n", False, id="after a field of CRLF"),
        pytest.param(b"\n\nda", False, id="in the next event"),
    ],
)
def test_a_stream_stands_between_events_or_not(tail: bytes, after: bool) -> None:
    assert after_event(tail) is after


@pytest.mark.parametrize(
    ("tail", "data", "end"),
    [
        pytest.param(b"a: b", b"c\n\ndata: d\n\n", 3, id="whole blank line"),
        pytest.param(b"a: \n", b"\ndata: d\n\n", 1, id="blank line in two pieces"),
        pytest.param(b"a\r\n", b"\r\ndata: d", 2, id="CRLF in two pieces"),
        pytest.param(b"\r\n\r", b"\nrest", 1, id="CRLF but its last byte"),
        pytest.param(b"\n\nda", b"ta: e\n", -1, id="an older blank line does not count"),
        pytest.param(b"da", b"ta: e", -1, id="goes on"),
        pytest.param(b"da", b"ta: e\r\n\r\nx\n\n", 9, id="the first of several"),
    ],
)
def test_the_end_of_the_event_under_way(tail: bytes, data: bytes, end: int) -> None:
    assert end_of_event(tail, data) == end


def test_the_reason_of_a_close_frame_fits_into_it() -> None:
    assert WHY.close_reason == "Access has been revoked"
    assert all(len(EarlyEnd(code).close_reason.encode()) <= 123 for code in Code)
