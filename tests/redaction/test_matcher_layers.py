"""Spellings inside one another: a key does not pass in any of them; what is not found is named."""

from __future__ import annotations

import base64
import codecs

import pytest

from sidecar.redaction.matcher import SecretMatcher
from sidecar.secret import Secret
from tests.support.redaction import LAYERS, every, run

KEY = "sk-proj-Ab9_z0123456789/+x"
KNOWN = SecretMatcher([Secret(KEY)])


@pytest.mark.parametrize("size", [1, 3, 10_000])
@pytest.mark.parametrize("way", LAYERS)
def test_a_spelling_does_not_pass(way: str, size: int) -> None:
    stream = KNOWN.filter()
    clean = run(stream, every(b"key " + LAYERS[way](KEY.encode()) + b" end", size))
    assert stream.counts == {"known": 1}
    assert clean.startswith(b"key ")
    assert clean.endswith(b" end")
    assert len(clean) < 45


INNER = ["entities", "url", "json", "hex", "hex-mixed", "base64", "base64-second", "base64-url"]
OUTER = ["entities", "entities-hex", "url", "json", "escapes", "hex", "hex-upper", "base64", "base64-mime", "lines"]


@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize("inner", INNER)
def test_two_spellings_inside_one_another_do_not_pass(inner: str, outer: str) -> None:
    stream = KNOWN.filter()
    run(stream, [b"key " + LAYERS[outer](LAYERS[inner](KEY.encode())) + b" end"])
    assert stream.counts == {"known": 1}


NOT_FOUND = {
    "reversed": KEY[::-1].encode(),
    "rot13": codecs.encode(KEY, "rot13").encode(),
    "spaced-out": " ".join(KEY).encode(),
    "spaced-hex": KEY.encode().hex(" ").encode(),
    "base32": base64.b32encode(KEY.encode()),
    "base85": base64.b85encode(KEY.encode()),
    "quoted-printable": b"".join(b"=%02X" % byte for byte in KEY.encode()),
    "base64-four-times": base64.b64encode(base64.b64encode(base64.b64encode(base64.b64encode(KEY.encode())))),
    "look-alikes": KEY.replace("o", "о").encode(),  # a Cyrillic letter
}


@pytest.mark.parametrize("way", NOT_FOUND)
def test_what_the_documentation_says_is_not_found(way: str) -> None:
    text = b"<" + NOT_FOUND[way] + b">"
    assert run(KNOWN.filter(), [text]) == text
