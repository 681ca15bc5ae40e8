"""The first search: what it stops at is the same in random characters, which are searched part by part."""

from __future__ import annotations

import base64
import json
import random
import string

import pytest

from sidecar.errors import Problems
from sidecar.redaction.filters import build_redaction
from sidecar.redaction.matcher import SecretMatcher
from sidecar.redaction.prefilter import looks_random
from sidecar.secret import Secret
from tests.support.redaction import LAYERS, cut, run

KEY = "sk-proj-Ab9_z0123456789/+x"
SHAPE = b"sk_live_" + b"a1b2c3d4e5f6g7h8i9"
SIZE = 12 * 1024
PRINTABLE = string.printable[:95].encode()


def made(alphabet: bytes, seed: int = 1, size: int = SIZE) -> bytes:
    return bytes(random.Random(seed).choices(alphabet, k=size))


RANDOM = {
    "bytes": made(bytes(range(256))),
    "ascii": made(PRINTABLE),
    "base64": base64.b64encode(made(bytes(range(256)))),
}
MEANINGFUL = {
    "prose": b"The quick brown fox jumps over the lazy dog. " * 800,
    "json": json.dumps(
        [{"id": f"run-{at:04x}", "delta": {"content": "Who? ME!"}, "n": at} for at in range(600)]
    ).encode(),
    "chinese": "".join(chr(0x4E00 + at % 0x51A5) for at in range(0, 120_000, 11)).encode(),
    "russian": ("Привет, мир! Как дела? " * 900).encode(),
    "code": b"if (a[i] && !b.c) { return `${x}/y?z=${Q.w}`; }\n" * 800,
    "hex": made(b"0123456789abcdef"),
}


@pytest.mark.parametrize("name", [*RANDOM, *MEANINGFUL])
def test_what_looks_random(name: str) -> None:
    assert looks_random({**RANDOM, **MEANINGFUL}[name]) is (name in RANDOM)


@pytest.mark.parametrize("patterns", [(), ("openai", "stripe", "aws", "private_key")], ids=["known", "with-patterns"])
@pytest.mark.parametrize("noise", RANDOM)
@pytest.mark.parametrize("way", LAYERS)
def test_a_key_in_random_characters_is_found(noise: str, way: str, patterns: tuple[str, ...]) -> None:
    redaction = build_redaction(SecretMatcher([Secret(KEY)]), patterns, Problems())
    text = RANDOM[noise][: SIZE // 2] + b" " + LAYERS[way](KEY.encode()) + b" " + RANDOM[noise][SIZE // 2 :]
    for at in ([], [SIZE // 2 + 12]):
        stream = redaction.filter_for(b"text/plain")
        assert stream is not None
        assert b"[redacted]" in run(stream, cut(text, at)), at


@pytest.mark.parametrize("noise", RANDOM)
def test_the_shape_of_a_key_in_random_characters_is_found(noise: str) -> None:
    redaction = build_redaction(SecretMatcher([Secret(KEY)]), ("stripe",), Problems())
    stream = redaction.filter_for(b"text/plain")
    assert stream is not None
    shown = run(stream, [RANDOM[noise][: SIZE // 2] + b" " + SHAPE + b" ", RANDOM[noise][SIZE // 2 :]])
    assert SHAPE not in shown
    assert b"[redacted]" in shown
