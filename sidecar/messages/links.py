"""Defang Markdown links whose scheme would run: `javascript:`, `vbscript:`, `data:` but images.

A destination is where `](` or `]:` (a reference definition) points. Renderers decode entities and
backslash escapes there, browsers drop white space and controls, so every letter of a scheme is
looked for in each of its spellings, with whatever may hide in between. Such a destination gets
`unsafe:` in front: a scheme that no browser knows. (Autolinks, `<javascript:…>`, are markup.)
"""

from __future__ import annotations

import re
from typing import Final

DEFANG: Final = "unsafe:"
PASSABLE_IMAGE: Final = "image/(?:png|gif|jpe?g|webp|avif|bmp|apng|x-icon|vnd\\.microsoft\\.icon)"

# What renderers and browsers drop, or what stands between two letters without being seen.
IGNORED: Final = (
    r"(?:[\x00-\x20\x7f-\xa0\u00ad\u034f\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufe00-\ufe0f\ufeff\\]"
    r"|&(?:amp;)*+(?:Tab|NewLine|nbsp|shy|ZeroWidthSpace|zwj|zwnj|lrm|rlm|NoBreak|bsol);"
    r"|&(?:amp;)*+#0*+(?:[0-9]|[12][0-9]|3[0-2]|92|127|1[2-5][0-9]|160|173|820[3-7]|8288|65279)(?![0-9]);?"
    r"|&(?:amp;)*+#[xX]0*+(?:[01]?[0-9a-f]|20|5c|7f|[89][0-9a-f]|a0|ad|200[b-f]|2060|feff)(?![0-9a-f]);?"
    r"|%(?:25)*+(?:[01][0-9a-f]|20|5c|7f))*+"
)
COLON: Final = r"(?::|&(?:amp;)*+(?:colon;|#0*+58(?![0-9]);?|#x0*+3a(?![0-9a-f]);?)|%(?:25)*+3a)"


def letter(char: str) -> str:
    """Return a pattern for one letter, raw, as an entity or percent-encoded."""
    codes = (ord(char), ord(char.upper()))
    decimal = "|".join(str(code) for code in codes)
    hexadecimal = "|".join(f"{code:x}" for code in codes)
    entity = f"&(?:amp;)*+#(?:0*+(?:{decimal})(?![0-9])|x0*+(?:{hexadecimal})(?![0-9a-f]));?"
    return f"(?:{char}|{entity}|%(?:25)*+(?:{hexadecimal}))"


def scheme(name: str) -> str:
    return IGNORED.join(letter(char) for char in name) + IGNORED + COLON


RUNS: Final = f"(?:{scheme('javascript')}|{scheme('vbscript')}|{scheme('livescript')}|{scheme('mocha')})"
# `data:` followed by a blank is a destination of its own that holds nothing: prose like `[1](data: 2020)`.
CARRIES: Final = rf"{scheme('data')}(?=\S)(?!{PASSABLE_IMAGE}[;,])"
# An image may be SVG too: in an <img> nothing of it runs.
CARRIES_NOT_IMAGE: Final = rf"{scheme('data')}(?=\S)(?!image/)"
CARRIES_IN_ANGLES: Final = rf"{scheme('data')}(?!{PASSABLE_IMAGE}[;,])"

OPENING = re.compile(r"\](?:\(|:)(?:[ \t\r\n]*+(<|&lt;)?+)")
DANGEROUS = re.compile(f"{IGNORED}(?:{RUNS}|{CARRIES})", re.IGNORECASE)
DANGEROUS_IN_ANGLES = re.compile(f"{IGNORED}(?:{RUNS}|{CARRIES_IN_ANGLES})", re.IGNORECASE)
DANGEROUS_IMAGE = re.compile(f"{IGNORED}(?:{RUNS}|{CARRIES_NOT_IMAGE})", re.IGNORECASE)
LONGEST_LABEL: Final = 999  # CommonMark §4.7


def defang_links(text: str) -> tuple[str, int]:
    """Return the text with dangerous destinations defanged, and how many there were."""
    if "](" not in text and "]:" not in text:
        return text, 0
    code = fenced(text)
    out: list[str] = []
    copied = 0
    for opening in OPENING.finditer(text):
        at = opening.end()
        if pattern_for(text, opening).match(text, at) and not any(first <= at < last for first, last in code):
            # Before an angle, not behind it: `<unsafe:` would be a tag.
            start = opening.start(1) if opening[1] else at
            out += (text[copied:start], DEFANG)
            copied = start
    if not out:
        return text, 0
    out.append(text[copied:])
    return "".join(out), len(out) // 2


def pattern_for(text: str, opening: re.Match[str]) -> re.Pattern[str]:
    if opening[1]:
        return DANGEROUS_IN_ANGLES
    return DANGEROUS_IMAGE if is_image(text, opening.start()) else DANGEROUS


def is_image(text: str, close: int) -> bool:
    """Say whether the `]` at `close` surely ends the label of an image (`![label]`)."""
    start = text.rfind("[", max(0, close - LONGEST_LABEL), close)
    if start < 1 or text[start - 1] != "!" or text.startswith("\\", max(0, start - 2)):
        return False  # `\\![` is a link behind an exclamation mark
    return "]" not in text[start:close] and not text.startswith(":", close + 1)


FENCE = re.compile(r"^([ \t>*+0-9.)-]*)(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)


def fenced(text: str) -> list[tuple[int, int]]:
    """Return the spans of fenced code that every Markdown reader agrees on; none, if any is in doubt.

    Only fences of backticks at the start of a line are sure: an indented one may belong to a list
    item and end with it, and an unclosed one is no code to older renderers.
    """
    if "```" not in text:
        return []
    spans: list[tuple[int, int]] = []
    opened: tuple[int, int] | None = None
    for fence in FENCE.finditer(text):
        prefix, marks, info = fence.groups()
        if prefix or marks[0] != "`":
            return []
        if opened is None:
            if "`" in info:
                return []
            opened = (fence.end(), len(marks))
        elif len(marks) >= opened[1] and not info.strip(" \t\r"):
            spans.append((opened[0], fence.start()))
            opened = None
        else:
            return []  # a shorter run or one with words inside: readers differ
    return spans if opened is None else []
