"""Keys that hold what escapes are made of: reading a text takes steps in proportion to its length, and ends."""

from __future__ import annotations

import pytest

from sidecar.redaction.ambiguous_escapes import AmbiguousSecrets, Steps

PEM = b"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n"
ODD = b'Pa%41\\x"q&12#'
KEYS = AmbiguousSecrets([PEM, ODD])

UNITS = {
    "the key's beginning": b'Pa%41\\x"q&1',
    "the key's beginning, escaped": b'Pa%2541\\\\x\\"q',
    "a header and escapes": b"-----BEGIN PRIVATE KEY-----%0a&#10;\\n" + b"%25" * 9,
    "entities": b'Pa&#37;&#52;&#49;\\x\\"',
    "a header and backslashes": b"-----BEGIN PRIVATE KEY-----" + b"\\" * 300,
}


def steps(text: bytes) -> int:
    counted = Steps()
    counted.left = given = 10**9
    KEYS.found(text, counted, final=False)
    return given - counted.left


@pytest.mark.parametrize("name", UNITS)
def test_steps_are_linear(name: str) -> None:
    text = UNITS[name] * (8192 // len(UNITS[name]))
    assert 0 < steps(text + text) < 2.5 * steps(text) + 2000


def test_what_takes_too_many_steps_is_replaced_from_the_beginning_of_the_key_on() -> None:
    text = b"see " + PEM[:27] + b"\\" * 20_000
    counted = Steps()
    spans, _ = KEYS.found(text, counted, final=False)
    assert counted.left < 0
    assert spans == [(4, len(text))]


def test_a_key_behind_many_backslashes_is_found() -> None:
    text = b"\\" * 400 + ODD + b" end"
    assert KEYS.found(text, Steps(), final=True)[0] == [(400, 400 + len(ODD))]
