"""The guarded request of the benchmark, in Python calls: what it costs may not grow unnoticed."""

from __future__ import annotations

from pathlib import Path

from bench.support.in_process import calls_of, guarded

STRAIGHT = 201
"""Calls of Python functions for one guarded chat message. Lower it with what is won; a change that needs 5 % more
writes its number here."""
REQUESTS = 40


async def test_a_request_that_waits_for_nothing(tmp_path: Path) -> None:
    async with guarded(tmp_path, REQUESTS) as serve:
        for number in range(4 * REQUESTS):
            assert serve(number).startswith(b"HTTP/1.1 200 ")
        counts = calls_of(lambda: [serve(number) for number in range(REQUESTS)])
    calls = sum(counts.values()) / REQUESTS
    assert calls <= STRAIGHT * 1.05, counts.most_common(40)
    assert calls >= STRAIGHT * 0.85, f"write down what was won: {calls}"
