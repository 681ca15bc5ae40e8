"""Bodies that are no text: keys are found in the forms that programs store them in, at every cut, in linear time."""

from __future__ import annotations

import base64
import json
import random
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import Problems
from sidecar.redaction.binary_scanner import BinaryScanner, is_binary
from sidecar.redaction.filters import build_redaction
from sidecar.redaction.matcher import SecretMatcher
from sidecar.redaction.stored_forms import StoredForms
from sidecar.secret import Secret

KEY = 'sk-invented/key+with"odd\\bytes%'
REDACTION = build_redaction(SecretMatcher([Secret(KEY)]), [], Problems())
NOISE = random.Random(7).randbytes(4096)


def _lower_url(text: str) -> bytes:
    first, *others = quote(text, safe="").split("%")
    return "%".join([first, *(other[:2].lower() + other[2:] for other in others)]).encode()


WAYS = {
    "as it is": lambda text: text.encode(),
    "json": lambda text: json.dumps(text)[1:-1].encode(),
    "url": lambda text: quote(text, safe="").encode(),
    "url-lower": _lower_url,
    "hex": lambda text: text.encode().hex().encode(),
    "hex-upper": lambda text: text.encode().hex().upper().encode(),
    "utf-16-le": lambda text: text.encode("utf-16-le"),
    "utf-16-be": lambda text: text.encode("utf-16-be"),
    **{
        f"base64-{before}": lambda text, before=before: base64.b64encode(b"x" * before + text.encode() + b"yz")
        for before in range(3)
    },
    "base64-url": lambda text: base64.urlsafe_b64encode(text.encode()),
}


def cleaned(body: bytes, cuts: list[int], kind: bytes = b"application/octet-stream") -> bytes:
    found = REDACTION.filter_for(kind)
    assert found is not None
    ends = [*sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    out, at = b"", 0
    for end in ends:
        out += found.feed(body[at:end])
        at = end
    return out + found.finish()


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@given(cuts=st.lists(st.integers(0, 9000), max_size=4), near=st.integers(0, 120))
def test_a_key_is_found_in_every_form_at_every_cut(way, cuts, near) -> None:
    body = NOISE[:2000] + way(KEY) + NOISE[2000:]
    shown = cleaned(body, [*cuts, 2000 + near])
    assert shown.count(b"[redacted]") == 1
    assert shown.startswith(NOISE[:1900])
    assert shown.endswith(NOISE[2100:])


@given(cuts=st.lists(st.integers(0, 9000), max_size=6))
def test_what_holds_no_key_passes_byte_for_byte(cuts) -> None:
    assert cleaned(NOISE, cuts) == NOISE


def test_text_that_is_called_binary_is_read_as_text() -> None:
    body = b"a text with &#115;k-invented/key+with&quot;odd\\bytes% in it"
    assert b"invented" not in cleaned(body, [])


@pytest.mark.parametrize(
    ("body", "binary"),
    [(b"", False), (b"plain text\n" * 9, False), ("gr\u00fc\u00dfe".encode() * 9, False), (NOISE, True), (bytes(64), True)],
)  # fmt: skip
def test_what_is_binary(body: bytes, binary: bool) -> None:
    assert is_binary(body) == binary


def test_short_secrets_and_none_are_no_forms() -> None:
    matcher = SecretMatcher([])
    assert BinaryScanner(matcher, matcher.forms).scan(NOISE, b"", False) == ([], len(NOISE))


@pytest.mark.parametrize("number", [1, 40, 400])
def test_keys_are_found_however_many_there_are(number) -> None:
    """Few beginnings are searched for by vector instructions, more in parts, many by an automaton."""
    keys = [f"{index:04x}-invented-{index * 7919:08x}" for index in range(number)]
    scanner = StoredForms(key.encode() for key in keys)
    for key in (keys[0], keys[-1]):
        for form in (key.encode(), key.encode("utf-16-le"), key.encode().hex().encode()):
            hits, _ = scanner.find(NOISE[:500] + form + NOISE[500:], final=True)
            assert [(hit.start, hit.end) for hit in hits] == [(500, 500 + len(form))]
    assert scanner.find(NOISE, final=True) == ([], len(NOISE))
