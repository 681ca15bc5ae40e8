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

# What renderers and browsers drop, or what is between two letters without being seen.
IGNORED: Final = (
    r"(?:[\x00-\x20\x7f-\xa0\u00ad\u034f\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufe00-\ufe0f\ufeff\\]"
    r"|&(?:amp;)*+(?:Tab|NewLine|nbsp|shy|ZeroWidthSpace|zwj|zwnj|lrm|rlm|NoBreak|bsol);"
    r"|&(?:amp;)*+#0*+(?:[0-9]|[12][0-9]|3[0-2]|92|127|1[2-5][0-9]|160|173|820[3-7]|8288|65279)(?![0-9]);?"
    r"|&(?:amp;)*+#[xX]0*+(?:[01]?[0-9a-f]|20|5c|7f|[89][0-9a-f]|a0|ad|200[b-f]|2060|feff)(?![0-9a-f]);?"
    r"|%(?:25)*+(?:[01][0-9a-f]|20|5c|7f))*+"
)
# One letter or colon of a scheme in any spelling: raw, as an entity, or percent-encoded.
SPELLED: Final = re.compile(
    r"([a-z:])|&(?:amp;)*+(?:(colon);|#(?:0*+([0-9]{1,3})(?![0-9])|x0*+([0-9a-f]{1,2})(?![0-9a-f]));?)"
    r"|%(?:25)*+([0-9a-f]{2})",
    re.IGNORECASE,
)
BETWEEN: Final = re.compile(IGNORED, re.IGNORECASE)
# Letters that fold to one of ASCII: a browser takes none of them for it, a renderer that folds case may.
FOLDED: Final = {"\u017f": "s", "\u0130": "i", "\u0131": "i", "\u212a": "k"}

RUNS: Final = frozenset({"javascript", "vbscript", "livescript", "mocha"})
CARRIES: Final = "data"
BEGINNINGS: Final = frozenset(name[:size] for name in (*RUNS, CARRIES) for size in range(1, len(name) + 1))

OPENING: Final = re.compile(r"\](?:\(|:)(?:[ \t\r\n]*+(<|&lt;)?+)")
# What may follow `data:` and stays: in a link only pictures that hold no script, in an <img> any,
# as nothing of SVG runs there. `data:` before a blank is prose like `[1](data: 2020)`, but not in angles.
HARMLESS: Final = re.compile(rf"{PASSABLE_IMAGE}[;,]|\s|\Z", re.IGNORECASE)
HARMLESS_IN_ANGLES: Final = re.compile(rf"{PASSABLE_IMAGE}[;,]", re.IGNORECASE)
HARMLESS_IMAGE: Final = re.compile(r"image/|\s|\Z", re.IGNORECASE)
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
        if is_dangerous(text, at, harmless_for(text, opening)) and not any(first <= at < last for first, last in code):
            # Before an angle, not behind it: `<unsafe:` would be a tag.
            start = opening.start(1) if opening[1] else at
            out += (text[copied:start], DEFANG)
            copied = start
    if not out:
        return text, 0
    out.append(text[copied:])
    return "".join(out), len(out) // 2


def is_dangerous(text: str, at: int, harmless: re.Pattern[str]) -> bool:
    """Return whether the destination at this place has a scheme that runs, or that carries what would."""
    name, end = scheme(text, at)
    return name in RUNS or (name == CARRIES and harmless.match(text, end) is None)


def scheme(text: str, at: int) -> tuple[str, int]:
    """Return the scheme at this place, in small letters, and where its colon ends; "" when it is harmless.

    One letter after the other rather than one expression for all: with every spelling of every letter
    and what may hide in between, that takes megabytes and a quarter of a second to compile.
    """
    name = ""
    while True:
        between = BETWEEN.match(text, at)
        found = SPELLED.match(text, between.end() if between else at)
        if found is None:
            return "", at
        char, at = character(found), found.end()
        if char == ":":
            return name, at
        name += char
        if name not in BEGINNINGS:
            return "", at


def character(found: re.Match[str]) -> str:
    """Return what one spelling stands for, in small letters."""
    raw, colon, decimal, hexadecimal, percent = found.groups()
    if raw:
        return FOLDED.get(raw, raw.lower())
    if colon:
        return ":"
    return chr(int(decimal) if decimal else int(hexadecimal or percent, 16)).lower()


def harmless_for(text: str, opening: re.Match[str]) -> re.Pattern[str]:
    """Return the pattern of the destinations that may follow `opening`: in angle brackets, of an image, of a link."""
    if opening[1]:
        return HARMLESS_IN_ANGLES
    return HARMLESS_IMAGE if is_image(text, opening.start()) else HARMLESS


def is_image(text: str, close: int) -> bool:
    """Return whether the `]` at `close` surely ends the label of an image (`![label]`)."""
    start = text.rfind("[", max(0, close - LONGEST_LABEL), close)
    if start < 1 or text[start - 1] != "!" or text.startswith("\\", max(0, start - 2)):
        return False  # `\\![` is a link behind an exclamation mark
    return "]" not in text[start:close] and not text.startswith(":", close + 1)


FENCE: Final = re.compile(r"^([ \t>*+0-9.)-]*)(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)


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
