"""Traces of requests: passed on as they came, or begun here."""

from __future__ import annotations

import os
import re

import pytest

from sidecar.trace_context import NewIds, PassedTraces, read_traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = {
    "sampled": (f"00-{TRACE}-{SPAN}-01", True),
    "not sampled": (f"00-{TRACE}-{SPAN}-00", False),
    "other flags": (f"00-{TRACE}-{SPAN}-02", False),
    "a later version": (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", True),
}


@pytest.mark.parametrize(("value", "sampled"), VALID.values(), ids=VALID)
def test_a_valid_one_is_passed_on(value: str, sampled: bool) -> None:
    found = read_traceparent(value.encode())
    assert found is not None
    assert found == (TRACE, SPAN, "", sampled, value.encode())


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        f"00-{TRACE}-{SPAN}".encode(),
        f"00-{TRACE}-{SPAN}-01-more".encode(),
        f"ff-{TRACE}-{SPAN}-01".encode(),
        f"00-{TRACE.upper()}-{SPAN}-01".encode(),
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01".encode(),
        f"cc-{TRACE}-{SPAN}-01-{'a' * 300}".encode(),
    ],
)
def test_none_that_is_valid(value: bytes | None) -> None:
    assert read_traceparent(value) is None
    begun = PassedTraces(NewIds(os.urandom)).of(value)
    assert re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-00", begun.header)
    assert (begun.parent_id, begun.sampled) == ("", False)
    assert begun.header[3:35].decode() == begun.trace_id


def test_no_id_is_given_twice() -> None:
    ids = NewIds(os.urandom)
    drawn = [ids.draw() for _ in range(1000)]
    assert len({trace for trace, _ in drawn}) == len({span for _, span in drawn}) == 1000
    assert {(len(trace), len(span)) for trace, span in drawn} == {(32, 16)}
