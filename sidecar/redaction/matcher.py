"""Known secrets: never out, however they are written and wherever the stream is cut.

Nearly every text is passed by one search for the beginnings of needles. Where it finds one, the
needles that begin so are searched for whole, each group by an automaton of its own that is built
when it is first needed. All of them read a text once, so no text makes any of this slow.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Final

import re2

from sidecar.redaction.character_escapes import LONGEST, unfinished
from sidecar.redaction.encoded_patterns import MEMORY, begun, compiled, exact, heads, trie, whole
from sidecar.redaction.prefilter import Prefilter, present
from sidecar.redaction.scanner import Hit, StreamFilter
from sidecar.redaction.secret_encodings import spellings
from sidecar.secret import Secret

KNOWN: Final = "known"
MIN_BYTES: Final = 8
"""Shorter secrets are not searched: they are words of ordinary text, and redacting them would break it."""
_GROUP: Final = 600  # bytes of needles that share one automaton
_FEW: Final = 4  # groups that are all asked, without asking which
_BUILT: Final = 32  # groups whose automata are kept
_CUT_ESCAPE: Final = rb"[%\\][%\\0-9A-Fa-fux]*"


class SecretMatcher:
    """Find a fixed set of secrets, raw or in any of their spellings.

    Immutable: when the set changes, build another and let filters in flight keep theirs.
    `skipped` counts secrets that are too short to be searched safely.
    """

    __slots__ = (
        "_any",
        "_built",
        "_groups",
        "_heads",
        "_live",
        "_suspect",
        "_which",
        "reach",
        "size",
        "skipped",
        "suspects",
    )

    def __init__(self, secrets: Iterable[Secret]) -> None:
        plain = [secret.reveal().encode("utf-8", "surrogatepass") for secret in secrets]
        kept = {value for value in plain if len(value) >= MIN_BYTES}
        needles = sorted(set().union(*map(spellings, kept)))
        self.size = len(kept)
        self.skipped = sum(len(value) < MIN_BYTES for value in plain)
        self.reach = LONGEST * max(map(len, needles), default=0)
        self._heads = heads(needles)
        tree = trie(self._heads)
        cut = b"|".join(filter(None, (begun(tree), _CUT_ESCAPE)))
        self.suspects = Prefilter(whole(tree), cut) if needles else Prefilter(b"", b"")
        self._groups = _grouped(needles)
        self._built: OrderedDict[int, tuple[Any, Any]] = OrderedDict()
        self._suspect = present(self.suspects.anything())
        self._any: Any = None
        self._live: Any = None
        self._which: re2.Set | None = None

    def __repr__(self) -> str:
        return f"SecretMatcher({self.size} secrets)"

    def filter(self) -> StreamFilter:
        """Return the filter of one answer."""
        return StreamFilter(self)

    def scan(self, text: bytes, before: bytes, final: bool) -> tuple[Sequence[Hit], int]:  # noqa: ARG002  # a secret needs no word boundary
        size = len(text)
        if not self.size or not self._suspect(text):
            return (), size
        searches = [self._automata(at) for at in self._concerned(text)]
        live = size if final else self._live_from(text, searches)
        hits = [hit for search, begins in searches for hit in self._hits(text, live, search, begins)]
        return sorted(hits), live

    def _concerned(self, text: bytes) -> Iterable[int]:
        """Return which groups hold a needle that begins in the text."""
        if self._any is None:
            self._any = present(self.suspects.whole)
        everything = range(len(self._groups))
        if not self._any(text):
            return ()
        if len(everything) <= _FEW:
            return everything
        if self._which is None:
            self._which = _set_of(self._heads, self._groups)
        # None is what a search without enough memory answers, too: then all of them are asked.
        return self._which.Match(text) or everything

    def _automata(self, group: int) -> tuple[Any, Any]:
        found = self._built.pop(group, None)
        if found is None:
            found = exact(self._groups[group])
            if len(self._built) >= _BUILT:
                self._built.popitem(last=False)
        self._built[group] = found
        return found

    def _live_from(self, text: bytes, searches: Iterable[tuple[Any, Any]]) -> int:
        """Return where the earliest needle begins that the end of the text cuts."""
        if self._live is None:
            self._live = compiled(b"(?:" + begun(trie(self._heads)) + b")\\z")
        size = len(text)
        begins = [self._live, *(begins for _, begins in searches)]
        return min(self._begins(text, 0, size, search) for search in begins)

    def _begins(self, text: bytes, start: int, end: int, search: Any) -> int:
        """Return where the earliest needle begins, not before `start`, that `end` cuts; or `end`."""
        start = max(start, end - self.reach)
        cut = unfinished(text, start, end)
        live = end
        for stop in {cut, end}:
            found = search.search(text[start:stop])
            live = min(live, stop if found is None else start + found.start())
        return live

    def _hits(self, text: bytes, live: int, search: Any, begins: Any) -> Iterable[Hit]:
        at = 0
        while (found := search.search(text, at)) is not None and found.start() < live:
            start, end = found.span()
            yield Hit(start, end, KNOWN)
            # Another may begin inside of this one: no earlier than where this one's end cuts a needle.
            at = max(start + 1, self._begins(text, start + 1, end, begins))


def _grouped(needles: Sequence[bytes]) -> list[list[bytes]]:
    """Return needles in groups of a bounded size; those that begin alike stay together."""
    groups: list[list[bytes]] = []
    room = 0
    for needle in needles:
        if room < len(needle):
            groups.append([])
            room = _GROUP
        groups[-1].append(needle)
        room -= len(needle)
    return groups


def _set_of(begin: Sequence[bytes], groups: Sequence[Sequence[bytes]]) -> re2.Set:
    """Return the search that says which groups have a needle whose head is in a text."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = 2 * MEMORY
    options.log_errors = False
    found = re2.Set.SearchSet(options)
    at = 0
    for group in groups:
        found.Add(whole(trie(begin[at : at + len(group)])))
        at += len(group)
    found.Compile()
    return found
