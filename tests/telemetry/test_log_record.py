"""Lines: shape, order, bounds, and what clients may put into them."""

from __future__ import annotations

import json
import re
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.bounded_cache import BoundedCache
from sidecar.exchange import TokensUsed
from sidecar.secret import Secret
from sidecar.telemetry.log_record import MAX_LINE, TimestampFormatter, dump, event_fields, served_fields, served_line
from sidecar.telemetry.request_outcome import is_processed_message
from sidecar.trace_context import TraceContext
from sidecar.vocabulary import Event, Outcome
from tests.support.facts import AT, event, served

STAMP = "2026-01-31T12:34:56.789Z"
KEYS = [
    "ts",
    "level",
    "category",
    "event",
    "outcome",
    "request_id",
    "client_ip",
    "organization",
    "session",
    "route",
    "method",
    "path",
    "status",
    "detail",
]


def line(fact, stamp=STAMP):
    return dump(event_fields(fact, stamp))


def test_an_event_stands_in_the_contracts_shape():
    assert line(event()) == (
        b'{"ts":"2026-01-31T12:34:56.789Z","level":"warning","category":"SECURITY","event":"CORS_BLOCKED",'
        b'"outcome":"refused","request_id":"req-1","client_ip":"203.0.113.9","organization":"acme",'
        b'"session":"deadbeef","route":"chat","method":"POST","path":"/api/chat","status":403,'
        b'"detail":{"origin":"https://evil.example"}}\n'
    )


def test_what_does_not_apply_is_null():
    empty = event(
        Event.POLICY_RELOADED,
        Outcome.ALLOWED,
        request_id="",
        client_ip="",
        organization="",
        session="",
        route="",
        method="",
        path="",
        status=0,
        detail={},
    )
    shown = json.loads(line(empty))
    assert shown == dict.fromkeys(KEYS) | {
        "ts": STAMP,
        "level": "info",
        "category": "SYSTEM",
        "event": "POLICY_RELOADED",
        "outcome": "allowed",
        "detail": {},
    }


@pytest.mark.parametrize("kind", Event, ids=lambda e: e.name)
def test_every_event_has_its_name_category_and_level(kind):
    shown = json.loads(line(event(kind)))
    assert (shown["event"], shown["category"], shown["level"]) == (kind.name, kind.category, kind.level)
    assert list(shown) == KEYS


ACCESS = {
    "a static page": (served(route="static", method="GET"), "ACCESS", None, "allowed", "info"),
    "an inspected message": (served(inspected=True), "SECURITY", "CHAT_MESSAGE_PROCESSED", "allowed", "info"),
    "an inspected message that the backend disliked": (
        served(inspected=True, status=422),
        "SECURITY",
        "CHAT_MESSAGE_PROCESSED",
        "allowed",
        "info",
    ),
    "an inspected message and a broken backend": (
        served(inspected=True, status=502),
        "ACCESS",
        None,
        "failed",
        "error",
    ),
    "an inspected message and no backend": (
        served(inspected=True, status=503, backend=-1.0),
        "ACCESS",
        None,
        "failed",
        "error",
    ),
    "refused here": (served(status=429, backend=-1.0), "ACCESS", None, "refused", "info"),
    "not found there": (served(status=404), "ACCESS", None, "allowed", "info"),
    "the client left": (served(status=0, backend=-1.0), "ACCESS", None, "failed", "info"),
    "no route, no session": (served(route="", session=""), "ACCESS", None, "allowed", "info"),
}


@pytest.mark.parametrize(("fact", "category", "name", "outcome", "level"), ACCESS.values(), ids=ACCESS)
def test_a_finished_request_says_what_it_was(fact, category, name, outcome, level):
    shown = json.loads(served_line(fact, STAMP, is_processed_message(fact)))
    assert list(shown) == KEYS
    assert (shown["category"], shown["event"], shown["outcome"], shown["level"]) == (category, name, outcome, level)


def test_an_access_line_carries_times_in_milliseconds_and_sizes_in_bytes():
    assert json.loads(served_line(served(), STAMP, False))["detail"] == {
        "duration_ms": 12.3,
        "overhead_ms": 0.08,
        "backend_ms": 11.0,
        "received": 150,
        "sent": 420,
    }


anything = st.text(max_size=40) | st.sampled_from(
    ["", "/a", '"', "\\", "\x7f", "\x9b31m", "\u2028", "\udcff", "?k=v", "é"]
)


def test_the_quick_line_says_it_of_usage_too():
    for usage in (
        TokensUsed("gpt-4o-mini", 12, 34, 56_789),
        TokensUsed("", 0, 1),
        TokensUsed('odd"\\model', 1, 2, 3),
        TokensUsed("m\u202e", 1, 2, 10**15, estimated=True),
        TokensUsed("m", 1, 2, 1, estimated=True),
    ):
        fact = served(usage=usage, provider_id="req-1", origin="https://app.example", texts=2, characters=9)
        assert json.loads(served_line(fact, STAMP, False)) == json.loads(dump(served_fields(fact, STAMP)))


def test_what_is_known_of_a_client_changes_no_line():
    known = BoundedCache(100_000)
    for fact in (served(), served(path="/b"), served(session=""), served(path='/"'), served(), served(path='/"')):
        assert served_line(fact, STAMP, False, known) == served_line(fact, STAMP, False)


@given(st.floats(0.0, 1e6), st.floats(-1e3, 1e6))
def test_the_quick_line_says_times_to_the_microsecond(duration, backend):
    fact = served(duration=duration, backend=backend)
    quick, slow = (
        json.loads(raw)["detail"] for raw in (served_line(fact, STAMP, False), dump(served_fields(fact, STAMP)))
    )
    assert quick["duration_ms"] == pytest.approx(slow["duration_ms"], rel=1e-12, abs=0.0011)
    assert (quick["backend_ms"] is None) == (slow["backend_ms"] is None)
    assert re.fullmatch(rb".*\"duration_ms\":[0-9]+\.[0-9]{3},.*\n", served_line(fact, STAMP, False))


@given(name=anything, path=anything, route=anything, session=anything, method=anything, processed=st.booleans())
def test_the_quick_line_says_what_the_slow_one_says(name, path, route, session, method, processed):
    fact = served(
        request_id=name, path=path, route=route, session=session, method=method, inspected=processed, status=200
    )
    quick = served_line(fact, STAMP, processed)
    assert json.loads(quick) == json.loads(dump(served_fields(fact, STAMP)))


@given(path=st.text(max_size=60), detail=st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3))
def test_a_line_is_one_line_of_printable_ascii_and_says_what_was_put_in(path, detail):
    raw = line(event(path=path, detail=detail))
    assert raw.endswith(b"\n")
    assert raw[:-1].isascii()
    assert raw[:-1].decode().isprintable()
    assert json.loads(raw)["path"] == (path.partition("?")[0] or None)
    assert json.loads(raw)["detail"] == detail


HOSTILE = {
    "a newline": "/a\n{}",
    "an escape sequence": "/\x1b[2J",
    "a C1 control": "/\x9b2J",
    "a bidi override": "/\u202egpj",
    "a line separator": "/\u2028",
    "a lone surrogate": "/\udc80\udcff",
    "delete": "/\x7f",
}


@pytest.mark.parametrize("path", HOSTILE.values(), ids=HOSTILE)
def test_hostile_paths_are_escaped(path):
    for raw in (line(event(path=path)), served_line(served(path=path), STAMP, False)):
        assert raw.count(b"\n") == 1
        assert raw[:-1].decode("ascii").isprintable()
        assert json.loads(raw)["path"] == path


def test_a_query_never_stands_in_a_line():
    assert b"hunter2" not in line(event(path="/a?token=hunter2"))
    assert b"hunter2" not in served_line(served(path="/a?token=hunter2"), STAMP, False)


ODD_DETAILS = {
    "a secret": ({"key": Secret("hunter2")}, {"key": "Secret(***)"}),
    "a number beyond 64 bits": ({"n": 1 << 80}, {"n": 1 << 80}),
    "a frozen mapping": (MappingProxyType({"a": MappingProxyType({"b": 1})}), {"a": {"b": 1}}),
    "a list of problems": ({"problems": ["a", "b"]}, {"problems": ["a", "b"]}),
    "something that holds itself": (None, {}),
    "far too much": ({"text": "x" * 100_000}, None),
}


@pytest.mark.parametrize(("detail", "expected"), ODD_DETAILS.values(), ids=ODD_DETAILS)
def test_a_detail_never_breaks_a_line(detail, expected):
    if detail is None:
        detail = {}
        detail["self"] = detail
    raw = line(event(detail=detail))
    assert len(raw) <= MAX_LINE
    shown = json.loads(raw)["detail"]
    assert shown == expected if expected is not None else list(shown) == ["left_out"]


def test_a_long_path_is_cut():
    assert len(line(event(path="/" + "a" * 50_000))) < 3_000
    assert len(served_line(served(path="/" + "a" * 50_000), STAMP, False)) < 3_000


STAMPS = {
    "a millisecond": (AT, STAMP),
    "a whole second": (1_769_862_896.0, "2026-01-31T12:34:56.000Z"),
    "rounded up into the next second": (1_769_862_896.9996, "2026-01-31T12:34:57.000Z"),
    "back in time": (1_769_862_800.25, "2026-01-31T12:33:20.250Z"),
    "the epoch": (0.0, "1970-01-01T00:00:00.000Z"),
}


def test_stamps_are_iso_8601_with_milliseconds_in_any_order():
    stamp = TimestampFormatter()
    for at, text in [*STAMPS.values(), *reversed(STAMPS.values())]:
        assert stamp(at) == text


def test_the_trace_stands_at_the_end_of_both_kinds_of_line():
    trace = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "", "", False, b"")
    shown = served(trace=trace)
    quick, plain = served_line(shown, STAMP, False), dump(served_fields(shown, STAMP))
    assert json.loads(quick) == json.loads(plain)
    assert quick.endswith(b'},"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"}\n')
    assert line(event(trace_id=trace.trace_id)).endswith(b'},"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"}\n')
