"""Escape or strip HTML, so that no tokenizer finds a tag in the text.

In the data state a tokenizer leaves text only at `<` before an ASCII letter, `/`, `!` or `?`
(HTML Standard §13.2.5.6). With none of those left, a text parses to text nodes and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sidecar.messages.links import fenced

OPENER = re.compile(r"<(?=[A-Za-z/!?])")

# A tag as the tokenizer sees it: quotes count only after `=`, an unclosed one does not.
TAG = re.compile(r"</?([A-Za-z][^\s/>=]*+)[^>=]*+(?:=\s*+(?:\"[^\"]*+\"|'[^']*+')?+[^>=]*+)*+>")
RAW_TEXT: Final = frozenset({"script", "style"})
CLOSING: Final = {name: re.compile(rf"</{name}(?=[\s/>])[^>]*+>", re.IGNORECASE) for name in sorted(RAW_TEXT)}
COMMENT_END = re.compile(r"--!?>")


def escape(text: str) -> tuple[str, int]:
    """Turn each `<` that could open markup into `&lt;`; return the text and how many there were."""
    return OPENER.subn("&lt;", text) if "<" in text else (text, 0)


def has_markup(text: str) -> bool:
    """Return whether an HTML tokenizer could begin a tag or comment in the text (WHATWG HTML §13.2.5.6)."""
    return "<" in text and OPENER.search(text) is not None


def strip(text: str) -> tuple[str, int]:
    """Remove tags, comments, and scripts and styles with what they hold; escape what is left of `<`.

    Tags in fenced code are escaped instead: `List<String>` keeps its meaning there. What only looks
    like the start of a tag (`if a <b then`) is text, and is escaped too.
    """
    if not has_markup(text):
        return text, 0
    out: list[str] = []
    copied = count = 0
    for start, end in Removals(text):
        out.append(text[copied:start])
        copied, count = end, count + 1
    out.append(text[copied:])
    # What stood around a removed tag may have become one (`<<b>script>`).
    stripped, escaped = escape("".join(out))
    return stripped, count + escaped


class Removals:
    """The spans that `strip` removes, found in one pass over the text.

    Each search that runs to the end without success is made once only: what it looked for is then
    known to be absent from the rest. That keeps hostile text (a million `<a "`) linear.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._code = fenced(text)
        self._quotes = True  # tags are matched with their quotes
        self._absent: set[str] = set()

    def __iter__(self) -> Iterator[tuple[int, int]]:
        at = 0
        code = iter([*self._code, (len(self._text), len(self._text))])
        start, end = next(code)
        while (opener := OPENER.search(self._text, at)) is not None:
            at = opener.start()
            while at >= end and start < len(self._text):
                start, end = next(code)
            if start <= at < end:
                at = end
                continue
            stop = self._end(at)
            if stop <= at:
                at += 1
                continue
            yield at, stop
            at = stop

    def _end(self, at: int) -> int:
        """Return where the markup that starts here ends; `at` itself when it is only text."""
        text = self._text
        if text.startswith("<!--", at):
            return self._comment(at)
        if not text[at + 1].isalpha() and not text[at + 2 : at + 3].isalpha():
            return self._find(">", at)  # doctype, processing instruction, CDATA: comments to a browser
        tag = TAG.match(text, at) if self._quotes else None
        if tag is None:
            self._quotes = False
            return self._find(">", at)
        return self._raw_text(tag)

    def _comment(self, at: int) -> int:
        if self._text.startswith(("<!-->", "<!--->"), at):
            return self._text.index(">", at) + 1
        if "--" in self._absent:
            return at
        end = COMMENT_END.search(self._text, at + 4)
        if end is None:
            self._absent.add("--")
            return at
        return end.end()

    def _raw_text(self, tag: re.Match[str]) -> int:
        name = tag[1].lower()
        if name not in RAW_TEXT or tag[0].startswith("</") or name in self._absent:
            return tag.end()
        closing = CLOSING[name].search(self._text, tag.end())
        if closing is None:
            self._absent.add(name)
            return tag.end()
        return closing.end()

    def _find(self, what: str, at: int) -> int:
        if what in self._absent:
            return at
        found = self._text.find(what, at)
        if found < 0:
            self._absent.add(what)
            return at
        return found + len(what)
