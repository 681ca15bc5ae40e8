"""Rules over bytes and fields, without any parser."""

from __future__ import annotations

import pytest

from sidecar.proxy.strict_rules import Malformed, find_end_of_head


@pytest.mark.parametrize(
    ("buffer", "found"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n", -1, id="half"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 14, id="whole"),
        pytest.param(b"GET / HTTP/1.1\r", -1, id="cr-so-far"),
    ],
)
def test_find_head(buffer: bytes, found: int) -> None:
    assert find_end_of_head(buffer) == found


@pytest.mark.parametrize("buffer", [b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\nHost: a\n\n", b"\n"])
def test_a_bare_line_feed_is_refused_at_once(buffer: bytes) -> None:
    with pytest.raises(Malformed):
        find_end_of_head(buffer)
