"""Streams of records without a secret pass byte for byte, and one that any cut puts into them does not pass."""

from __future__ import annotations

import sys
from importlib import import_module

import engine

with engine.instrumented():
    from sidecar.errors import Problems
    from sidecar.redaction.filters import build_redaction
    from sidecar.redaction.matcher import SecretMatcher

from sidecar.secret import Secret

sys.path.insert(0, str(engine.ROOT / "tests" / "support"))  # another package of the clients is called `tests`
cut, run = map(vars(import_module("redaction")).get, ("cut", "run"))
FORMATS = import_module("streams").FORMATS

KEY = "Zq7-never-in-the-data-4Xw"
REDACTION = build_redaction(SecretMatcher([Secret(KEY)]), (), Problems())
TYPES = (b"text/event-stream", b"application/x-ndjson", b"text/plain", b"application/json", b"text/html")
NAMES = sorted(FORMATS)


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


if __name__ == "__main__":
    engine.fuzz(
        target, b"data: ", b"\n\n", b"\r\n", b": ", b'{"a":"b"}\n', b'0:"', b'[{"a":"', b"\x1e", b"Zq7", b"&#90;", b"%5A",
        b"\\u005a", b"\xe2\x80\x8b", b"WnE3LW5l", b"5a71372d", b"Z\x00q\x00", b'"', b"\\", b"[DONE]", b"event: x\n",
    )  # fmt: skip
