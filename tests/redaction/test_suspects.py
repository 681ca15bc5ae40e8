"""Large sets of secrets: each is found in every spelling, and no pattern is so large that compiling it stalls."""

from __future__ import annotations

import random
import string

import pytest

from sidecar.redaction import encoded_patterns, suspects
from sidecar.redaction.matcher import SecretMatcher
from sidecar.redaction.prefilter import Prefilter
from sidecar.redaction.scanner import MARK
from sidecar.redaction.secret_encodings import spellings
from sidecar.secret import Secret
from tests.support.redaction import LAYERS, every, run

LETTERS = string.ascii_letters + string.digits
SETS = {"alike": (1000, "sk-proj-"), "unlike-few": (60, ""), "unlike": (1000, "")}


def drawn(name: str) -> list[str]:
    dice = random.Random(3)
    count, prefix = SETS[name]
    return [prefix + "".join(dice.choices(LETTERS, k=40)) for _ in range(count)]


KNOWN = {name: SecretMatcher(map(Secret, drawn(name))) for name in SETS}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("way", LAYERS)
def test_every_spelling_of_one_of_many_is_found_at_every_cut(way: str, name: str) -> None:
    key = drawn(name)[17].encode()
    text = b"see " + LAYERS[way](key) + b" end"
    for size in (1, 3, 20, 10_000):
        clean = run(KNOWN[name].filter(), every(text, size))
        assert clean.startswith(b"see "), size
        assert clean.endswith(b" end"), size
        assert MARK in clean, size
        assert len(clean) < 45, size


@pytest.mark.parametrize("name", SETS)
def test_no_pattern_takes_long_to_compile(name: str) -> None:
    keys = sorted(key.encode() for key in drawn(name))
    spelled = sorted(set().union(*map(spellings, keys)))
    loose = encoded_patterns.heads(spelled)
    assert (loose is None) == (name == "unlike")
    if loose is None:
        parts = encoded_patterns.in_parts(encoded_patterns.short_heads(spelled), encoded_patterns.as_they_are)
    else:
        parts = encoded_patterns.in_parts(loose, encoded_patterns.whole)
        parts += suspects.packed([Prefilter(part, b"") for part in parts])
    assert max(map(len, parts)) <= encoded_patterns.MOST


@pytest.mark.parametrize("name", SETS)
def test_ordinary_text_is_not_suspected(name: str) -> None:
    asked, _ = KNOWN[name].questions(Prefilter(b"", b""))
    text = b"The quick answer is that some streams of tokens hold keys, and most of them do not. " * 20
    assert not asked(text)
    assert run(KNOWN[name].filter(), every(text, 7)) == text
