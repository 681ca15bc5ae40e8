"""Counts of what browsers reported: bounded in number, and one log line for many of a kind."""

from __future__ import annotations

from sidecar.stores.csp_violations import LOG_AGAIN, CspViolations, Violation

INLINE = Violation("script-src-elem", "inline")


def test_the_first_of_a_kind_is_worth_a_line_and_again_after_a_while() -> None:
    counts = CspViolations()
    assert [counts.note(INLINE, 100.0) for _ in range(3)] == [1, 0, 0]
    assert counts.note(Violation("img-src", "cdn.example"), 100.0) == 1
    assert counts.note(INLINE, 100.0 + LOG_AGAIN) == 4
    assert counts.directives == {"script-src-elem": 4, "img-src": 1}
    assert counts.pairs() == [(INLINE, 4), (Violation("img-src", "cdn.example"), 1)]


def test_invented_hosts_fill_no_memory_and_no_log() -> None:
    counts = CspViolations(most=10)
    lines = [counts.note(Violation("img-src", f"{number}.example"), 100.0) for number in range(1000)]
    assert sum(map(bool, lines)) == 11
    assert len(counts.pairs()) == 11
    assert counts.pairs()[0] == (Violation("img-src", "other"), 990)
