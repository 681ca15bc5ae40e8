"""What redaction costs: CPU per MiB of a body and per event of a stream, beside the same bytes unfiltered.

    python bench/redaction.py

The floor is a filter that copies nothing and finds nothing: one call per chunk. Each figure is the
minimum of interleaved rounds, in CPU time of this process.
"""

from __future__ import annotations

import json
import random
import string
import time
from collections.abc import Callable

from sidecar.errors import Problems
from sidecar.redaction.filters import SHAPES, Redaction, build_redaction
from sidecar.redaction.matcher import SecretMatcher
from sidecar.secret import Secret

ROUNDS = 7
CHUNK = 64 * 1024
DEFAULT = ("openai", "stripe", "aws", "private_key")
DICE = random.Random(1)
WORDS = [
    "the",
    "quick",
    "answer",
    "is",
    "that",
    "some",
    "streams",
    "of",
    "tokens",
    "hold",
    "keys",
    "and",
    "most",
    "of",
    "them",
    "do",
    "not",
    "so",
    "it",
    "should",
    "cost",
    "little",
]


class Nothing:
    def feed(self, chunk: bytes) -> bytes:
        return chunk

    def finish(self) -> bytes:
        return b""


def keys(count: int, prefix: str = "sk-proj-") -> SecretMatcher:
    alphabet = string.ascii_letters + string.digits
    return SecretMatcher(Secret(prefix + "".join(DICE.choices(alphabet, k=48))) for _ in range(count))


def build(known: int, patterns: tuple[str, ...], prefix: str = "sk-proj-") -> Redaction:
    return build_redaction(keys(known, prefix), patterns, Problems())


def reading() -> None:
    """Print what reading in keys costs, which happens in a thread when the vault changes, and one new key at once."""
    for name, count, prefix in (("alike", 1000, "sk-proj-"), ("unlike", 1000, ""), ("alike", 1, "sk-proj-")):
        began = time.process_time()
        _ = keys(count, prefix).forms
        print(f"reading in {count} keys that begin {name}: {(time.process_time() - began) * 1e3:.1f} ms")


def bodies() -> dict[str, tuple[bytes, list[bytes]]]:
    text = " ".join(DICE.choice(WORDS) for _ in range(200_000))[: 1 << 20]
    escaped = json.dumps(
        [text[at : at + 400] + '\n"é" <a href="https://example.com/a%20b">' for at in range(0, 700_000, 400)]
    )[: 1 << 20]
    noise = DICE.randbytes(1 << 20)
    events = [
        b"data: %s\n\n"
        % json.dumps(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": {"content": word + " "}, "finish_reason": None}],
            }
        ).encode()
        for word in DICE.choices(WORDS, k=5000)
    ]
    return {
        "text": (b"text/plain", chunks(text.encode())),
        "json with escapes": (b"application/json", chunks(escaped.encode())),
        "picture": (b"image/png", chunks(noise)),
        "sse tokens": (b"text/event-stream", events),
    }


def chunks(text: bytes) -> list[bytes]:
    return [text[at : at + CHUNK] for at in range(0, len(text), CHUNK)]


def seconds(make: Callable[[], object], pieces: list[bytes]) -> float:
    stream = make()
    began = time.process_time()
    for piece in pieces:
        stream.feed(piece)  # type: ignore[attr-defined]
    stream.finish()  # type: ignore[attr-defined]
    return time.process_time() - began


HOSTILE = {
    "endless sk-": (b"sk-", "sk-proj-Ab9z0123456789x"),
    "endless xsk-": (b"xsk-", "sk-proj-Ab9z0123456789x"),
    "endless AKIA": (b"AKIA", "sk-proj-Ab9z0123456789x"),
    "endless token=": (b"token=", "sk-proj-Ab9z0123456789x"),
    "endless %73": (b"%73", "sk-proj-Ab9z0123456789x"),
    "endless \\u0073": (b"\\u0073", "sk-proj-Ab9z0123456789x"),
    "a, secret 39 a and b": (b"a", "a" * 39 + "b"),
    "words of base64": (b"c2stcHJvai1BYj c2stcHJvai1BYjlf ", "sk-proj-Ab9z0123456789x"),
    "words of hex": (b"736b2d70726f6a2d 736b2d70726f6a2d4162 ", "sk-proj-Ab9z0123456789x"),
    "base64 in base64": (b"YzJzdGNISnZhaTFCWWpsNk1ERXlNelExTmpjPQ== ", "sk-proj-Ab9z0123456789x"),
    "escapes, odd secret": (b"%5c\\u0073&#x73;", 'Pa%41\\x"q&12#'),
    "backslashes, as secret": (b"\\", "\\" * 40),
    "beginning of an odd secret": (b'Pa%41\\x"q&1', 'Pa%41\\x"q&12#'),
}


def hostile() -> None:
    """Print what text costs that a client made slow on purpose, in ms per MiB."""
    print(f"\n{'hostile text':28}{'1 KiB chunks':>14}{'64 KiB chunks':>14}")
    for name, (unit, secret) in HOSTILE.items():
        text = (unit * (1 << 18))[: 1 << 18]
        redaction = build_redaction(SecretMatcher([Secret(secret)]), (*DEFAULT, "generic"), Problems())
        took = [
            min(
                seconds(
                    lambda r=redaction: r.filter_for(b"text/plain"),
                    [text[at : at + size] for at in range(0, len(text), size)],
                )
                for _ in range(3)
            )
            for size in (1024, CHUNK)
        ]
        print(f"{name:28}" + "".join(f"{each * 4e3:11.1f} ms" for each in took))


def main() -> None:
    setups = {
        "1 key": build(1, ()),
        "1000 keys": build(1000, ()),
        "1000 that begin unlike": build(1000, (), ""),
        "1 key + default patterns": build(1, DEFAULT),
        "1 key + every shape": build(1, tuple(SHAPES)),
        "1 key + generic": build(1, (*DEFAULT, "generic")),
    }
    print(f"{'body':20}{'looked for':28}{'per MiB':>12}{'per chunk':>12}{'floor':>10}")
    for name, (kind, pieces) in bodies().items():
        best = dict.fromkeys(setups, 1e9)
        floor = 1e9
        for _ in range(ROUNDS):
            floor = min(floor, seconds(Nothing, pieces))
            for setup, redaction in setups.items():
                best[setup] = min(
                    best[setup], seconds(lambda r=redaction, k=kind: r.filter_for(k) or Nothing(), pieces)
                )
        size = sum(map(len, pieces)) / (1 << 20)
        for setup, took in best.items():
            print(
                f"{name:20}{setup:28}{took / size * 1e3:9.2f} ms{took / len(pieces) * 1e6:9.1f} µs{floor / len(pieces) * 1e6:7.1f} µs"
            )
    hostile()
    reading()


if __name__ == "__main__":
    main()
