"""The first look of known secrets at a text: may it hold one, in any spelling, or end in the beginning of one?

Where secrets are few or begin alike, the beginnings of their spellings are searched with every escape that a
character may be written in. Many that begin unlike are searched as they are, and every text with an escape is
decoded. No pattern is large, because no other thread runs while one is compiled.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from sidecar.redaction.character_escapes import SHOWN_INVISIBLE
from sidecar.redaction.encoded_patterns import (
    CUT_ESCAPE,
    ESCAPED,
    MOST,
    as_they_are,
    begun,
    heads,
    in_parts,
    short_heads,
    whole,
)
from sidecar.redaction.encoded_runs import opened, readable
from sidecar.redaction.prefilter import (
    Prefilter,
    Question,
    either,
    joined,
    never,
    present,
    present_as_they_are,
    present_by_parts,
)
from sidecar.redaction.secret_encodings import openings, spellings

_ESCAPE: Final = rb"[%\\&]|" + SHOWN_INVISIBLE
_ENDS: Final = frozenset((*range(32), *b"%\\&#{};xuUabfnrt\"'/0123456789ABCDEFcde+-_=", *range(127, 256)))
"""Bytes at the end of a piece of an escape, of base64 or hex, or of a character that no reader sees."""
_SMALLEST_KEPT: Final = 64  # sizes of a smallest secret whose patterns are kept
_SETS_KEPT: Final = 16


class Suspects:
    """What texts are suspected of by the beginnings of a set of secrets.

    whole     may one be in the text?
    cut       may the end of the text be the beginning of one?
    in_base64, in_hex   may one be in what base64, or hex, in the text holds?
    """

    __slots__ = ("_begun", "_parts", "_plain", "_smallest", "cut", "in_base64", "in_hex", "whole")

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._parts: list[bytes] = []
        self._begun: list[bytes] = []
        self._plain: Question | None = None
        self._smallest = min(map(len, secrets), default=0)
        self.whole: Question = never
        self.cut: Question = never
        if not secrets:
            self.in_base64: Question = never
            self.in_hex: Question = never
            return
        spelled = sorted(set().union(*map(spellings, secrets)))
        loose = heads(spelled)
        fixed, base64, hexadecimal = _questions(self._smallest)
        if loose is None:
            begins = self._plain = present_as_they_are(in_parts(short_heads(spelled), as_they_are))
            self.cut = _ends_with({*b"".join(spelled), *_ENDS})
            self.whole = either(present(_ESCAPE), begins, fixed)
        else:
            self._parts = in_parts(loose, whole)
            self._begun = in_parts(loose, begun)
            self._begun.append(b"|".join((CUT_ESCAPE, opened(set().union(*map(openings, secrets))))))
            begins = present(*self._parts)
            self.cut = present(*packed([Prefilter(b"", cut) for cut in self._begun]))
            self.whole = either(begins, fixed)
        self.in_base64 = either(begins, base64)
        self.in_hex = either(begins, hexadecimal)

    def with_others(self, others: Prefilter) -> tuple[Question, Question]:
        """Return what is asked of a text for these secrets and for others at once, in as few searches as can be.

        The first question is whether one may be in it or begin at its end, the second whether one may be in it;
        a yes may stand for the first there, too.
        """
        if self._smallest == 0:
            return present(others.anything()), present(others.whole)
        if self._plain is not None:
            also = (present(others.anything()),) if others.whole else ()
            return either(*also, self.cut, self.whole), either(*also, self.whole)
        every = [others, *(Prefilter(part, b"") for part in (ESCAPED, *readable(self._smallest), *self._parts))]
        every += [Prefilter(b"", cut) for cut in self._begun]
        parts = [one.anything() for one in every[1:]]
        asked = present_by_parts(_alone(others), parts, packed(every))
        return asked, asked


def packed(prefilters: Sequence[Prefilter]) -> list[bytes]:
    """Return the patterns of several prefilters, together where they are small enough."""
    groups: list[list[Prefilter]] = []
    size = MOST
    for one in prefilters:
        if not (one.whole or one.cut):
            continue
        size += len(one.whole) + len(one.cut)
        if size > MOST:
            groups.append([])
            size = len(one.whole) + len(one.cut)
        groups[-1].append(one)
    return [joined(group).anything() for group in groups]


def _fixed(smallest: int) -> bytes:
    return b"|".join((ESCAPED, *readable(smallest)))


def _ends_with(ends: set[int]) -> Question:
    def question(text: bytes) -> bool:
        return text[-1:] != b"" and text[-1] in ends

    return question


@lru_cache(_SETS_KEPT)
def _alone(others: Prefilter) -> Question:
    """Return the search for what depends on no secret, such as key shapes; it takes up to 0.1 s to make."""
    return present(others.anything())


@lru_cache(_SMALLEST_KEPT)
def _questions(smallest: int) -> tuple[Question, Question, Question]:
    """Return what does not depend on the secrets, only on the size of the smallest."""
    base64, hexadecimal = readable(smallest)
    return present(_fixed(smallest)), present(base64), present(hexadecimal)
