"""Streams of records without a secret pass byte for byte, and one that any cut puts into them does not pass."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import engine

with engine.instrumented():
    from sidecar.errors import Problems
    from sidecar.redaction.filters import build_redaction
    from sidecar.redaction.matcher import SecretMatcher

from sidecar.secret import Secret

sys.path.insert(0, str(engine.ROOT / "tests" / "support"))  # another package of the clients is called `tests`
cut, run = map(vars(import_module("redaction")).get, ("cut", "run"))
FORMATS, WOVEN = map(vars(import_module("streams")).get, ("FORMATS", "WOVEN"))

KEY = "Zq7-never-in-the-data-4Xw"
REDACTION = build_redaction(SecretMatcher([Secret(KEY)]), (), Problems())
TYPES = (b"text/event-stream", b"application/x-ndjson", b"text/plain", b"application/json", b"text/html")
NAMES = sorted(FORMATS)
WEAVES = sorted(WOVEN)
OTHER = "another text in which nothing is looked for, piece by piece"


def target(data: engine.atheris.FuzzedDataProvider) -> None:
    kind = data.ConsumeIntInRange(0, 255)
    places = [data.ConsumeIntInRange(0, 4000) for _ in range(data.ConsumeIntInRange(0, 6))]
    pieces = [data.ConsumeIntInRange(0, 60) for _ in range(data.ConsumeIntInRange(0, 6))]
    body = data.ConsumeBytes(data.remaining_bytes())
    stream = REDACTION.filter_for(TYPES[kind % len(TYPES)])
    assert stream is not None
    assert run(stream, cut(body, places)) == body
    frames = REDACTION.frames()
    assert frames is not None
    sent = [frames.take(message, binary=bool(kind & 1)) for message in cut(body, places)]
    assert b"".join(one for some in (*sent, frames.rest()) for one, _ in some) == body
    form = FORMATS[NAMES[kind % len(NAMES)]]
    stream = REDACTION.filter_for(form.media_type)
    assert stream is not None
    said = form.body([piece.decode() for piece in cut(f"see {KEY} end".encode(), pieces)])
    shown = form.read(run(stream, cut(said, places)))
    assert KEY[3:] not in shown
    assert shown.endswith("[redacted] end")
    interleaved(WOVEN[WEAVES[kind % len(WEAVES)]], pieces, places)


def interleaved(form: Any, pieces: list[int], places: list[int]) -> None:
    """Pass the pieces of two texts, which alternate as the cuts say."""
    texts = [[piece.decode() for piece in cut(text.encode(), pieces)] for text in (f"see {KEY} end", OTHER)]
    order = [*(place & 1 for place in places), *([0] * len(texts[0])), *([1] * len(texts[1]))]
    woven = [(which, texts[which].pop(0)) for which in order if texts[which]]
    stream = REDACTION.filter_for(form.media_type)
    assert stream is not None
    body = run(stream, cut(form.body(woven), places))
    assert KEY[3:] not in form.read(body, 0)
    assert form.read(body, 0).endswith("[redacted] end")
    assert form.read(body, 1) == OTHER


if __name__ == "__main__":
    engine.fuzz(
        target, b"data: ", b"\n\n", b"\r\n", b": ", b'{"a":"b"}\n', b'0:"', b'[{"a":"', b"\x1e", b"Zq7", b"&#90;", b"%5A",
        b"\\u005a", b"\xe2\x80\x8b", b"WnE3LW5l", b"5a71372d", b"Z\x00q\x00", b'"', b"\\", b"[DONE]", b"event: x\n",
    )  # fmt: skip
