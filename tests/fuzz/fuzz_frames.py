"""WebSocket frames: the same frames however the bytes were cut, read as wsproto reads them, and written back the same."""

from __future__ import annotations

from collections.abc import Iterable

import engine
from wsproto.frame_protocol import FrameProtocol, ParseFailed

with engine.instrumented():
    from sidecar.proxy.codec.websocket_frames import CLOSE, CONTINUATION, Frame, FrameError, FrameReader, encode

BOUND = 4096


def taken(pieces: list[bytes], *, masked: bool) -> tuple[list[Frame], bytes, int]:
    """Return the frames, what is left, and the close code of what was refused (0: nothing was)."""
    reader, buffer, frames = FrameReader(masked=masked, max_message=BOUND), b"", []
    at = 0
    for number, piece in enumerate(pieces):
        buffer += piece
        while True:
            try:
                frame, at = reader.take(buffer, at)
            except FrameError as error:
                return frames, b"", error.code
            if frame is None:
                break
            frames.append(frame)
            if frame.opcode == CLOSE:
                return frames, buffer[at:] + b"".join(pieces[number + 1 :]), 0
    return frames, buffer[at:], 0


def target(data: engine.atheris.FuzzedDataProvider) -> None:
    masked, step = data.ConsumeBool(), data.ConsumeIntInRange(1, 64)
    raw = data.ConsumeBytes(data.remaining_bytes())
    whole = taken([raw], masked=masked)
    assert taken([raw[at : at + step] for at in range(0, len(raw), step)], masked=masked) == whole
    frames, left, refused = whole
    size = 0
    for frame in frames:
        if frame.opcode < CLOSE:
            size = len(frame.data) + (size if frame.opcode == CONTINUATION else 0)
            assert size <= BOUND
    again = b"".join(encode(frame, mask=masked) for frame in frames)
    assert taken([again], masked=masked) == (frames, b"", 0)
    theirs = read(raw[: len(raw) - len(left)] if not refused else again, masked=masked)
    assert theirs == complete((frame.opcode, frame.data, frame.fin) for frame in frames)


def complete(frames: Iterable[tuple[int, bytes, bool]]) -> list[tuple[int, bytes]]:
    """Put fragments together: messages and control frames, in the order in which they ended."""
    found: list[tuple[int, bytes]] = []
    kind, pieces = 0, b""
    for opcode, data, fin in frames:
        if opcode >= CLOSE:
            found.append((opcode, data))
            continue
        kind = kind if opcode == CONTINUATION else opcode
        pieces += data
        if fin:
            found.append((kind, pieces))
            pieces = b""
    return found


def read(data: bytes, *, masked: bool) -> list[tuple[int, bytes]]:
    """Read as wsproto does, which hands out what it has of a message, and calls each piece by its message's name."""
    peer = FrameProtocol(client=not masked, extensions=[])
    peer.receive_bytes(data)
    found: list[tuple[int, bytes, bool]] = []
    under_way = False
    try:
        for frame in peer.received_frames():
            payload = frame.payload
            if frame.opcode == CLOSE:
                code, reason = payload
                payload = b"" if int(code) == 1005 else int(code).to_bytes(2, "big") + (reason or "").encode()
            payload = payload.encode() if isinstance(payload, str) else bytes(payload)
            if frame.opcode >= CLOSE:
                found.append((int(frame.opcode), payload, True))
                continue
            found.append((CONTINUATION if under_way else int(frame.opcode), payload, frame.message_finished))
            under_way = not frame.message_finished
    except ParseFailed as error:
        raise AssertionError(f"only wsproto refuses: {error}") from error
    return complete(found)


if __name__ == "__main__":
    engine.fuzz(
        target, b"\x81\x05hello", b"\x81\x85\0\0\0\0hello", b"\x01\x03hel", b"\x80\x02lo", b"\x01\x83\0\0\0\0hel", b"\x80\x82\0\0\0\0lo",
        b"\x89\x00", b"\x8a\x80\0\0\0\0", b"\x88\x02\x03\xe8", b"\x88\x82\0\0\0\0\x03\xe8", b"\x82\x7e\x00\x80", b"\x82\xfe\x00\x80",
        b"\x82\x7f\0\0\0\0\0\x01\0\0", b"\xc3\xa9", b"\xf0\x9f", b"\x98\x80",
    )  # fmt: skip
