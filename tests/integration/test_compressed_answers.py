"""A backend that compresses although it was asked not to: the answer is opened in steps, never as a whole."""

from __future__ import annotations

import gzip
from pathlib import Path

from tests.support.backends import Serving, answer
from tests.support.raw import get
from tests.support.sidecar import sidecar

MIB = 1024 * 1024
LONG = 48 * MIB


def test_an_answer_that_is_a_thousand_times_as_long_as_it_looks_stays_small_here(tmp_path: Path):
    small = gzip.compress(bytes(LONG), 9)
    assert 32 * 1024 < len(small) < 64 * 1024  # it arrives in one piece
    with (
        Serving(lambda _: answer(small, "Content-Encoding: gzip")) as backend,
        sidecar(tmp_path, backend.url) as running,
    ):
        before = running.peak()
        with running.connect() as client:
            reply = client.send(get("/", "Connection: close")).response()
        assert reply.status == 200
        assert len(reply.body) == LONG
        assert running.peak() - before < 24 * MIB
