"""Finds known secrets in every spelling, and wherever the stream is cut.

Nearly every text is passed by one search for the beginnings of secrets and for what layers of encodings
look like. Where it finds something, the text is decoded, layer by layer, and secrets are searched in
each layer as they are. All of that is linear in the length of the text.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final

from sidecar.redaction.ambiguous_escapes import AmbiguousSecrets, Steps, is_ambiguous
from sidecar.redaction.character_escapes import LONGEST, Positions, begin_near_end, layers, plain, undo_each, unfinished
from sidecar.redaction.encoded_patterns import literal
from sidecar.redaction.encoded_runs import (
    BASE64,
    HEX,
    all_base64,
    all_hex,
    base64_readings,
    hex_readings,
    opening,
)
from sidecar.redaction.prefilter import Prefilter, Question
from sidecar.redaction.scanner import KNOWN, Hit, Scanner, StreamFilter
from sidecar.redaction.stored_forms import StoredForms
from sidecar.redaction.suspects import Suspects
from sidecar.secret import Secret

MIN_BYTES: Final = 8
"""Shorter secrets are not searched: they are words of ordinary text, and redacting them would break it."""
MAX_QUESTIONS: Final = 16
"""Sets of key shapes with which one automaton is shared."""
NESTED: Final = 2
"""Texts in base64 or hex that are read inside one another."""


class SecretMatcher:
    """Find a fixed set of secrets, raw or in any of their spellings.

    Immutable: when the set changes, build another and let filters in flight keep theirs.
    `skipped` counts secrets that are too short to be searched safely.
    """

    framing = True
    __slots__ = (
        "_ambiguous",
        "_forms",
        "_literal",
        "_longest",
        "_opening",
        "_questions",
        "_secrets",
        "_suspects",
        "reach",
        "size",
        "skipped",
    )

    def __init__(self, secrets: Iterable[Secret]) -> None:
        given = [secret.reveal().encode("utf-8", "surrogatepass") for secret in secrets]
        kept = {value for value in given if len(value) >= MIN_BYTES}
        self.size = len(kept)
        self.skipped = sum(len(value) < MIN_BYTES for value in given)
        shown = {value for value in map(plain, kept) if len(value) >= MIN_BYTES}
        self._secrets = sorted(kept | shown)
        ambiguous = sorted(filter(is_ambiguous, self._secrets))
        self._ambiguous = AmbiguousSecrets(ambiguous) if ambiguous else None
        self._longest = _longest(self._secrets)
        self.reach = LONGEST * max(self._longest.values(), default=0)
        self._opening = frozenset(b"".join(opening(one[0]) for one in self._secrets))
        self._suspects = Suspects(self._secrets)
        self._literal = literal(self._secrets)
        self._forms: StoredForms | None = None
        self._questions: dict[Prefilter, tuple[Question, Question]] = {}

    @property
    def known(self) -> Scanner:
        """All of it looks for stored secrets."""
        return self

    @property
    def forms(self) -> tuple[StoredForms, ...]:
        """What the secrets look like in bodies that are no text; made when it is first asked for."""
        if self._forms is None:
            self._forms = StoredForms(self._secrets)
        return (self._forms,)

    @property
    def asked(self) -> tuple[Prefilter, ...]:
        """What `questions` were asked together with."""
        return tuple(self._questions)

    def questions(self, others: Prefilter) -> tuple[Question, Question]:
        """Return what must be asked of a text: may a secret, or what `others` stop at, be in it or begin at its end?

        And whether one may be in it, whatever its end is.
        """
        found = self._questions.get(others)
        if found is None:
            found = self._suspects.with_others(others)
            if len(self._questions) < MAX_QUESTIONS:
                self._questions[others] = found
        return found

    def __repr__(self) -> str:
        return f"SecretMatcher({self.size} secrets)"

    def filter(self) -> StreamFilter:
        """Return the filter of one answer."""
        return StreamFilter(self)

    def scan(self, text: bytes, before: bytes, final: bool) -> tuple[Sequence[Hit], int]:
        """Return the hits and where the text turns live.

        A secret that begins in `before` is a hit from the first byte on: what has passed cannot be taken
        back, but what follows can.
        """
        size = len(text)
        if not self.size:
            return (), size
        joined = before + text if before else text
        behind = len(before)
        if not self._suspects.whole(joined):
            if final or not self._suspects.cut(joined):
                return (), size
            # Nothing but the end is suspicious.
            near = max(0, len(joined) - self.reach - 256)
            joined = joined[near:]
            behind -= near
        spans, live = self._spans(joined, final, NESTED, Steps())
        hits = sorted({Hit(max(0, start - behind), end - behind, KNOWN) for start, end in spans if end > behind})
        live = max(0, live - behind)
        return hits, live if live >= size - self.reach else size

    def _spans(self, text: bytes, final: bool, nested: int, steps: Steps) -> tuple[list[tuple[int, int]], int]:
        """Return where secrets are in a text, in any layer of it, and where it turns live."""
        spans: list[tuple[int, int]] = []
        live = len(text)
        found = layers(text, final=final)
        known: dict[int, Positions] = {}
        for number, layer in enumerate(found):
            size = len(layer.text)
            here, begins = self._found(layer.text, layer.stop, final)
            if nested and number in (0, len(found) - 1):
                more, other = self._runs(layer.text, layer.stop, final, nested - 1, steps)
                here += more
                begins = min(begins, other)
            if not here and begins == size:
                continue
            for at in range(number - 1, -1, -1):
                near = None if here else begin_near_end(found[at], found[at + 1], begins)
                if near is None:
                    positions = known.get(at)
                    if positions is None:
                        positions = known[at] = Positions(found[at].text, found[at + 1].tokens)
                    here = [(positions.start(start), positions.end(end)) for start, end in here]
                    near = positions.start(begins)
                begins = near
            spans += here
            live = min(live, begins)
        if self._ambiguous is not None:
            more, begins = self._ambiguously(self._ambiguous, text, final, steps)
            spans += more
            live = min(live, begins)
        return spans, live

    def _ambiguously(
        self, secrets: AmbiguousSecrets, text: bytes, final: bool, steps: Steps
    ) -> tuple[list[tuple[int, int]], int]:
        """Do so for secrets that hold what escapes are made of, in all readings of the text and one layer below."""
        spans, live = secrets.found(text, steps, final=final)
        given = text if final else text[: unfinished(text)]
        for below, tokens in undo_each(given):
            more, begins = secrets.found(below, steps, final=final)
            if more or begins < len(below):
                positions = Positions(given, tokens)
                spans += [(positions.start(start), positions.end(end)) for start, end in more]
                live = min(live, positions.start(begins) if begins < len(below) else live)
        return spans, live

    def _found(self, text: bytes, stop: int, final: bool) -> tuple[list[tuple[int, int]], int]:
        """Return where secrets are as they are, and where one begins that the end of the text cuts.

        At `stop` begins an escape that the end cuts.
        """
        spans: list[tuple[int, int]] = []
        size = len(text)
        for part in self._literal:
            at = 0
            while (found := part.search(text, at)) is not None:
                start, end = found.span()
                spans.append((start, end))
                # Another may begin inside of this one: no earlier than where this one's end cuts it.
                at = self._cut(text, start + 1, end)
        if final:
            return spans, size
        live = self._cut(text, 0, size)
        return spans, live if stop == size else min(live, stop, self._cut(text, 0, stop))

    def _cut(self, text: bytes, start: int, end: int) -> int:
        """Return where the earliest secret begins, not before `start`, that `end` cuts; or `end`."""
        earliest = end
        for first, longest in self._longest.items():
            place = max(start, end - longest + 1) - 1
            while (place := text.find(first, place + 1, earliest)) >= 0:
                tail = text[place:end]
                at = bisect_left(self._secrets, tail)
                if at < len(self._secrets) and self._secrets[at].startswith(tail):
                    earliest = place
                    break
        return earliest

    def _runs(
        self, text: bytes, stop: int, final: bool, nested: int, steps: Steps
    ) -> tuple[list[tuple[int, int]], int]:
        """Return the same for what is in base64 and hex."""
        spans: list[tuple[int, int]] = []
        live = len(text)
        given = text[:stop]
        suspects = self._suspects
        for alphabet, every, readings, may_hold in (
            (BASE64, all_base64, base64_readings, suspects.in_base64),
            (HEX, all_hex, hex_readings, suspects.in_hex),
        ):
            start = stop if final else len(given.rstrip(alphabet))
            if start < stop:
                if text[stop - 1] in self._opening:
                    live = min(live, stop - 1)
                for run in readings(text, start, stop):
                    if suspects.whole(run.text) or suspects.cut(run.text):
                        more, begins = self._spans(run.text, False, nested, steps)
                        spans += [(run.begin(one), run.end(other)) for one, other in more]
                        if begins < len(run.text):
                            live = min(live, run.begin(begins))
            if not may_hold(given):
                continue
            for run in every(given):
                if suspects.whole(run.text):
                    more, _ = self._spans(run.text, True, nested, steps)
                    for one, other in more:
                        start, end = run.begin(one), run.end(other)
                        if not given[start:end].translate(None, alphabet):  # or what is no base64 was read as some
                            spans.append((start, end))
        return spans, live


def _longest(secrets: Iterable[bytes]) -> dict[bytes, int]:
    """Return how long the longest secret is that begins with a byte."""
    found: dict[bytes, int] = {}
    for secret in secrets:
        found[secret[:1]] = max(found.get(secret[:1], 0), len(secret))
    return found
