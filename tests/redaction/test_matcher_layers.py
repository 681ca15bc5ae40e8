"""Spellings inside one another: a key does not pass in any of them; what is not found is named."""

from __future__ import annotations

import base64
import codecs
import os
import string

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sidecar.errors import Problems
from sidecar.redaction.filters import build_redaction
from sidecar.redaction.matcher import SecretMatcher
from sidecar.secret import Secret
from tests.support.redaction import LAYERS, cut, every, run
from tests.support.streams import FORMATS

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


LEAD = 24
"""Bytes of two spellings inside one another that may have left when it is seen what they are."""


@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize("inner", INNER)
def test_two_spellings_inside_one_another_do_not_pass(inner: str, outer: str) -> None:
    text = b"key " + LAYERS[outer](LAYERS[inner](KEY.encode())) + b" end"
    for size in (3, 20, len(text)):
        stream = KNOWN.filter()
        clean = run(stream, every(text, size))
        assert stream.counts["known"] >= 1
        assert len(clean) <= len(b"key [redacted] end") + LEAD


KEYS = st.text(string.ascii_letters + string.digits + "-_.+/=:", min_size=12, max_size=48).filter(
    lambda key: len(set(key)) > 6
)


@settings(deadline=None, max_examples=int(os.environ.get("REDACTION_EXAMPLES", "150")))
@given(
    key=KEYS,
    inner=st.sampled_from(["", *INNER]),
    outer=st.sampled_from(["", *OUTER]),
    name=st.sampled_from(sorted(FORMATS)),
    at=st.lists(st.integers(0, 4000), max_size=9),
    chunks=st.lists(st.integers(0, 9000), max_size=9),
)
def test_no_key_in_two_spellings_passes_in_any_format(
    key: str, inner: str, outer: str, name: str, at: list[int], chunks: list[int]
) -> None:
    if inner and outer:
        at, chunks = [], []  # two spellings in small pieces let their beginning out: docs/redaction.md
    said = key.encode()
    for way in (inner, outer):
        said = LAYERS[way](said) if way else said
    assume(b"\n" not in said)  # a reader of lines sees several
    form = FORMATS[name]
    body = form.body([piece.decode() for piece in cut(b"see " + said + b" end", at)])
    stream = build_redaction(SecretMatcher([Secret(key)]), (), Problems()).filter_for(form.media_type)
    assert stream is not None
    shown = form.read(run(stream, cut(body, chunks)))
    assert shown.startswith("see ")
    assert shown.endswith(" end")
    assert said.decode() not in shown
    assert "[redacted]" in shown
    assert len(shown) <= len("see [redacted] end") + max(LEAD, len(said) // 2)


NOT_FOUND = {
    "reversed": KEY[::-1].encode(),
    "rot13": codecs.encode(KEY, "rot13").encode(),
    "spaced-out": " ".join(KEY).encode(),
    "spaced-hex": KEY.encode().hex(" ").encode(),
    "base32": base64.b32encode(KEY.encode()),
    "base85": base64.b85encode(KEY.encode()),
    "quoted-printable": b"".join(b"=%02X" % byte for byte in KEY.encode()),
    "base64-three-times": base64.b64encode(base64.b64encode(base64.b64encode(KEY.encode()))),
    "look-alikes": KEY.replace("o", "о").encode(),  # a Cyrillic letter
}


@pytest.mark.parametrize("way", NOT_FOUND)
def test_what_the_documentation_says_is_not_found(way: str) -> None:
    text = b"<" + NOT_FOUND[way] + b">"
    assert run(KNOWN.filter(), [text]) == text
