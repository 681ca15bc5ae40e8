"""Two different audit entries never share a hash, one seal never stands for another, and anchors survive any text."""

from __future__ import annotations

import engine

with engine.instrumented():
    from sidecar.vault.audit import HASHED, chain_hash
    from sidecar.vault.audit_seal import BASE, GENESIS, HEAD, AuditKeys, Place, Seal

KEYS = AuditKeys({b"\1" * 8: b"k" * 32})
NUMBERS = ("seq", "at")
WORDS = ("", '"', "\\", ",", "\x00", "]", "1", "\u2028", "a", "\ufffd", "\U0001f600")


def columns(data: engine.atheris.FuzzedDataProvider) -> dict[str, str | int]:
    made: dict[str, str | int] = {}
    for name in HASHED:
        if name in NUMBERS:
            made[name] = data.ConsumeIntInRange(0, 1 << 40)
        else:
            picked = (WORDS[data.ConsumeIntInRange(0, len(WORDS) - 1)] for _ in range(data.ConsumeIntInRange(0, 3)))
            made[name] = "".join(picked)
    return made


def seal(data: engine.atheris.FuzzedDataProvider) -> tuple[str, Seal]:
    label = HEAD if data.ConsumeBool() else BASE
    digest = f"{data.ConsumeIntInRange(0, 1 << 60):064x}" if data.ConsumeBool() else GENESIS
    place = Place(data.ConsumeIntInRange(0, 1 << 50), digest)
    return label, KEYS.seal(label, place, data.ConsumeIntInRange(0, 1 << 50), data.ConsumeIntInRange(0, 1 << 50))


def target(data: engine.atheris.FuzzedDataProvider) -> None:
    one, other = columns(data), columns(data)
    assert (chain_hash(one) == chain_hash(other)) == (one == other)
    (label, first), (other_label, second) = seal(data), seal(data)
    assert KEYS.holds(label, first)
    assert not KEYS.holds(HEAD if label == BASE else BASE, first)
    if (label, first) != (other_label, second):
        assert first.mac != second.mac
    assert Seal.parse(str(first)) == first
    text = data.ConsumeUnicodeNoSurrogates(data.remaining_bytes())
    found = Seal.parse(text)
    if found is not None:
        assert Seal.parse(str(found)) == found
        assert not KEYS.holds(HEAD, found)
        assert not KEYS.holds(BASE, found)
    line = f"{text} {first} {text}"
    assert first in list(Seal.find([line]))


if __name__ == "__main__":
    engine.fuzz(
        target, b"sca1:", b"0" * 64, b":", b"sca1:1:" + b"0" * 64 + b":1:1::", b"0101010101010101", b'"', b",", b"\\"
    )
